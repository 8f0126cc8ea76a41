"""The sparse VAE as an ``Algorithm``: see ``kerasgen.models.algorithm`` for the contract.

B. Orzari et al. (arXiv:2109.15197, 2203.00520). TensorFlow is imported where it is needed.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasgen.data.points import PointSchema
from kerasgen.kinds.points import PointData, check_jet_keys
from kerasgen.models.algorithm import Batches, Served
from kerasgen.models.set_algorithm import SetAlgorithm
from kerasgen.models.sparse_vae.settings import AUTOENCODER, FLOW, VAEConfig, check
from kerasgen.run_folder import WEIGHTS

if TYPE_CHECKING:
    import keras

    from kerasgen.models.set_statistics import Fitted
    from kerasgen.models.sparse_vae.evaluator import VAEEvaluator
    from kerasgen.models.sparse_vae.vae import SparseVAE


class SparseVAEAlgorithm(SetAlgorithm):
    """See ``Algorithm``."""

    name = "sparse_vae"
    config = VAEConfig
    step_keys = ("training.steps", "loss.warm_up", "prior.steps")
    smallest = MappingProxyType({
        "network.width": 8, "network.latent_size": 4, "network.decoder": "autoregressive",
        "network.components": 2, "loss.reconstruction": "likelihood", "prior.variant": "flow",
        "prior.layers": 2, "prior.width": 8, "prior.steps": 3, "training.steps": 3,
        "training.batch": 8,
    })  # fmt: skip

    def papers(self, config: VAEConfig) -> tuple[str, ...]:
        found = {  # paper: whether it is used
            "orzari2021": True,
            "touranakou2022": True,
            "kingma2013": True,
            "zaheer2017": config.network.decoder == "autoregressive",
            "dinh2016": config.prior.variant == "flow",
        }
        return tuple(paper for paper, used in found.items() if used)

    def check(self, config: VAEConfig) -> None:
        check(config)

    def check_schema(self, config: VAEConfig, schema: PointSchema) -> None:
        keys = {
            "data.coordinates": config.data.coordinates != "relative",
            "loss.features": config.loss.features > 0,
            "network.pt": config.network.pt,
            "network.total": config.network.total,
            "loss.mirror": config.loss.mirror,
        }
        check_jet_keys(schema, keys)

    def fit(self, config: VAEConfig, data: PointData) -> Fitted:
        from kerasgen.models.set_statistics import fit_statistics

        return fit_statistics(config.data, data, config.network.pt, config.network.total)

    def build(self, config: VAEConfig, schema: PointSchema, fitted: Fitted) -> SparseVAE:
        from kerasgen.models.sparse_vae.start import build_vae

        return build_vae(config, fitted.normaliser)

    def stages(self, config: VAEConfig) -> tuple[tuple[str, int], ...]:
        end = config.training.steps
        stages = ((AUTOENCODER, end), (FLOW, end + config.prior.steps))
        return stages if config.prior.steps else stages[:1]

    def begin_stage(self, model: SparseVAE, stage: str, batches: Any, fresh: bool) -> None:
        from kerasgen.models.sparse_vae.start import standardise_flow

        model.stage = stage
        if stage == FLOW and fresh:
            standardise_flow(model, batches.sampler.arrays(0, 0))

    def batches(self, config: VAEConfig, data: PointData, fitted: Fitted) -> Batches:
        from kerasgen.models.set_batches import SetBatches

        training = config.training
        return SetBatches(data, fitted.normaliser, training.batch, training.seed)

    def evaluator(
        self, model: SparseVAE, config: VAEConfig, schema: PointSchema, fitted: Fitted
    ) -> VAEEvaluator:
        from kerasgen.models.sparse_vae.evaluator import VAEEvaluator

        return VAEEvaluator(model, config, schema, fitted)

    def load(self, folder: Path, config: VAEConfig, schema: PointSchema, calibrated: bool) -> Any:
        from kerasgen.backend.checkpoint import load_weights
        from kerasgen.models.set_statistics import read_fitted
        from kerasgen.models.sparse_vae.generation import point_generator
        from kerasgen.models.sparse_vae.vae import InferenceNetworks, SparseVAE

        fitted = read_fitted(folder)
        vae = SparseVAE(fitted.normaliser, config.network, config.prior, config.loss)
        load_weights(InferenceNetworks(vae), folder / WEIGHTS)
        return point_generator(vae, fitted.conditions)

    def served(self, generator: Any) -> Served:
        parts = [generator.encoder, generator.decoder, generator.flow]
        names = ["generate", "generate_class", "encode", "decode", "reconstruct"]
        names += [f"generate_{name}" for name in generator.conditions]
        seed, label = np.zeros([1, 2], np.int64), np.zeros(1, np.int32)
        return Served(
            [w.value for part in parts if part is not None for w in part.weights],
            (generator.table, generator.first, generator.end),
            {name: getattr(generator, name) for name in names},
            "generate",
            {"generate": {"seed": seed}, "generate_class": {"seed": seed, "label": label}},
            {"conditions": list(generator.conditions)},
        )

    def networks(
        self, config: VAEConfig, schema: PointSchema, generator: Any
    ) -> dict[str, keras.Model]:
        names = ("encoder", "decoder", "flow")
        networks = {name: getattr(generator, name) for name in names}
        return {name: network for name, network in networks.items() if network is not None}

    def examples(self, config: VAEConfig) -> tuple[int, str]:
        return (config.training.steps + config.prior.steps) * config.training.batch, "sets"

    def network_keys(self, config: VAEConfig) -> list[str]:
        from dataclasses import fields

        return [
            *(f"network.{f.name}" for f in fields(config.network)), "prior.variant",
            "prior.layers", "prior.width", "data.coordinates", "data.log_intensity",
        ]  # fmt: skip

    def warm_start(self, model: SparseVAE, weights: Path, fitted: Fitted) -> None:
        from kerasgen.backend.checkpoint import load_weights
        from kerasgen.models.sparse_vae.vae import InferenceNetworks

        load_weights(InferenceNetworks(model), weights)


ALGORITHM = SparseVAEAlgorithm()
