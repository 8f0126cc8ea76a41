"""Share of a training step that the nearest-neighbour losses take.

``python benchmarks/distance_share.py``: processor time of a step of dense networks with a loss, and
with `ordered`, which needs no pairwise distances, on random sets; and the loss in bfloat16.
"""

from __future__ import annotations

import time

import keras
import numpy as np
import tensorflow as tf

from kerasgen.data.points import build_point_sets
from kerasgen.models.sparse_vae.batches import batch_arrays
from kerasgen.models.sparse_vae.normaliser import fit_normaliser
from kerasgen.models.sparse_vae.settings import NetworkSettings, PriorSettings, VAELossSettings
from kerasgen.models.sparse_vae.vae import SparseVAE

BATCH, STEPS = 256, 20


def milliseconds(points: int, loss: str, precision: str) -> tuple[float, float]:
    """Processor time of a step, and the loss after the steps."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    intensity = np.sort(rng.gamma(1.0, 1.0, (BATCH, points)), axis=1)[:, ::-1]
    values = np.concatenate([rng.normal(0, 1, (BATCH, points, 2)), intensity[..., None]], -1)
    sets = build_point_sets(values, np.full(BATCH, points), np.zeros(BATCH), np.full(BATCH, points))
    keras.config.set_dtype_policy(precision)
    vae = SparseVAE(
        fit_normaliser(sets, "image", False, False), NetworkSettings(), PriorSettings(),
        VAELossSettings(loss),
    )  # fmt: skip
    keras.config.set_dtype_policy("float32")
    vae.compile(keras.optimizers.Adam(1e-3))
    batch = {name: tf.constant(x) for name, x in batch_arrays(sets, "image").items()}
    step = tf.function(vae.train_step)
    step(batch)
    begun = time.process_time()
    for _ in range(STEPS):
        found = step(batch)
    return 1000 * (time.process_time() - begun) / STEPS, float(found["loss"])


def main() -> None:
    print("| points | loss | ms | share of distances | loss float32 / bfloat16 |")
    print("|---|---|---|---|---|")
    for points in (30, 150):
        base, _ = milliseconds(points, "ordered", "float32")
        for loss in ("joint", "position_first"):
            found, value = milliseconds(points, loss, "float32")
            _, rounded = milliseconds(points, loss, "mixed_bfloat16")
            share = max(1 - base / found, 0)
            print(
                f"| {points} | `{loss}` | {found:.1f} | {share:.0%} | {value:.4g} / {rounded:.4g} |"
            )


if __name__ == "__main__":
    main()
