"""A small classifier of superpixels, trained on real ones, to judge generated ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kerasgen.data.points import PointSets
from kerasgen.models.sparse_vae.networks import pooled

WIDTH, FEATURES, STEPS, BATCH = 96, 64, 1500, 64


def train_classifier(
    sets: PointSets, classes: int, seed: int = 0
) -> Callable[[PointSets], tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Train on real sets; the same sets and seed give the same classifier.

    A network per point, mean and maximum over the points, two layers (PointNet, arXiv:1612.00593).

    Args:
        sets: real sets with labels.
        classes: number of labels.
        seed: of weights and batches.

    Returns:
        From sets to predicted label [n] and features of the last hidden layer [n, FEATURES].
    """
    keras.utils.set_random_seed(seed)
    points, present = keras.Input(sets.points.shape[1:]), keras.Input((sets.points.shape[1], 1))
    x: Any = points
    for _ in range(2):
        x = keras.layers.Dense(WIDTH, activation="gelu")(x)
    x = keras.layers.Lambda(lambda pair: pooled(*pair))([x, present])
    x = keras.layers.Dense(WIDTH, activation="gelu")(keras.layers.Dropout(0.2)(x))
    x = seen = keras.layers.Dense(FEATURES, activation="gelu")(x)
    model = keras.Model([points, present], keras.layers.Dense(classes)(x))
    inner = keras.Model(model.inputs, [model.output, seen])
    rate = keras.optimizers.schedules.CosineDecay(2e-3, STEPS)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    rows = np.random.default_rng(seed).integers(len(sets), size=STEPS * BATCH)
    model.fit(
        inputs(sets.take(rows)), sets.label[rows].astype(np.int64), BATCH, shuffle=False, verbose=0
    )

    def classify(other: PointSets) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        logits, found = inner.predict(inputs(other), batch_size=1000, verbose=0)
        return logits.argmax(axis=1), found

    return classify


def inputs(sets: PointSets) -> list[NDArray[np.float32]]:
    """Points about their middle, and which of them are there: [n, P, 3], [n, P, 1]."""
    return [2 * sets.points - 1, sets.mask[..., None].astype(np.float32)]
