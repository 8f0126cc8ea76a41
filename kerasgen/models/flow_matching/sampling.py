"""From seeds to point sets, on TensorFlow: what an export holds."""

from __future__ import annotations

from kerasgen.models.flow_matching.flow_sets import FlowSets
from kerasgen.models.flow_matching.network import FlowNetworks
from kerasgen.models.flow_matching.settings import FlowSettings
from kerasgen.models.set_signatures import SetSignatures
from kerasgen.models.set_statistics import Fitted


class FlowGenerator(FlowSets, SetSignatures):
    """Makes stored point sets; arguments of ``set_generator``."""

    def __init__(self, fields: FlowNetworks, fitted: Fitted, flow: FlowSettings) -> None:
        SetSignatures.__init__(self, fitted.conditions)
        FlowSets.__init__(self, fields, fitted.normaliser, flow)
