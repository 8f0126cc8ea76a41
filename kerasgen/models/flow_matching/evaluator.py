"""The moving average of a running training, as a generator."""

from __future__ import annotations

from kerasgen.data.points import PointSchema, PointSets
from kerasgen.evaluation import point_figures
from kerasgen.kinds.points import is_jets
from kerasgen.models.algorithm import Diagnostics
from kerasgen.models.flow_matching.generation import set_generator
from kerasgen.models.flow_matching.model import FlowMatching
from kerasgen.models.flow_matching.settings import FlowConfig
from kerasgen.models.running import RunningModel
from kerasgen.models.set_statistics import Fitted


class FlowEvaluator:
    """``Evaluator`` of flow matching; see there.

    Args:
        model: that trains.
        config: of the run.
        schema: schema of the sets.
        fitted: statistics of the training sets.
    """

    chosen_by_score = False  # the rate falls to the end; a score of few sets is noise beside that

    def __init__(
        self, model: FlowMatching, config: FlowConfig, schema: PointSchema, fitted: Fitted
    ) -> None:
        self.network = model.ema
        generator = set_generator(model.ema, fitted, config.flow)
        self.model = RunningModel(config.recipe, schema, generator)

    def update(self) -> None:
        """Nothing: the moving average is the network that generates."""

    def diagnostics(self, held_out: PointSets, generated: PointSets) -> Diagnostics:
        """Generated sets beside held-out ones."""
        shown, jets = point_figures.SHOWN, is_jets(self.model.schema)
        rows = {"held out": held_out, "generated": generated}
        return Diagnostics(figures={"sets": point_figures.side_by_side(rows, shown, jets)})
