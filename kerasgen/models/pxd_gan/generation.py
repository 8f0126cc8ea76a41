"""The event generator of a network, for the backend that runs."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from kerasgen.backend.engine import BACKEND
from kerasgen.data.geometry import Geometry
from kerasgen.models.pxd_gan.output import HitmapGenerator
from kerasgen.models.pxd_gan.settings import Config


def event_generator(
    network: HitmapGenerator,
    config: Config,
    geometry: Geometry,
    firing_threshold: NDArray[Any] | None = None,
    quantile_map: NDArray[Any] | None = None,
) -> Any:
    """The event generator of a network, for configuration and geometry of a run.

    On TensorFlow an ``EventGenerator``, which can be exported, else a ``PortableEventGenerator``.

    Args:
        network: generator.
        config: of the run.
        geometry: the detector.
        firing_threshold, quantile_map: calibration, see ``EventGenerator``; None: not calibrated.
    """
    kind: Any
    if BACKEND == "tensorflow":
        from kerasgen.models.pxd_gan.sampling import EventGenerator as kind
    else:
        from kerasgen.models.pxd_gan.portable_sampling import PortableEventGenerator as kind
    return kind(
        network, geometry.rows, geometry.cols, geometry.threshold, geometry.max_charge,
        firing_threshold, quantile_map, tuple(config.data.channels),
    )  # fmt: skip
