"""Fraction of a training step that the nearest-neighbour distances take.

``python benchmarks/distance_fraction.py`` prints the processor time of a step of dense networks on
random sets, the fraction of the distances (compared with `ordered`, which needs no pairwise
distances), and the loss in bfloat16.
"""

from __future__ import annotations

import time
from typing import Literal

import keras
import numpy as np

from kerasgen.data.points import build_point_sets
from kerasgen.models.set_batches import batch_arrays
from kerasgen.models.set_normaliser import fit_normaliser
from kerasgen.models.sparse_vae.settings import NetworkSettings, PriorSettings, VAELossSettings
from kerasgen.models.sparse_vae.vae import SparseVAE
from kerasgen.training.trainer import compiled_step

BATCH, STEPS = 256, 20
Loss = Literal["joint", "position_first", "ordered"]
NEAREST_NEIGHBOUR: tuple[Loss, ...] = ("joint", "position_first")


def step_cost(points: int, loss: Loss, precision: str) -> tuple[float, float]:
    """Processor time of a step in milliseconds, and the loss after the steps."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    intensity = np.sort(rng.gamma(1.0, 1.0, (BATCH, points)), axis=1)[:, ::-1]
    values = np.concatenate([rng.normal(0, 1, (BATCH, points, 2)), intensity[..., None]], -1)
    sets = build_point_sets(values, np.full(BATCH, points), np.zeros(BATCH), np.full(BATCH, points))
    vae = SparseVAE(
        fit_normaliser(sets, "image", False, False), NetworkSettings(), PriorSettings(),
        VAELossSettings(loss), dtype=precision,
    )  # fmt: skip
    vae.compile(keras.optimizers.Adam(1e-3))
    batch, step = batch_arrays(sets, "image"), compiled_step(vae)
    step.read_variables()
    step(batch)
    begun = time.process_time()
    for _ in range(STEPS):
        found = step(batch)
    return 1000 * (time.process_time() - begun) / STEPS, float(found["autoencoder/loss"])


def main() -> None:
    print("| points | loss | ms | fraction of distances | loss float32 / bfloat16 |")
    print("|---|---|---|---|---|")
    for points in (30, 150):
        base, _ = step_cost(points, "ordered", "float32")
        for loss in NEAREST_NEIGHBOUR:
            found, value = step_cost(points, loss, "float32")
            _, rounded = step_cost(points, loss, "mixed_bfloat16")
            percent = 100 * max(1 - base / found, 0)
            cells = f"{found:.1f} | {percent:.0f} % | {value:.4g} / {rounded:.4g}"
            print(f"| {points} | `{loss}` | {cells} |")


if __name__ == "__main__":
    main()
