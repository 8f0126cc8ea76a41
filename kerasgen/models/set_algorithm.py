"""Methods of ``Algorithm`` that every algorithm of point sets has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasgen.config import RunConfig
from kerasgen.data.point_source import WINDOW
from kerasgen.kinds.points import POINTS, PointData
from kerasgen.models.set_files import CONDITIONS, NORMALISER
from kerasgen.run_folder import WEIGHTS

if TYPE_CHECKING:
    from kerasgen.models.set_statistics import Fitted


class SetAlgorithm(ABC):
    """See ``Algorithm``. TensorFlow is imported where it is needed."""

    kind = POINTS
    # Tiles are computed in parallel: splitting one among threads as well costs 40 % of the time.
    generation_threads = 1

    @abstractmethod
    def fit(self, config: Any, data: PointData) -> Fitted: ...

    def check_events(self, config: RunConfig, data: PointData) -> None:
        """Read all sets that are used: reading checks them."""
        data.training_events(WINDOW)
        data.held_out_events(len(data.division.held_out))

    def write_fitted(self, folder: Path, fitted: Fitted) -> None:
        from kerasgen.models.set_statistics import write_fitted

        write_fitted(folder, fitted)

    def finish(self, config: RunConfig, folder: Path, data: PointData, checkpoint: Path) -> None:
        from kerasgen.run_folder import write_bytes

        write_bytes(folder / WEIGHTS, checkpoint.read_bytes())

    def files(self, config: RunConfig, calibrated: bool = True) -> tuple[str, ...]:
        return NORMALISER, CONDITIONS

    def variants(self, config: RunConfig) -> tuple[str, ...]:
        return ("generated",)

    def ideal_sampler(self, generator: Any) -> None:
        """None: points follow the network as they are."""
        return None

    def check_warm_start(self, config: RunConfig, data: PointData, folder: Path) -> None:
        from kerasgen.models.set_statistics import check_released

        check_released(self.fit(config, data).normaliser, folder, config.training.init)
