"""Judges: networks that are trained to tell real from generated events, in three families.

``auc_patches`` sees pixels around a hit, ``auc_features`` the physics features of a sensor image,
``auc_images`` a sensor image in coarse cells; each is told the sensor. Architecture, training and
sample sizes are frozen: AUCs compare only between equal judges. The ranking of generators depends
on the judge, hence three of them (CaloChallenge, arXiv:2410.21611).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kerasgen.backend.precision import IMAGE
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.clusters import label_clusters
from kerasgen.metrics.image_features import image_features
from kerasgen.metrics.two_sample import Floats, NetworkInputs, Score

PATCH = (16, 32)  # pixels along u and v
PATCHES_PER_EVENT = 240
CELLS = (16, 48)  # of a whole image
BATCH = 128
FULL_EVENTS = 300  # of each side; fewer events are trained on for proportionally fewer steps
MIN_FRACTION = 0.2  # of the steps
LARGEST = 8.0  # standard deviations; larger ones are clipped
MIN_DEVIATION = 1e-4  # of a number that varies


def patches(hits: Hits, geometry: Geometry, rng: np.random.Generator) -> NetworkInputs:
    """Patches around ``PATCHES_PER_EVENT`` random hits of each event, padded with 0 at edges.

    Channels: the charge on a log scale, and whether the pixel belongs to the cluster of the hit.
    """
    sensors = len(geometry.sensors)
    events = len(hits) // sensors
    bounds = hits.indptr[::sensors]
    chosen = np.concatenate(
        [
            rng.integers(bounds[k], bounds[k + 1], PATCHES_PER_EVENT)
            for k in range(events)
            if bounds[k + 1] > bounds[k]
        ]
        or [np.zeros(0, np.int64)]
    )
    patch = np.zeros((len(chosen), *PATCH, 2), np.float16)
    image, label = hits.image, label_clusters(hits, geometry)
    value = np.log1p(hits.adu.astype(float)) / np.log1p(geometry.max_charge)
    for k, centre in enumerate(chosen):
        start, stop = hits.indptr[image[centre]], hits.indptr[image[centre] + 1]
        row = hits.row[start:stop].astype(int) - int(hits.row[centre]) + PATCH[0] // 2
        col = hits.col[start:stop].astype(int) - int(hits.col[centre]) + PATCH[1] // 2
        near = (row >= 0) & (row < PATCH[0]) & (col >= 0) & (col < PATCH[1])
        patch[k, row[near], col[near], 0] = value[start:stop][near]
        patch[k, row[near], col[near], 1] = label[start:stop][near] == label[centre]
    sensor = hits.sensor[image[chosen]].astype(np.int64)
    return NetworkInputs(patch, sensor, image[chosen] // sensors)


def whole_images(hits: Hits, geometry: Geometry, rng: np.random.Generator) -> NetworkInputs:
    """All images in ``CELLS`` cells; ``rng`` is not used.

    Channels: fired pixels, their mean charge, pixels whose next one along u and along v fired, and
    first pixels of clusters.
    """
    n = len(hits)
    row, col = hits.row.astype(np.int64), hits.col.astype(np.int64)
    cell = (hits.image * CELLS[0] + row * CELLS[0] // geometry.rows) * CELLS[1]
    cell += col * CELLS[1] // geometry.cols
    size = n * CELLS[0] * CELLS[1]
    count = np.bincount(cell, minlength=size).astype(float)
    charge = np.bincount(cell, hits.adu, size) / np.maximum(count, 1) / geometry.max_charge
    channels = [count / 10, charge]
    pixel = (hits.image * (geometry.rows + 1) + row) * (geometry.cols + 1) + col
    for step in (geometry.cols + 1, 1):
        follows = np.isin(pixel + step, pixel)
        channels.append(np.bincount(cell, follows, size) / 10)
    label = label_clusters(hits, geometry)
    order = np.argsort(label, kind="stable")
    starts = order[np.diff(label[order], prepend=-1) != 0]
    channels.append(np.bincount(cell[starts], minlength=size) / 10)
    image = np.stack(channels, -1).reshape(n, *CELLS, len(channels)).astype(np.float16)
    return NetworkInputs(image, *numbers_of_images(hits, geometry))


def feature_vectors(hits: Hits, geometry: Geometry, rng: np.random.Generator) -> NetworkInputs:
    """Physics features of all images, see ``image_features``; ``rng`` is not used."""
    return NetworkInputs(image_features(hits, geometry), *numbers_of_images(hits, geometry))


def numbers_of_images(
    hits: Hits, geometry: Geometry
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sensor and event of each image, events counted from 0."""
    return hits.sensor.astype(np.int64), np.arange(len(hits)) // len(geometry.sensors)


