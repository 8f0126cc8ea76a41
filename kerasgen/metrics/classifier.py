"""A small classifier of superpixels: trained on real sets, applied to generated sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.backend.checkpoint import save_weights
from kerasgen.backend.precision import IMAGE
from kerasgen.data.points import PointSets
from kerasgen.layers import gaussian_splat

GRID = 14  # cells along x and y of the input image
FILTERS, FEATURES, STEPS, BATCH = 48, 64, 2000, 128


def train_classifier(
    sets: PointSets, classes: int, seed: int = 0, cache: Path | None = None
) -> Callable[[PointSets], tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Train on real sets; the same sets and seed give the same classifier.

    Three convolutions over a blurred image of the points (``point_image``). On superpixels of MNIST
    it is more accurate than networks on the points themselves (benchmarks/sparse_vae.md).

    Args:
        sets: real sets with labels, positions and intensities in [0, 1].
        classes: number of labels.
        seed: of weights and batches.
        cache: folder for the weights, so that it is not trained again on the same sets.

    Returns:
        Function of sets: predicted label [n] and features of the last hidden layer [n, FEATURES].
    """
    keras.utils.set_random_seed(seed)
    points, present = (
        keras.Input((sets.points.shape[1], numbers), dtype="float32") for numbers in (3, 1)
    )
    image = keras.layers.Lambda(lambda pair: point_image(*pair), dtype="float32")
    x: Any = image([points, present])
    for filters in (FILTERS // 2, FILTERS, FILTERS):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", **IMAGE)(x)
        x = x if filters < FILTERS else keras.layers.MaxPool2D(**IMAGE)(x)
    x = keras.layers.Dropout(0.2, dtype="float32")(keras.layers.Flatten(**IMAGE)(x))
    x = features = keras.layers.Dense(FEATURES, activation="gelu", dtype="float32")(x)
    model = keras.Model([points, present], keras.layers.Dense(classes, dtype="float32")(x))
    inner = keras.Model(model.inputs, [model.output, features])
    kept = cache / f"classifier-{fingerprint(sets, seed)}.weights.h5" if cache else None
    if kept and kept.is_file():
        model.load_weights(kept)
    else:
        rate = keras.optimizers.schedules.CosineDecay(np.float32(2e-3), STEPS)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32")
        model.compile(keras.optimizers.Adam(rate), loss, auto_scale_loss=False)
        rows = np.random.default_rng(seed).integers(len(sets), size=STEPS * BATCH)
        batches = network_inputs(sets.take(rows)), sets.label[rows].astype(np.int64)
        model.fit(*batches, BATCH, shuffle=False, verbose=0)
        if kept:
            save_weights(keras.Model(model.inputs, model.outputs), kept)

    def classify(other: PointSets) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        logits, values = inner.predict(network_inputs(other), batch_size=1000, verbose=0)
        return logits.argmax(axis=1), values

    return classify


def fingerprint(sets: PointSets, seed: int) -> str:
    """Hash of all that determines the classifier: sets, seed, this file and ``gaussian_splat``."""
    digest = hashlib.sha256(str(seed).encode())
    for source in (__file__, gaussian_splat.__file__):
        digest.update(Path(source).read_bytes())
    for values in (sets.points, sets.mask, sets.label):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]


def point_image(points: Any, present: Any) -> Any:
    """Image of points as normal distributions on a grid, [n, GRID, GRID, 2].

    Args:
        points: [n, P, 3].
        present: [n, P, 1], 1 for points.

    Returns:
        The first channel counts points, the second sums their intensity.
    """
    x, y = gaussian_splat.cell_weights(points[..., :2], GRID)
    weights = present * ops.concatenate([ops.ones_like(present), points[..., 2:]], axis=-1)
    return ops.einsum("npx,npy,npc->nxyc", x, y, weights)


def network_inputs(sets: PointSets) -> list[NDArray[np.float32]]:
    """Points [n, P, 3] and their mask [n, P, 1]."""
    return [sets.points, sets.mask[..., None].astype(np.float32)]
