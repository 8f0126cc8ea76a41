"""Steps of a small flow matching from numpy numbers alone: the same start on every backend.

``python flow_steps.py FOLDER`` writes the weights after the steps, and the results of ``results``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from point_sets import toy_jets

from kerasgen.backend.checkpoint import save_weights
from kerasgen.backend.engine import CompiledStep
from kerasgen.models.flow_matching.batches import assigned
from kerasgen.models.flow_matching.generation import set_generator
from kerasgen.models.flow_matching.model import FlowMatching
from kerasgen.models.flow_matching.network import FlowNetworks
from kerasgen.models.flow_matching.settings import FlowSettings, NetworkSettings
from kerasgen.models.set_batches import batch_arrays
from kerasgen.models.set_normaliser import Normaliser, fit_normaliser
from kerasgen.models.set_statistics import Fitted, condition_table

STEPS, BATCH = 6, 16
SETS = toy_jets(300)
NETWORK = NetworkSettings(width=16, context=8, layers=2, heads=2, pt=True)
FLOW = FlowSettings(evaluations=4)
SEEDS = np.stack([np.full(40, 5), np.arange(40)], axis=-1)


def normaliser() -> Normaliser:
    return fit_normaliser(SETS, "relative", log_intensity=True, pt=True, quantiles=True)


def build() -> FlowMatching:
    """A compiled model whose weights numpy draws; no velocity is zero."""
    scale = normaliser()
    rng = np.random.default_rng(3)
    sizes = scale.condition_size, len(scale.summaries)
    fields, ema = (
        FlowNetworks(NETWORK, *sizes, name=x, dtype="float32") for x in ("fields", "ema")
    )
    weights = [rng.normal(0, 0.3, w.shape).astype(np.float32) for w in fields.weights]
    for networks in (fields, ema):
        networks.set_weights(weights)
    model = FlowMatching(scale, fields, ema, ema_decay=0.9, seed=0)
    model.compile(keras.optimizers.Adam(1e-2, global_clipnorm=1.0))
    return model


def batch(step: int) -> dict[str, Any]:
    """A batch and its noise, by numpy."""
    rng = np.random.default_rng(step)
    arrays = batch_arrays(SETS.take(rng.permutation(len(SETS))[:BATCH]), "relative")
    summary = normaliser().summary(arrays["points"], arrays["mask"])
    points = np.asarray(normaliser().to_network(arrays["points"]))
    noise = rng.standard_normal(points.shape, np.float32)
    noise = assigned(noise, points, arrays["mask"].sum(axis=1))
    return arrays | {"points": points, "noise": noise, "summary": summary}


def randomness(step: int) -> dict[str, Any]:
    rng = np.random.default_rng(100 + step)
    summary = rng.standard_normal((BATCH, len(normaliser().summaries)), np.float32)
    return {"time": rng.random(1, np.float32), "summary": summary}


def results(model: FlowMatching) -> dict[str, Any]:
    """Loss terms of the steps, and sets that the average generates after them."""
    step = CompiledStep(model.train_step, model.state)
    step.read_variables()
    found = {}
    for k in range(STEPS):
        for name, value in step(batch(k), randomness(k)).items():
            found[f"{name}/{k}"] = np.asarray(value)
    step.write_variables()
    generator = set_generator(model.ema, Fitted(normaliser(), condition_table(SETS)), FLOW)
    return found | {name: np.asarray(x) for name, x in generator.generate(SEEDS).items()}


if __name__ == "__main__":
    folder, trained = Path(sys.argv[1]), build()
    np.savez(folder / "results.npz", **results(trained))
    save_weights(trained, folder / "model.weights.h5")
