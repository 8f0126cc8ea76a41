"""Networks that try to tell real from generated: area under the ROC curve, 0.5 where they cannot.

A classifier is trained on half of the events of both samples and judged on the other half
(classifier two-sample test; D. Lopez-Paz and M. Oquab, arXiv:1610.06545). One sees patches of
16 x 16 pixels around hits, the other whole images as counts and charge in coarse cells, and which
sensor they are of. The floor is the same between two halves of the real events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.compare import RESAMPLES, add_metric, entry

PATCH = 16
PATCHES_PER_EVENT = 240
CELLS = (16, 48)  # of a whole image
MOST_EVENTS = 400  # of each sample: more would teach the networks little
STEPS, BATCH = 400, 128
SECONDS = 40.0  # to train and judge both networks, on two cores
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pictures:
    """What a network sees of some events.

    Attributes:
        picture: [n, height, width, channels], about 0 to 1.
        sensor: int64 [n].
        event: int64 [n], counted from 0.
    """

    picture: NDArray[np.float16]
    sensor: NDArray[np.int64]
    event: NDArray[np.int64]

    def take(self, events: NDArray[np.int64]) -> Pictures:
        """Those of some events, whose numbers are counted anew."""
        rows = np.flatnonzero(np.isin(self.event, events))
        number = np.searchsorted(np.sort(events), self.event[rows])
        return Pictures(self.picture[rows], self.sensor[rows], number)


def patches(hits: Hits, geometry: Geometry, rng: np.random.Generator) -> Pictures:
    """Patches around ``PATCHES_PER_EVENT`` hits of each event; empty beyond the sensor's edge."""
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
    picture = np.zeros((len(chosen), PATCH, PATCH, 1), np.float16)
    image = hits.image
    value = np.log1p(hits.adu.astype(float)) / np.log(256)
    for k, centre in enumerate(chosen):
        start, stop = hits.indptr[image[centre]], hits.indptr[image[centre] + 1]
        row = hits.row[start:stop].astype(int) - int(hits.row[centre]) + PATCH // 2
        col = hits.col[start:stop].astype(int) - int(hits.col[centre]) + PATCH // 2
        near = (row >= 0) & (row < PATCH) & (col >= 0) & (col < PATCH)
        picture[k, row[near], col[near], 0] = value[start:stop][near]
    return Pictures(picture, hits.sensor[image[chosen]].astype(np.int64), image[chosen] // sensors)


def whole_images(hits: Hits, geometry: Geometry, rng: np.random.Generator) -> Pictures:
    """Every image as counts of hits and mean charge in ``CELLS`` cells."""
    n = len(hits)
    row = hits.row.astype(np.int64) * CELLS[0] // geometry.rows
    col = hits.col.astype(np.int64) * CELLS[1] // geometry.cols
    cell = (hits.image * CELLS[0] + row) * CELLS[1] + col
    size = n * CELLS[0] * CELLS[1]
    count = np.bincount(cell, minlength=size).astype(float)
    charge = np.bincount(cell, hits.adu, size) / np.maximum(count, 1) / geometry.max_charge
    picture = np.stack([count / 10, charge], -1).reshape(n, *CELLS, 2).astype(np.float16)
    return Pictures(picture, hits.sensor.astype(np.int64), np.arange(n) // len(geometry.sensors))


VIEWS: dict[str, tuple[Callable[..., Pictures], str]] = {
    "auc_patches": (
        patches,
        "Real or generated, told from 16 x 16 pixels around a hit (0.5: not).",
    ),
    "auc_images": (whole_images, "Real or generated, told from images in coarse cells (0.5: not)."),
}


def auc(real: Floats, generated: Floats) -> float:
    """Area under the ROC curve: the chance that a generated score is above a real one."""
    ranks = rankdata(np.concatenate([real, generated]))
    n = len(generated)
    return float((ranks[len(real) :].sum() - n * (n + 1) / 2) / (n * len(real)))


def two_sample_auc(real: Pictures, generated: Pictures, seed: int) -> tuple[float, float]:
    """Train on half of the events of both, judge on the rest.

    Args:
        real, generated: at least two events each.
        seed: of the split, the network and the bootstrap.

    Returns:
        AUC, and its standard deviation over bootstrap samples of the events judged.
    """
    rng = np.random.default_rng(seed)
    halves = [_halves(sample, rng) for sample in (real, generated)]
    scores = _train([h[0] for h in halves], seed)
    judged = [h[1] for h in halves]
    found = [scores(sample) for sample in judged]
    drawn = []
    for _ in range(RESAMPLES):
        rows = [_resampled(sample.event, rng) for sample in judged]
        drawn.append(auc(*(score[r] for score, r in zip(found, rows, strict=True))))
    return auc(*found), float(np.std(drawn, ddof=1))


def _halves(sample: Pictures, rng: np.random.Generator) -> tuple[Pictures, Pictures]:
    order = rng.permutation(int(sample.event.max()) + 1)
    middle = len(order) // 2
    return sample.take(order[:middle]), sample.take(order[middle:])


def _resampled(event: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of events drawn with replacement; rows of an event follow each other."""
    start = np.flatnonzero(np.diff(event, prepend=-1))
    stop = np.append(start[1:], len(event))
    some = rng.integers(len(start), size=len(start))
    return np.concatenate([np.arange(start[k], stop[k]) for k in some])


def _train(samples: list[Pictures], seed: int) -> Callable[[Pictures], Floats]:
    """A network that gives real pictures low scores and generated ones high scores."""
    keras.utils.set_random_seed(seed)
    sensors = int(max(s.sensor.max() for s in samples)) + 1
    shape = samples[0].picture.shape[1:]
    picture, sensor = keras.Input(shape), keras.Input((), dtype="int32")
    x: Any = picture
    for width in (32, 64, 64):
        x = keras.layers.Conv2D(width, 3, padding="same", activation="gelu")(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dropout(0.2)(keras.layers.Flatten()(x))
    x = keras.layers.Concatenate()([x, keras.layers.Embedding(sensors, 8)(sensor)])
    x = keras.layers.Dense(64, activation="gelu")(x)
    model = keras.Model([picture, sensor], keras.layers.Dense(1)(x))
    rate = keras.optimizers.schedules.CosineDecay(1e-3, STEPS)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), loss)
    model.fit(_Batches(samples, seed), verbose=0)

    def scores(sample: Pictures) -> Floats:
        parts = [slice(k, k + 1000) for k in range(0, len(sample.event), 1000)]
        found = [model([sample.picture[p], sample.sensor[p]], training=False) for p in parts]
        return np.concatenate([np.asarray(f)[:, 0] for f in found]).astype(np.float64)

    return scores


class _Batches(keras.utils.PyDataset):
    """Halves of random real and of random generated pictures, made as they are needed."""

    def __init__(self, samples: list[Pictures], seed: int) -> None:
        super().__init__()
        self.samples, self.rng = samples, np.random.default_rng(seed)

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> tuple[Any, NDArray[Any]]:
        rows = [self.rng.integers(len(s.event), size=BATCH // 2) for s in self.samples]
        found = tuple(
            np.concatenate([getattr(s, name)[r] for s, r in zip(self.samples, rows, strict=True)])
            for name in ("picture", "sensor")
        )
        return found, np.repeat([0.0, 1.0], BATCH // 2)


class PictureRecorder:
    """Takes events in blocks and keeps what the networks see of the first of them."""

    def __init__(self, geometry: Geometry, events: int, seed: int) -> None:
        self.geometry, self.events = geometry, events
        self.rng = np.random.default_rng(seed)
        self.done = 0
        self.parts: dict[str, list[Pictures]] = {name: [] for name in VIEWS}

    def add(self, hits: Hits) -> None:
        """Look at some more events; those beyond ``events`` are left out."""
        sensors = len(self.geometry.sensors)
        n = min(len(hits) // sensors, self.events - self.done)
        if n <= 0:
            return
        some = hits.take(np.arange(n * sensors))
        for name, (view, _) in VIEWS.items():
            seen = view(some, self.geometry, self.rng)
            self.parts[name].append(Pictures(seen.picture, seen.sensor, seen.event + self.done))
        self.done += n

    def pictures(self, name: str) -> Pictures:
        """All that one network sees."""
        parts = self.parts[name]
        return Pictures(
            np.concatenate([p.picture for p in parts]),
            np.concatenate([p.sensor for p in parts]),
            np.concatenate([p.event for p in parts]),
        )


class NetworkComparison:
    """Recorders of the reference and of each candidate, and what networks make of them.

    Args:
        events: of each candidate.
        seed: of patches, networks and bootstrap.
    """

    name = "networks"

    def __init__(self, events: int, seed: int) -> None:
        self.events, self.seed = min(events, MOST_EVENTS), seed
        self.candidates: dict[str, PictureRecorder] = {}

    def reference(self, geometry: Geometry, events: int) -> list[PictureRecorder]:
        """The recorder that real events go through; comes before ``candidate``."""
        self.geometry = geometry
        self.real = PictureRecorder(geometry, min(events, 2 * self.events), self.seed)
        return [self.real]

    def candidate(self, name: str) -> list[PictureRecorder]:
        """The recorder that a candidate's events go through."""
        self.candidates[name] = PictureRecorder(self.geometry, self.events, self.seed + 1)
        return [self.candidates[name]]

    def seconds(self, events: int, candidates: int) -> float:
        """On two cores: a network of each view for the floor and for every candidate."""
        return SECONDS * (1 + candidates)

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Add the AUCs to the comparisons of the candidates (the form of ``compare``).

        Returns:
            ``about`` {metric: one line}.
        """
        for view in VIEWS:
            real = self.real.pictures(view)
            a, b = _halves(real, np.random.default_rng(self.seed))
            floor, floor_error = two_sample_auc(a, b, self.seed)
            for name, recorder in self.candidates.items():
                made = recorder.pictures(view)
                if len(np.unique(made.event)) < 2:  # no hits: told at once
                    value, error = 1.0, 0.0
                else:
                    value, error = two_sample_auc(real, made, self.seed)
                add_metric(
                    found[name], view, entry(value, error, floor, floor_error, "AUC", self.events)
                )
        return {"about": {name: text for name, (_, text) in VIEWS.items()}}
