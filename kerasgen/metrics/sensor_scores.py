"""Inception score, Frechet and kernel distance from the network that knows the sensors.

Inception score: exp of the mean Kullback-Leibler divergence of p(sensor | image) from p(sensor)
(arXiv:1606.03498); Frechet distance of the last hidden layer's features, taken as normal laws
(arXiv:1706.08500); kernel distance: unbiased squared MMD with the kernel (x y / F + 1)^3
(arXiv:1801.01401), over pairs of images of different events. Errors and floors as in ``compare``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.compare import add_metric, entry, resampling, spread
from kerasgen.metrics.distance import frechet_distance

MOST_EVENTS = 250  # of each candidate, twice as many real ones: the kernel's cost is their square
SECONDS_PER_EVENT = 0.15  # to classify the 40 images of an event, on two cores
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What the network makes of n events, as sums over the S images of each.

    Attributes:
        answers: [n, sensors], probabilities.
        certainty: [n], of p log p, summed over sensors.
        right: [n], images whose most probable sensor is their own.
        features: float32 [n, S, F].
        squares: [n, F, F], of the outer products of features.
    """

    answers: Floats
    certainty: Floats
    right: Floats
    features: NDArray[np.float32]
    squares: Floats

    def __len__(self) -> int:
        return len(self.right)


def see(answers: NDArray[Any], features: NDArray[Any], sensors: NDArray[Any], size: int) -> Seen:
    """Sums over events from the answers of all images.

    Args:
        answers: [images, sensors], probabilities.
        features: [images, F].
        sensors: [images], what they are of.
        size: images of an event.
    """
    p = answers.reshape(-1, size, answers.shape[-1]).astype(np.float64)
    f = features.reshape(-1, size, features.shape[-1])
    return Seen(
        p.sum(1),
        (p * np.log(np.maximum(p, 1e-12))).sum((1, 2)),
        (p.argmax(2) == sensors.reshape(-1, size)).sum(1).astype(np.float64),
        f.astype(np.float32),
        np.einsum("nsi,nsj->nij", f, f, dtype=np.float64, optimize=True),
    )


def inception_score(sample: Seen, weight: Floats) -> float:
    """1 if the network tells nothing of the sensor, their number if it is always sure of it."""
    images = weight.sum() * sample.features.shape[1]
    mean = weight @ sample.answers / images
    entropy = (mean * np.log(np.maximum(mean, 1e-12))).sum()
    return float(np.exp(weight @ sample.certainty / images - entropy))


def accuracy(sample: Seen, weight: Floats) -> float:
    """Share of the images whose sensor the network recognises."""
    return float(weight @ sample.right / (weight.sum() * sample.features.shape[1]))


def moments(sample: Seen, weight: Floats) -> tuple[Floats, Floats]:
    """Mean [F] and covariance [F, F] of the features."""
    images = weight.sum() * sample.features.shape[1]
    mean = weight @ sample.features.sum(1, dtype=np.float64) / images
    square = np.tensordot(weight, sample.squares, 1) / images
    return mean, (square - np.outer(mean, mean)) * images / (images - 1)


def kernel_means(a: Seen, b: Seen) -> Floats:
    """[events of a, events of b], mean kernel of their images."""
    size, width = a.features.shape[1:]
    flat = b.features.reshape(-1, width).T
    out = np.empty((len(a), len(b)))
    for k, images in enumerate(a.features):
        values = (images @ flat / width + 1.0) ** 3
        out[k] = values.reshape(size, len(b), size).mean((0, 2), dtype=np.float64)
    return out


def mean_discrepancy(within_a: Floats, within_b: Floats, across: Floats, wa: Floats, wb: Floats):
    """Unbiased squared MMD of weighted events from their ``kernel_means``; NaN for single ones."""

    def within(means: Floats, weight: Floats) -> float:
        pairs = np.outer(weight, weight)
        np.fill_diagonal(pairs, 0)  # images of one event are not independent
        total = pairs.sum()  # 0 where a bootstrap sample is one event again and again
        return float((pairs * means).sum() / total) if total > 0 else float("nan")

    cross = wa @ across @ wb / (wa.sum() * wb.sum())
    return within(within_a, wa) + within(within_b, wb) - 2 * float(cross)


ABOUT = {
    "sensor_inception": "Difference of the inception score of a network that knows the sensors.",
    "sensor_accuracy": "Difference of the share of images whose sensor that network recognises.",
    "sensor_frechet": "Frechet distance of that network's features, taken as normal laws.",
    "sensor_kernel": "Kernel distance (squared MMD) of that network's features; may be negative.",
}
UNITS = ("score", "probability", "features^2", "kernel")


