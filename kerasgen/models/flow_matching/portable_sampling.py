"""From seeds to point sets on any backend."""

from __future__ import annotations

from kerasgen.models.flow_matching.flow_sets import FlowSets
from kerasgen.models.flow_matching.network import FlowNetworks
from kerasgen.models.flow_matching.settings import FlowSettings
from kerasgen.models.portable_sets import PortableSets
from kerasgen.models.set_statistics import Fitted


class PortableFlowGenerator(FlowSets, PortableSets):
    """Makes stored point sets; arguments of ``set_generator``."""

    def __init__(self, fields: FlowNetworks, fitted: Fitted, flow: FlowSettings) -> None:
        FlowSets.__init__(self, fields, fitted.normaliser, flow)
        PortableSets.__init__(self, fitted.conditions, fields.variables)
