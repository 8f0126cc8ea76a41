"""A classifier of images by sensor, trained on simulated events.

Its answers give the inception score, its last hidden layer the features of Frechet and kernel
distance (``sensor_scores``), as Inception-v3 does for photographs.
``benchmarks/sensor_classifier.py`` trains the weights; ``benchmarks/sensor_classifier.md`` records
the accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.backend.engine import CompiledStep
from kerasgen.backend.precision import IMAGE
from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits

GEOMETRY = "belle2-pxd"
FEATURES = 64
CELL = 4  # rows and columns of a patch of the first convolution
WEIGHTS = "sensor_classifier.npz"


def trained_on(geometry: Geometry) -> bool:
    """Whether the classifier was trained on the sensors of a geometry."""
    trained = load_geometry(GEOMETRY)
    same = geometry.rows, geometry.cols, geometry.names
    return geometry.name == GEOMETRY and same == (trained.rows, trained.cols, trained.names)


def build_network(geometry: Geometry) -> keras.Model:
    """From charges [N, rows, cols], 0 to 1, to logits [N, sensors] and features [N, FEATURES]."""
    image = keras.Input((geometry.rows, geometry.cols), dtype="float32")
    rows, cols = -geometry.rows % CELL, -geometry.cols % CELL
    x: Any = keras.layers.Reshape((geometry.rows, geometry.cols, 1), dtype="float32")(image)
    x = keras.layers.ZeroPadding2D(((0, rows), (0, cols)), **IMAGE)(x)
    x = keras.layers.Conv2D(32, CELL, CELL, activation="gelu", **IMAGE)(x)
    for width in (48, 64, 96):
        x = keras.layers.BatchNormalization(momentum=0.9, dtype="float32")(x)
        x = keras.layers.Conv2D(width, 3, 2, padding="same", activation="gelu", **IMAGE)(x)
    x = keras.layers.AveragePooling2D(4, padding="same", **IMAGE)(x)
    x = keras.layers.Flatten(**IMAGE)(x)
    x = keras.layers.BatchNormalization(momentum=0.9, dtype="float32")(x)
    x = keras.layers.Dropout(0.2, dtype="float32")(x)
    features = keras.layers.Dense(FEATURES, activation="tanh", dtype="float32")(x)
    logits = keras.layers.Dense(len(geometry.sensors), dtype="float32")(features)
    return keras.Model(image, [logits, features])


def image_charges(hits: Hits, geometry: Geometry) -> NDArray[np.float32]:
    """float32 [n, rows, cols], log(1 + ADU) / log(1 + max ADU), the input of the network."""
    value = np.log1p(hits.adu.astype(np.float32)) / np.float32(np.log1p(geometry.max_charge))
    out = np.zeros((len(hits), geometry.rows, geometry.cols), np.float32)
    out[hits.image, hits.row, hits.col] = value
    return out


Classify = Callable[[Hits], tuple[NDArray[np.float32], NDArray[np.float32]]]


def load_classifier(geometry: Geometry) -> Classify:
    """Load the released classifier.

    Args:
        geometry: of the training, see ``GEOMETRY``.

    Returns:
        Function of n images: probability of each sensor [n, sensors] and features [n, FEATURES].
    """
    model = build_network(geometry)
    with (
        (resources.files("kerasgen.metrics") / WEIGHTS).open("rb") as file,
        np.load(file) as weights,
    ):
        model.set_weights([weights[str(k)] for k in range(len(weights))])

    def answer(image: Any) -> tuple[Any, Any]:
        logits, features = model(image, training=False)
        return ops.softmax(logits), features

    compiled = CompiledStep(answer, model.variables)
    compiled.read_variables()
    sensors = len(geometry.sensors)

    def classify(hits: Hits) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        parts = [np.arange(k, min(k + sensors, len(hits))) for k in range(0, len(hits), sensors)]
        found = [compiled(image_charges(hits.take(p), geometry)) for p in parts]
        answers, features = zip(*found, strict=True)
        return np.concatenate(answers), np.concatenate(features)

    return classify
