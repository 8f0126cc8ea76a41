"""A network that tells from an image which sensor it is of, trained on simulated events.

Its answers give the inception score, its last hidden layer the features of Frechet and kernel
distance (``sensor_scores``): what Inception-v3 is to photographs. Weights and their making:
``benchmarks/sensor_classifier.py``; what it reaches: ``benchmarks/sensor_classifier.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits

GEOMETRY = "belle2-pxd"
FEATURES = 64
CELL = 4  # rows and columns that the first layer takes together
WEIGHTS = "sensor_classifier.npz"


def knows(geometry: Geometry) -> bool:
    """Whether the network was trained on the sensors of a geometry."""
    trained = load_geometry(GEOMETRY)
    same = geometry.rows, geometry.cols, geometry.names
    return geometry.name == GEOMETRY and same == (trained.rows, trained.cols, trained.names)


def build_network(geometry: Geometry) -> keras.Model:
    """From charges [N, rows, cols], 0 to 1, to logits [N, sensors] and features [N, FEATURES]."""
    picture = keras.Input((geometry.rows, geometry.cols))
    rows, cols = -geometry.rows % CELL, -geometry.cols % CELL
    x: Any = keras.layers.Reshape((geometry.rows, geometry.cols, 1))(picture)
    x = keras.layers.ZeroPadding2D(((0, rows), (0, cols)))(x)
    x = keras.layers.Conv2D(32, CELL, CELL, activation="gelu")(x)
    for width in (48, 64, 96):
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Conv2D(width, 3, 2, padding="same", activation="gelu")(x)
    x = keras.layers.AveragePooling2D(4, padding="same")(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(keras.layers.Flatten()(x))
    x = keras.layers.Dropout(0.2)(x)
    features = keras.layers.Dense(FEATURES, activation="tanh")(x)
    logits = keras.layers.Dense(len(geometry.sensors))(features)
    return keras.Model(picture, [logits, features])


def charges(hits: Hits, geometry: Geometry) -> NDArray[np.float32]:
    """float32 [n, rows, cols], log(1 + ADU) / log(1 + highest), what the network sees."""
    value = np.log1p(hits.adu.astype(np.float32)) / np.float32(np.log1p(geometry.max_charge))
    out = np.zeros((len(hits), geometry.rows, geometry.cols), np.float32)
    out[hits.image, hits.row, hits.col] = value
    return out


def load_classifier(
    geometry: Geometry,
) -> Callable[[Hits], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The shipped network.

    Args:
        geometry: that of the training, see ``GEOMETRY``.

    Returns:
        From images [n] to the probability of each sensor [n, sensors] and features [n, FEATURES].
    """
    model = build_network(geometry)
    with (resources.files("kerasgen.metrics") / WEIGHTS).open("rb") as file, np.load(file) as found:
        model.set_weights([found[str(k)] for k in range(len(found))])

    @tf.function(input_signature=[tf.TensorSpec((None, geometry.rows, geometry.cols), tf.float32)])
    def answer(picture: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits, features = model(picture, training=False)
        return tf.nn.softmax(logits), features

    sensors = len(geometry.sensors)

    def classify(hits: Hits) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        parts = [np.arange(k, min(k + sensors, len(hits))) for k in range(0, len(hits), sensors)]
        found = [answer(charges(hits.take(p), geometry)) for p in parts]
        answers, features = zip(*found, strict=True)
        return np.concatenate(answers), np.concatenate(features)

    return classify