def convolutional(samples: list[NetworkInputs], sensors: int) -> keras.Model:
    """Three convolutions with pooling, then a hidden layer with the embedded sensor.

    The hidden layer has the mean of the image too, in standard deviations from that of ``samples``.
    """
    image = keras.Input(samples[0].image.shape[1:], dtype="float32")
    sensor = keras.Input((), dtype="int32")
    x: Any = image
    for width in (32, 64, 64):
        x = keras.layers.Conv2D(width, 3, padding="same", activation="gelu", **IMAGE)(x)
        x = keras.layers.MaxPooling2D(**IMAGE)(x)
    x = keras.layers.Dropout(0.2, dtype="float32")(keras.layers.Flatten(**IMAGE)(x))
    means = np.concatenate([s.image.mean((1, 2), dtype=np.float32) for s in samples])
    variance = np.maximum(means.var(axis=0), MIN_DEVIATION**2)
    normed = keras.layers.Normalization(mean=means.mean(axis=0), variance=variance, dtype="float32")
    normed = normed(keras.layers.GlobalAveragePooling2D(**IMAGE)(image))
    x = keras.layers.Concatenate(dtype="float32")([with_sensor(x, sensor, sensors), normed])
    x = keras.layers.Dense(64, activation="gelu", dtype="float32")(x)
    return keras.Model([image, sensor], keras.layers.Dense(1, dtype="float32")(x))


def perceptron(samples: list[NetworkInputs], sensors: int) -> keras.Model:
    """A hidden layer of features and embedded sensor, beside a linear function of the features."""
    features = keras.Input(samples[0].image.shape[1:], dtype="float32")
    sensor = keras.Input((), dtype="int32")
    x = with_sensor(features, sensor, sensors)
    x = keras.layers.Dense(64, activation="gelu", dtype="float32")(x)
    x = keras.layers.Dropout(0.3, dtype="float32")(x)
    x = keras.layers.Concatenate(dtype="float32")([x, features])
    return keras.Model([features, sensor], keras.layers.Dense(1, dtype="float32")(x))


def with_sensor(x: Any, sensor: Any, sensors: int) -> Any:
    """``x`` with an embedding of the sensor, eight numbers."""
    embedded = keras.layers.Embedding(sensors, 8, dtype="float32")(sensor)
    return keras.layers.Concatenate(dtype="float32")([x, embedded])


def as_is(real: NetworkInputs, sensors: int) -> Callable[[NetworkInputs], NDArray[Any]]:
    """Images as they are."""
    return lambda sample: sample.image


def standardised(real: NetworkInputs, sensors: int) -> Callable[[NetworkInputs], NDArray[Any]]:
    """Numbers in standard deviations from the mean of the sensor, both of these real images."""
    overall = real.image.mean(axis=0, dtype=np.float64)
    mean = np.zeros((sensors, *overall.shape), np.float32)
    square = np.zeros(overall.shape)
    for k in range(sensors):
        some = real.image[real.sensor == k].astype(np.float64)
        # Of few images, the mean is drawn to that of all sensors.
        mean[k] = overall + (some - overall).sum(axis=0) / (len(some) + 1)
        square += ((some - mean[k]) ** 2).sum(axis=0)
    deviation = np.sqrt(square / len(real.image))
    deviation = np.where(deviation > MIN_DEVIATION, deviation, 1.0).astype(np.float32)

    def transform(sample: NetworkInputs) -> NDArray[Any]:
        found = np.empty(sample.image.shape, np.float16)
        for k, x in enumerate(sample.image):  # one by one, to bound the memory
            away = (x - mean[sample.sensor[k]]) / deviation
            found[k] = np.clip(away, -LARGEST, LARGEST)
        return found

    return transform


