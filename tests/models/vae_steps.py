"""Steps of small sparse VAEs from numpy numbers alone: the same start on every backend.

``python vae_steps.py FOLDER`` writes, for each of ``CASES``, the weights after the steps and the
results of ``steps`` as npz; and generated sets of released recipes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from point_sets import toy_jets, toy_superpixels

from kerasgen.backend.checkpoint import save_weights
from kerasgen.backend.engine import BACKEND, CompiledStep
from kerasgen.data.points import PointSets
from kerasgen.models.set_batches import batch_arrays
from kerasgen.models.set_normaliser import fit_normaliser
from kerasgen.models.sparse_vae.settings import (
    AUTOENCODER,
    FLOW,
    NetworkSettings,
    PriorSettings,
    VAELossSettings,
)
from kerasgen.models.sparse_vae.vae import SparseVAE
from kerasgen.models.trained import load_trained

STEPS, BATCH, LATENT = 6, 16, 4
ZOO = Path(__file__).parents[2] / "zoo"
RELEASED, SETS = ("jet_vae_flow", "superpixel_vae"), 200


@dataclass(frozen=True)
class Case:
    """A sparse VAE: coordinates, networks, loss."""

    coordinates: str
    encoder: Any
    decoder: Any
    loss: VAELossSettings
    pt: bool = False
    total: bool = False


CASES = {
    "likelihood": Case(
        "relative", "dense", "autoregressive", VAELossSettings("likelihood", mirror=True),
        total=True,
    ),
    "image": Case("image", "set", "autoregressive", VAELossSettings("likelihood", warm_up=4)),
    "joint": Case("relative", "set", "set", VAELossSettings("joint", features=1.0), pt=True),
    "position_first": Case(
        "polar", "dense", "dense", VAELossSettings("position_first", features=0.5, eta=0.1)
    ),
    "ordered": Case(
        "cartesian", "conv", "conv", VAELossSettings("ordered", features=0.5, mass=2.0)
    ),
}  # fmt: skip


def sets_of(case: Case) -> PointSets:
    return toy_superpixels(200) if case.coordinates == "image" else toy_jets(200)


def build(case: Case) -> SparseVAE:
    """A compiled VAE whose weights numpy draws."""
    network = NetworkSettings(
        case.encoder, case.decoder, 8, 2, LATENT, 3, pt=case.pt, total=case.total
    )
    coordinates = case.coordinates
    normaliser = fit_normaliser(
        sets_of(case), coordinates, coordinates == "relative", case.pt, case.total
    )
    vae = SparseVAE(normaliser, network, PriorSettings("flow", 2, 8, 1), case.loss)
    vae.compile(*(keras.optimizers.Adam(1e-3) for _ in range(2)))
    rng = np.random.default_rng(1)
    for part in (vae.encoder, vae.decoder, vae.flow):
        for weight in part.trainable_weights:
            weight.assign(rng.normal(0, 0.2, weight.shape).astype(np.float32))
    return vae


def held_out_terms(case: Case, vae: SparseVAE) -> dict[str, Any]:
    """Terms of ``test_step`` on the first sets."""
    step = CompiledStep(vae.test_step, vae.state)
    step.read_variables()
    terms = step(batch_arrays(sets_of(case).take(slice(20)), case.coordinates))
    return {name: np.asarray(value) for name, value in terms.items()}


def steps(case: Case, weights: Path) -> dict[str, Any]:
    """Terms of some steps of both stages and on held-out sets; writes the weights."""
    vae, rng, found = build(case), np.random.default_rng(2), {}
    for stage in (AUTOENCODER, FLOW):
        vae.stage = stage
        step = CompiledStep(vae.train_step, vae.state)
        step.read_variables()
        for k in range(STEPS):
            rows = slice(k * BATCH, (k + 1) * BATCH)
            batch = batch_arrays(sets_of(case).take(rows), case.coordinates)
            noise = {"encode": rng.normal(0, 1, (BATCH, LATENT)).astype(np.float32)}
            noise["mirror"] = rng.uniform(0, 1, (BATCH, 1, 2)).astype(np.float32)
            terms = step(batch, noise)
            found |= {f"{name}/{k}": np.asarray(value) for name, value in terms.items()}
        step.write_variables()
    save_weights(vae, weights)
    return found | held_out_terms(case, vae)


def write(folder: Path) -> None:
    """Write everything of this backend."""
    for name, case in CASES.items():
        found = steps(case, folder / f"{name}.weights.h5")
        np.savez(folder / f"{name}.npz", **found)
    for name in RELEASED:
        generator = load_trained(ZOO / name).generator
        seed = np.stack([np.full(SETS, 5), np.arange(SETS)], axis=-1)
        sets = {key: np.asarray(x) for key, x in generator.generate(seed=seed).items()}
        np.savez(folder / f"{name}.npz", **sets)
    assert ("tensorflow" in sys.modules) == (BACKEND == "tensorflow")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
