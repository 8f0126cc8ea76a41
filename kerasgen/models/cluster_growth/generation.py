"""The event generator of a network, for the backend that runs."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from kerasgen.backend.engine import BACKEND
from kerasgen.data.geometry import Geometry
from kerasgen.models.cluster_growth.links import Links
from kerasgen.models.cluster_growth.network import ClusterNetwork


def event_generator(
    network: ClusterNetwork,
    geometry: Geometry,
    rate: NDArray[Any] | None = None,
    charge: NDArray[Any] | None = None,
    links: Links | None = None,
) -> Any:
    """On TensorFlow an ``EventGenerator``, which can be exported, else the portable one.

    Args:
        network: that grows clusters.
        geometry: the detector.
        rate, charge, links: calibration, see ``EventGenerator``; None: not calibrated.
    """
    kind: Any
    if BACKEND == "tensorflow":
        from kerasgen.models.cluster_growth.sampling import EventGenerator as kind
    else:
        from kerasgen.models.cluster_growth.portable_sampling import PortableEventGenerator as kind
    return kind(network, geometry.threshold, geometry.max_charge, rate, charge, links)