@dataclass(frozen=True)
class Judge:
    """One family.

    Attributes:
        about: what its AUC means, in one line.
        view: inputs of whole events.
        network: from scaled real and generated inputs of the training and the number of sensors.
        scaling: of the inputs, from the real images of the training and the number of sensors.
        steps: of the training, for ``FULL_EVENTS`` events of each side or more.
    """

    about: str
    view: Callable[[Hits, Geometry, np.random.Generator], NetworkInputs]
    network: Callable[[list[NetworkInputs], int], keras.Model]
    scaling: Callable[[NetworkInputs, int], Callable[[NetworkInputs], NDArray[Any]]]
    steps: int

    def train(self, samples: list[NetworkInputs], seed: int, sensors: int) -> Score:
        """Train a classifier whose scores are low for real and high for generated inputs.

        Args:
            samples: real and generated.
            seed: of weights and batches.
            sensors: of the geometry.
        """
        keras.utils.set_random_seed(seed)
        scaled = self.scaling(samples[0], sensors)
        scale = [NetworkInputs(scaled(s), s.sensor, s.event) for s in samples]
        model = self.network(scale, sensors)
        fraction = 2 * min(s.events for s in samples) / FULL_EVENTS
        train_network(model, scale, round(self.steps * min(max(fraction, MIN_FRACTION), 1.0)), seed)
        return lambda sample: scores(
            model, NetworkInputs(scaled(sample), sample.sensor, sample.event)
        )


def train_network(
    model: keras.Model, samples: list[NetworkInputs], steps: int, seed: int, batch: int = BATCH
) -> None:
    """Train a classifier with AdamW, whose rate falls as a cosine.

    Args:
        model: (image, sensor) -> logits [n, 1].
        samples: real and generated, scaled.
        steps: of the training.
        seed: of the batches.
        batch: inputs of a batch, half of them real.
    """
    rate = keras.optimizers.schedules.CosineDecay(np.float32(1e-3), steps)
    loss = keras.losses.BinaryCrossentropy(from_logits=True, dtype="float32")
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-3)
    model.compile(optimizer, loss, auto_scale_loss=False)
    model.fit(_Batches(samples, seed, steps, batch), verbose=0)


def scores(model: keras.Model, sample: NetworkInputs) -> Floats:
    """Logits of scaled inputs, low for real ones: [n]."""
    parts = [slice(k, k + 1000) for k in range(0, len(sample.event), 1000)]
    logits = [model([sample.image[p], sample.sensor[p]], training=False) for p in parts]
    return np.concatenate([np.asarray(x)[:, 0] for x in logits]).astype(np.float64)


class _Batches(keras.utils.PyDataset):
    """Batches of half real and half generated images, drawn at random on demand."""

    def __init__(self, samples: list[NetworkInputs], seed: int, steps: int, batch: int) -> None:
        super().__init__()
        self.samples, self.rng = samples, np.random.default_rng(seed)
        self.steps, self.half = steps, batch // 2

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[Any, NDArray[Any]]:
        rows = [self.rng.integers(len(s.event), size=self.half) for s in self.samples]
        inputs = tuple(
            np.concatenate([getattr(s, name)[r] for s, r in zip(self.samples, rows, strict=True)])
            for name in ("image", "sensor")
        )
        return inputs, np.repeat([0.0, 1.0], self.half)


JUDGES: dict[str, Judge] = {
    "auc_patches": Judge(
        f"AUC of real against generated, from {PATCH[0]} x {PATCH[1]} pixels around a hit "
        "(0.5: not distinguished).",
        patches, convolutional, as_is, 400,
    ),
    "auc_features": Judge(
        "AUC of real against generated, from counts, charges, clusters and pairs of pixels of an "
        "image (0.5: not distinguished).",
        feature_vectors, perceptron, standardised, 1500,
    ),
    "auc_images": Judge(
        "AUC of real against generated, from images in coarse cells (0.5: not distinguished).",
        whole_images, convolutional, standardised, 400,
    ),
}  # fmt: skip
