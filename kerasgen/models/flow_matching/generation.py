"""The generator of point sets, for the backend that runs."""

from __future__ import annotations

from typing import Any

from kerasgen.backend.engine import BACKEND
from kerasgen.models.flow_matching.network import FlowNetworks
from kerasgen.models.flow_matching.settings import FlowSettings
from kerasgen.models.set_statistics import Fitted


def set_generator(fields: FlowNetworks, fitted: Fitted, flow: FlowSettings) -> Any:
    """On TensorFlow a generator that can be exported, else a portable one.

    Both make the same sets of a seed, to rounding.

    Args:
        fields: trained.
        fitted: statistics of the training sets.
        flow: recipe keys.
    """
    kind: Any
    if BACKEND == "tensorflow":
        from kerasgen.models.flow_matching.sampling import FlowGenerator as kind
    else:
        from kerasgen.models.flow_matching.portable_sampling import PortableFlowGenerator as kind
    return kind(fields, fitted, flow)
