"""Flow matching as an ``Algorithm``: see ``kerasgen.models.algorithm`` for the contract.

Y. Lipman et al. (arXiv:2210.02747), on point sets. TensorFlow is imported where it is needed.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasgen.data.points import PointSchema
from kerasgen.kinds.points import PointData, check_jet_keys
from kerasgen.models.algorithm import Batches, Served
from kerasgen.models.flow_matching.settings import STAGE, FlowConfig, check
from kerasgen.models.set_algorithm import SetAlgorithm
from kerasgen.run_folder import WEIGHTS

if TYPE_CHECKING:
    import keras

    from kerasgen.models.flow_matching.evaluator import FlowEvaluator
    from kerasgen.models.flow_matching.model import FlowMatching
    from kerasgen.models.set_statistics import Fitted


class FlowMatchingAlgorithm(SetAlgorithm):
    """See ``Algorithm``."""

    name = "flow_matching"
    config = FlowConfig
    step_keys = ("training.steps", "training.warm_up")
    smallest = MappingProxyType({
        "network.width": 8, "network.context": 8, "network.layers": 1, "flow.evaluations": 2,
        "training.steps": 3, "training.batch": 8, "training.warm_up": 1,
    })  # fmt: skip

    def papers(self, config: FlowConfig) -> tuple[str, ...]:
        pairing = ("tong2023", "klein2023") if config.flow.pairing == "assignment" else ()
        attention = ("vaswani2017",) if config.network.heads else ()
        return "lipman2022", "buhmann2023", *pairing, *attention

    def check(self, config: FlowConfig) -> None:
        check(config)

    def check_schema(self, config: FlowConfig, schema: PointSchema) -> None:
        keys = {
            "data.coordinates": config.data.coordinates != "relative",
            "network.pt": config.network.pt,
            "flow.mirror": config.flow.mirror,
        }
        check_jet_keys(schema, keys)

    def fit(self, config: FlowConfig, data: PointData) -> Fitted:
        from kerasgen.models.set_statistics import fit_statistics

        return fit_statistics(config.data, data, config.network.pt, quantiles=True)

    def build(self, config: FlowConfig, schema: PointSchema, fitted: Fitted) -> FlowMatching:
        from kerasgen.models.flow_matching.start import build_flow

        return build_flow(config, fitted.normaliser)

    def stages(self, config: FlowConfig) -> tuple[tuple[str, int], ...]:
        return ((STAGE, config.training.steps),)

    def begin_stage(self, model: FlowMatching, stage: str, batches: Any, fresh: bool) -> None:
        model.stage = stage

    def batches(self, config: FlowConfig, data: PointData, fitted: Fitted) -> Batches:
        from kerasgen.models.flow_matching.batches import FlowBatches

        return FlowBatches(config, data, fitted.normaliser)

    def evaluator(
        self, model: FlowMatching, config: FlowConfig, schema: PointSchema, fitted: Fitted
    ) -> FlowEvaluator:
        from kerasgen.models.flow_matching.evaluator import FlowEvaluator

        return FlowEvaluator(model, config, schema, fitted)

    def load(self, folder: Path, config: FlowConfig, schema: PointSchema, calibrated: bool) -> Any:
        from kerasgen.backend.checkpoint import load_weights
        from kerasgen.models.flow_matching.generation import set_generator
        from kerasgen.models.flow_matching.start import build_networks
        from kerasgen.models.set_statistics import read_fitted

        fitted = read_fitted(folder)
        fields = build_networks(config, fitted.normaliser, "fields")
        load_weights(fields, folder / WEIGHTS)
        return set_generator(fields, fitted, config.flow)

    def served(self, generator: Any) -> Served:
        seed, label = np.zeros([1, 2], np.int64), np.zeros(1, np.int32)
        names = ["generate", "generate_class", *(f"generate_{x}" for x in generator.conditions)]
        return Served(
            [w.value for w in generator.fields.weights],
            (generator.table, generator.first, generator.end),
            {name: getattr(generator, name) for name in names},
            "generate",
            {"generate": {"seed": seed}, "generate_class": {"seed": seed, "label": label}},
            {"conditions": list(generator.conditions)},
        )

    def networks(
        self, config: FlowConfig, schema: PointSchema, generator: Any
    ) -> dict[str, keras.Model]:
        return {"summary": generator.fields.summary, "points": generator.fields.points}

    def examples(self, config: FlowConfig) -> tuple[int, str]:
        return config.training.steps * config.training.batch, "sets"

    def network_keys(self, config: FlowConfig) -> list[str]:
        from dataclasses import fields

        names = [f"network.{f.name}" for f in fields(config.network)]
        return [*names, "data.coordinates"]

    def warm_start(self, model: FlowMatching, weights: Path, fitted: Fitted) -> None:
        from kerasgen.backend.checkpoint import load_weights

        load_weights(model.fields, weights)
        model.ema.set_weights(model.fields.get_weights())


ALGORITHM = FlowMatchingAlgorithm()