def sensor_metrics(reference: Seen, candidate: Seen, seed: int) -> dict[str, dict[str, Any]]:
    """The four of ``ABOUT`` in the form of ``compare``.

    Args:
        reference, candidate: at least 4 events each.
        seed: of the resampling.
    """
    n, m = len(reference), len(candidate)
    drawn_r, drawn_c, parts, scale = resampling(n, m, np.random.default_rng(seed))
    kernels = [kernel_means(*x) for x in ((reference,) * 2, (candidate,) * 2)]
    across = kernel_means(reference, candidate)

    def compared(b: Seen, within_b: Floats, cross: Floats) -> Callable[..., list[float]]:
        def values(wa: Floats, wb: Floats) -> list[float]:
            return [
                abs(inception_score(b, wb) - inception_score(reference, wa)),
                abs(accuracy(b, wb) - accuracy(reference, wa)),
                frechet_distance(moments(reference, wa), moments(b, wb)),
                mean_discrepancy(kernels[0], within_b, cross, wa, wb),
            ]

        return values

    to_candidate = compared(candidate, kernels[1], across)
    to_itself = compared(reference, kernels[0], kernels[0])
    value = to_candidate(np.ones(n), np.ones(m))
    drawn = np.array([to_candidate(a, b) for a, b in zip(drawn_r, drawn_c, strict=True)])
    split = np.array([to_itself(1.0 - part, part * 1.0) for part in parts])
    split *= [scale, scale, scale**2, scale**2]  # the last two are squares
    found = {}
    for k, (name, unit) in enumerate(zip(ABOUT, UNITS, strict=True)):
        error, floor = spread(drawn[:, k])[1], spread(split[:, k])
        found[name] = entry(value[k], error, *floor, unit, m)
    return found


class FeatureRecorder:
    """Takes events in blocks and shows the first of them to the network."""

    def __init__(self, classify: Callable[[Hits], Any], geometry: Geometry, events: int) -> None:
        self.classify, self.sensors, self.events = classify, len(geometry.sensors), events
        self.parts: list[Seen] = []

    def add(self, hits: Hits) -> None:
        """Look at some more events; those beyond ``events`` are left out."""
        done = sum(map(len, self.parts))
        n = min(len(hits) // self.sensors, self.events - done)
        if n > 0:
            some = hits.take(np.arange(n * self.sensors))
            answers, features = self.classify(some)
            self.parts.append(see(answers, features, some.sensor, self.sensors))

    @property
    def seen(self) -> Seen:
        return Seen(
            *(np.concatenate([vars(p)[k] for p in self.parts]) for k in vars(self.parts[0]))
        )


class SensorComparison:
    """Recorders of the reference and of each candidate, and what the network makes of them.

    Other detectors than that of the shipped network are left out.

    Args:
        events: of each candidate.
        seed: of the resampling.
    """

    name = "sensors"

    def __init__(self, events: int, seed: int) -> None:
        self.events, self.seed = min(events, MOST_EVENTS), seed
        self.real: FeatureRecorder | None = None
        self.candidates: dict[str, FeatureRecorder] = {}

    def reference(self, geometry: Geometry, events: int) -> list[FeatureRecorder]:
        """The recorder that real events go through; comes before ``candidate``."""
        from kerasgen.metrics import sensor_classifier  # imports TensorFlow

        if not sensor_classifier.knows(geometry):
            return []
        self.geometry, self.classify = geometry, sensor_classifier.load_classifier(geometry)
        self.real = FeatureRecorder(self.classify, geometry, min(events, 2 * self.events))
        return [self.real]

    def candidate(self, name: str) -> list[FeatureRecorder]:
        """The recorder that a candidate's events go through."""
        if self.real is None:
            return []
        self.candidates[name] = FeatureRecorder(self.classify, self.geometry, self.events)
        return [self.candidates[name]]

    def seconds(self, events: int, candidates: int) -> float:
        """On two cores: every event through the network."""
        return SECONDS_PER_EVENT * (min(events, 2 * self.events) + candidates * self.events)

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Add the metrics to the comparisons of the candidates (the form of ``compare``).

        Returns:
            ``about`` {metric: one line}, and {sample: inception score and accuracy}.
        """
        if self.real is None:
            return {"about": {}}
        samples = {"real": self.real.seen} | {k: r.seen for k, r in self.candidates.items()}
        for name in self.candidates:
            for metric, values in sensor_metrics(samples["real"], samples[name], self.seed).items():
                add_metric(found[name], metric, values)
        return {"about": ABOUT} | {
            name: {
                "inception_score": inception_score(s, np.ones(len(s))),
                "accuracy": accuracy(s, np.ones(len(s))),
            }
            for name, s in samples.items()
        }
