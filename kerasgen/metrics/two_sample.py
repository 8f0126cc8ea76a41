"""Classifier two-sample test: area under the ROC curve of classifiers of real against generated.

A classifier is trained on half of the events of both samples and tested on the other half
(D. Lopez-Paz and M. Oquab, arXiv:1610.06545); 0.5: real and generated are not distinguished. The
input of one classifier are patches of 16 x 16 pixels around hits, that of the other are whole
images as counts and charge in coarse cells; both get the sensor, too. The floor is the AUC between
two halves of the real events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from kerasgen.backend.precision import IMAGE
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.bootstrap import RESAMPLES, bootstrap_rows, mean_and_deviation
from kerasgen.metrics.verdict import add_metric, judged_metric

PATCH = 16
PATCHES_PER_EVENT = 240
CELLS = (16, 48)  # of a whole image
MAX_EVENTS = 400  # of each sample: more hardly improve the classifiers
STEPS, BATCH = 400, 128
SECONDS = 40.0  # to train and test both classifiers, on two cores
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NetworkInputs:
    """Inputs of a classifier from some events.

    Attributes:
        image: [n, height, width, channels], about 0 to 1.
        sensor: int64 [n].
        event: int64 [n], counted from 0, ascending.
    """

    image: NDArray[np.float16]
    sensor: NDArray[np.int64]
    event: NDArray[np.int64]

    def take(self, events: NDArray[np.int64]) -> NetworkInputs:
        """Inputs of some events, which are renumbered from 0."""
        rows = np.flatnonzero(np.isin(self.event, events))
        number = np.searchsorted(np.sort(events), self.event[rows])
        return NetworkInputs(self.image[rows], self.sensor[rows], number)


def patches(hits: Hits, geometry: Geometry, rng: np.random.Generator) -> NetworkInputs:
    """Patches around ``PATCHES_PER_EVENT`` random hits of each event, padded with 0 at edges."""
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
    patch = np.zeros((len(chosen), PATCH, PATCH, 1), np.float16)
    image = hits.image
    value = np.log1p(hits.adu.astype(float)) / np.log(256)
    for k, centre in enumerate(chosen):
        start, stop = hits.indptr[image[centre]], hits.indptr[image[centre] + 1]
        row = hits.row[start:stop].astype(int) - int(hits.row[centre]) + PATCH // 2
        col = hits.col[start:stop].astype(int) - int(hits.col[centre]) + PATCH // 2
        near = (row >= 0) & (row < PATCH) & (col >= 0) & (col < PATCH)
        patch[k, row[near], col[near], 0] = value[start:stop][near]
    sensor = hits.sensor[image[chosen]].astype(np.int64)
    return NetworkInputs(patch, sensor, image[chosen] // sensors)


def whole_images(hits: Hits, geometry: Geometry, rng: np.random.Generator) -> NetworkInputs:
    """All images as counts of hits and mean charge in ``CELLS`` cells; ``rng`` is not used."""
    n = len(hits)
    row = hits.row.astype(np.int64) * CELLS[0] // geometry.rows
    col = hits.col.astype(np.int64) * CELLS[1] // geometry.cols
    cell = (hits.image * CELLS[0] + row) * CELLS[1] + col
    size = n * CELLS[0] * CELLS[1]
    count = np.bincount(cell, minlength=size).astype(float)
    charge = np.bincount(cell, hits.adu, size) / np.maximum(count, 1) / geometry.max_charge
    image = np.stack([count / 10, charge], -1).reshape(n, *CELLS, 2).astype(np.float16)
    sensor = hits.sensor.astype(np.int64)
    return NetworkInputs(image, sensor, np.arange(n) // len(geometry.sensors))


View = Callable[[Hits, Geometry, np.random.Generator], NetworkInputs]
VIEWS: dict[str, tuple[View, str]] = {
    "auc_patches": (
        patches,
        "AUC of real against generated, from 16 x 16 pixels around a hit (0.5: not distinguished).",
    ),
    "auc_images": (
        whole_images,
        "AUC of real against generated, from images in coarse cells (0.5: not distinguished).",
    ),
}


def auc(real: Floats, generated: Floats) -> float:
    """Area under the ROC curve: the probability that a generated score exceeds a real one."""
    ranks = rankdata(np.concatenate([real, generated]))
    n = len(generated)
    return float((ranks[len(real) :].sum() - n * (n + 1) / 2) / (n * len(real)))


def two_sample_auc(real: NetworkInputs, generated: NetworkInputs, seed: int) -> tuple[float, float]:
    """Train on half of the events of both samples, test on the rest.

    Args:
        real, generated: at least two events each.
        seed: of the split, the network and the bootstrap.

    Returns:
        AUC, and its standard deviation over bootstrap samples of the test events.
    """
    rng = np.random.default_rng(seed)
    halves = [_random_halves(sample, rng) for sample in (real, generated)]
    score = _train_network([h[0] for h in halves], seed)
    test = [h[1] for h in halves]
    scores = [score(sample) for sample in test]
    bootstraps = []
    for _ in range(RESAMPLES):
        rows = [bootstrap_rows(sample.event, rng) for sample in test]
        bootstraps.append(auc(*(values[r] for values, r in zip(scores, rows, strict=True))))
    return auc(*scores), mean_and_deviation(np.array(bootstraps))[1]


def _random_halves(
    sample: NetworkInputs, rng: np.random.Generator
) -> tuple[NetworkInputs, NetworkInputs]:
    order = rng.permutation(int(sample.event.max()) + 1)
    middle = len(order) // 2
    return sample.take(order[:middle]), sample.take(order[middle:])


def _train_network(samples: list[NetworkInputs], seed: int) -> Callable[[NetworkInputs], Floats]:
    """Train a classifier whose scores are low for real and high for generated images."""
    keras.utils.set_random_seed(seed)
    sensors = int(max(s.sensor.max() for s in samples)) + 1
    shape = samples[0].image.shape[1:]
    image, sensor = keras.Input(shape, dtype="float32"), keras.Input((), dtype="int32")
    x: Any = image
    for width in (32, 64, 64):
        x = keras.layers.Conv2D(width, 3, padding="same", activation="gelu", **IMAGE)(x)
        x = keras.layers.MaxPooling2D(**IMAGE)(x)
    x = keras.layers.Dropout(0.2, dtype="float32")(keras.layers.Flatten(**IMAGE)(x))
    embedded = keras.layers.Embedding(sensors, 8, dtype="float32")(sensor)
    x = keras.layers.Concatenate(dtype="float32")([x, embedded])
    x = keras.layers.Dense(64, activation="gelu", dtype="float32")(x)
    model = keras.Model([image, sensor], keras.layers.Dense(1, dtype="float32")(x))
    rate = keras.optimizers.schedules.CosineDecay(np.float32(1e-3), STEPS)
    loss = keras.losses.BinaryCrossentropy(from_logits=True, dtype="float32")
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-3)
    model.compile(optimizer, loss, auto_scale_loss=False)
    model.fit(_Batches(samples, seed), verbose=0)

    def score(sample: NetworkInputs) -> Floats:
        parts = [slice(k, k + 1000) for k in range(0, len(sample.event), 1000)]
        logits = [model([sample.image[p], sample.sensor[p]], training=False) for p in parts]
        return np.concatenate([np.asarray(x)[:, 0] for x in logits]).astype(np.float64)

    return score


class _Batches(keras.utils.PyDataset):
    """Batches of half real and half generated images, drawn at random on demand."""

    def __init__(self, samples: list[NetworkInputs], seed: int) -> None:
        super().__init__()
        self.samples, self.rng = samples, np.random.default_rng(seed)

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> tuple[Any, NDArray[Any]]:
        rows = [self.rng.integers(len(s.event), size=BATCH // 2) for s in self.samples]
        inputs = tuple(
            np.concatenate([getattr(s, name)[r] for s, r in zip(self.samples, rows, strict=True)])
            for name in ("image", "sensor")
        )
        return inputs, np.repeat([0.0, 1.0], BATCH // 2)


class InputRecorder:
    """Receives events in blocks and keeps the inputs of the classifiers from the first of them.

    Args:
        geometry: of the events.
        events: number of events to record.
        seed: of the patches.
    """

    def __init__(self, geometry: Geometry, events: int, seed: int) -> None:
        self.geometry, self.events = geometry, events
        self.rng = np.random.default_rng(seed)
        self.done = 0
        self.parts: dict[str, list[NetworkInputs]] = {name: [] for name in VIEWS}

    def add(self, hits: Hits) -> None:
        """Record a block of events; those beyond ``events`` are left out."""
        sensors = len(self.geometry.sensors)
        n = min(len(hits) // sensors, self.events - self.done)
        if n <= 0:
            return
        some = hits.take(np.arange(n * sensors))
        for name, (view, _) in VIEWS.items():
            new = view(some, self.geometry, self.rng)
            self.parts[name].append(NetworkInputs(new.image, new.sensor, new.event + self.done))
        self.done += n

    def inputs(self, name: str) -> NetworkInputs:
        """All inputs of one classifier of ``VIEWS``."""
        parts = self.parts[name]
        return NetworkInputs(
            np.concatenate([p.image for p in parts]),
            np.concatenate([p.sensor for p in parts]),
            np.concatenate([p.event for p in parts]),
        )


class NetworkComparison:
    """Study of an evaluation: AUC of classifiers that are trained on the samples.

    Args:
        events: of each candidate.
        seed: of patches, classifiers and bootstrap.
    """

    name = "networks"

    def __init__(self, events: int, seed: int) -> None:
        self.events, self.seed = min(events, MAX_EVENTS), seed
        self.candidates: dict[str, InputRecorder] = {}

    def reference(self, geometry: Geometry, events: int) -> list[InputRecorder]:
        """Recorder of the real events. Call before ``candidate``."""
        self.geometry = geometry
        self.real = InputRecorder(geometry, min(events, 2 * self.events), self.seed)
        return [self.real]

    def candidate(self, name: str) -> list[InputRecorder]:
        """Recorder of the events of a candidate."""
        self.candidates[name] = InputRecorder(self.geometry, self.events, self.seed + 1)
        return [self.candidates[name]]

    def seconds(self, events: int, candidates: int) -> float:
        """Estimated seconds on two cores: both classifiers, for the floor and every candidate."""
        return SECONDS * (1 + candidates)

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Add the AUCs to the comparisons of the candidates.

        Args:
            found: {candidate: from ``compare``}, changed in place.

        Returns:
            ``about`` {metric: one line}.
        """
        for view in VIEWS:
            real = self.real.inputs(view)
            a, b = _random_halves(real, np.random.default_rng(self.seed))
            floor, floor_error = two_sample_auc(a, b, self.seed)
            for name, recorder in self.candidates.items():
                generated = recorder.inputs(view)
                if len(np.unique(generated.event)) < 2:  # without hits: fully distinguished
                    value, error = 1.0, 0.0
                else:
                    value, error = two_sample_auc(real, generated, self.seed)
                metric = judged_metric(value, error, floor, floor_error, "AUC", self.events)
                add_metric(found[name], view, metric)
        return {"about": {name: text for name, (_, text) in VIEWS.items()}}
