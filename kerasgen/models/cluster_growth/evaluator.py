"""The moving average of a running training, as a generator."""

from __future__ import annotations

from typing import Any

from kerasgen.data.geometry import Geometry
from kerasgen.models.algorithm import Diagnostics
from kerasgen.models.cluster_growth.generation import event_generator
from kerasgen.models.cluster_growth.model import ClusterGrowth
from kerasgen.models.cluster_growth.settings import Config
from kerasgen.models.running import RunningModel


class GrowthEvaluator:
    """``Evaluator`` of cluster growth; see there.

    Args:
        model: that trains.
        config: of the run.
        geometry: the detector.
    """

    chosen_by_score = False  # the likelihood of the training events rises to the end

    def __init__(self, model: ClusterGrowth, config: Config, geometry: Geometry) -> None:
        self.network = model.ema
        self.model = RunningModel(config.recipe, geometry, event_generator(model.ema, geometry))

    def update(self) -> None:
        """Nothing: the moving average is the network that generates."""

    def diagnostics(self, held_out: Any, generated: Any) -> Diagnostics:
        """Nothing beyond the comparison of events."""
        return Diagnostics()
