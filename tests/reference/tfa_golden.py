"""Golden files computed by tensorflow-addons, an implementation independent of ours.

Runs in its own environment, not in kerasgen's: see README.md in this folder, which also names
every array. Usage: ``python tfa_golden.py FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

# name: (layer, shape of its input without the batch, shape of its kernel)
KERNELS = {
    "dense": (lambda: tf.keras.layers.Dense(5), (8,), (8, 5)),
    "conv3x3": (lambda: tf.keras.layers.Conv2D(6, 3), (5, 5, 4), (3, 3, 4, 6)),
    "conv1x1": (lambda: tf.keras.layers.Conv2D(3, 1), (2, 2, 16), (1, 1, 16, 3)),
    "conv_one_filter": (lambda: tf.keras.layers.Conv2D(1, 3), (5, 5, 4), (3, 3, 4, 1)),
    "embedding": (lambda: tf.keras.layers.Embedding(40, 8), (), (40, 8)),
}


def spectral_normalization(rng: np.random.Generator, iterations: int) -> dict[str, np.ndarray]:
    """One training call of ``tfa.layers.SpectralNormalization`` for every kernel."""
    arrays = {}
    for name, (make, input_shape, kernel_shape) in KERNELS.items():
        layer = tfa.layers.SpectralNormalization(make(), power_iterations=iterations)
        dtype = tf.int32 if name == "embedding" else tf.float32
        inputs = tf.zeros((2, *input_shape), dtype)
        layer(inputs, training=False)  # builds, without a power iteration
        w = rng.normal(0.0, 0.3, kernel_shape).astype(np.float32)
        u = rng.normal(0.0, 1.0, (1, kernel_shape[-1])).astype(np.float32)
        layer.w.assign(w)
        layer.u.assign(u)
        layer(inputs, training=True)
        normalized = layer.w.numpy()
        arrays[f"{name}_w"] = w
        arrays[f"{name}_u"] = u[0]
        arrays[f"{name}_u_next"] = layer.u.numpy()[0]
        arrays[f"{name}_w_over_sigma"] = normalized
        # The layer keeps no sigma; it is the one number between its two kernels.
        arrays[f"{name}_sigma"] = np.float64(
            np.linalg.norm(w.astype(np.float64)) / np.linalg.norm(normalized.astype(np.float64))
        )
    return arrays


def contrastive(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """``tfa.losses.contrastive_loss`` for several margins, with pairs at and around the margin."""
    margins = np.array([0.5, 1.0, 2.0], np.float32)
    edges = np.array([0.0, 0.5, 1.0, 2.0, 0.25, 3.0], np.float32)
    distance = np.concatenate([edges, edges, rng.uniform(0.0, 2.5, 12).astype(np.float32)])
    same = np.concatenate([np.zeros(6), np.ones(6), rng.integers(0, 2, 12)]).astype(np.int32)
    loss = [tfa.losses.contrastive_loss(same, distance, margin=m).numpy() for m in margins]
    mean = [tfa.losses.ContrastiveLoss(margin=m)(same, distance).numpy() for m in margins]
    return {
        "margin": margins,
        "same": same,
        "distance": distance,
        "loss": np.stack(loss),
        "mean": np.stack(mean),
    }


def npairs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """``tfa.losses.npairs_loss``: all labels different, and some repeated."""
    anchor = rng.normal(0.0, 1.0, (6, 4)).astype(np.float32)
    positive = (anchor + rng.normal(0.0, 0.5, (6, 4))).astype(np.float32)
    similarity = anchor @ positive.T
    labels = np.array([[0, 1, 2, 3, 4, 5], [0, 1, 0, 2, 2, 2]], np.int32)
    loss = [tfa.losses.npairs_loss(row, similarity).numpy() for row in labels]
    return {
        "anchor": anchor,
        "positive": positive,
        "similarity": similarity,
        "labels": labels,
        "loss": np.stack(loss),
    }


def main(folder: Path) -> None:
    files = {
        "tfa_spectral_normalization_1": spectral_normalization(np.random.default_rng(1), 1),
        "tfa_spectral_normalization_3": spectral_normalization(np.random.default_rng(2), 3),
        # so many that sigma no longer depends on where an implementation reads it
        "tfa_spectral_normalization_200": spectral_normalization(np.random.default_rng(5), 200),
        "tfa_contrastive": contrastive(np.random.default_rng(3)),
        "tfa_npairs": npairs(np.random.default_rng(4)),
    }
    versions = np.array([f"tensorflow {tf.__version__}", f"tensorflow-addons {tfa.__version__}"])
    for name, arrays in files.items():
        np.savez(folder / f"{name}.npz", versions=versions, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
