"""Inception score, Frechet and kernel distance from the classifier of sensors.

Inception score: exp of the mean Kullback-Leibler divergence of p(sensor | image) from p(sensor)
(arXiv:1606.03498). Frechet distance: of the features of the last hidden layer, taken as normally
distributed (arXiv:1706.08500). Kernel distance: unbiased squared MMD with the kernel
(x y / F + 1)^3 (arXiv:1801.01401), over pairs of images of different events. Errors and floors as
in ``compare``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.bootstrap import mean_and_deviation, resample_events
from kerasgen.metrics.distance import frechet_distance
from kerasgen.metrics.verdict import add_metric, judged_metric

MAX_EVENTS = 250  # of each candidate, twice as many real: the kernel distance costs their square
SECONDS_PER_EVENT = 0.15  # to classify the 40 images of an event, on two cores
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EventAnswers:
    """Answers of the classifier to n events, as sums over the S images of each event.

    Attributes:
        answers: [n, sensors], probabilities.
        certainty: [n], p log p, summed over sensors.
        right: [n], images whose most probable sensor is their own.
        features: float32 [n, S, F], of each image.
        squares: [n, F, F], outer products of features.
    """

    answers: Floats
    certainty: Floats
    right: Floats
    features: NDArray[np.float32]
    squares: Floats

    def __len__(self) -> int:
        return len(self.right)


def sum_answers(
    answers: NDArray[Any], features: NDArray[Any], sensors: NDArray[Any], size: int
) -> EventAnswers:
    """Sums over events from the answers of all images.

    Args:
        answers: [images, sensors], probabilities.
        features: [images, F].
        sensors: [images], the true sensor.
        size: images of an event.
    """
    p = answers.reshape(-1, size, answers.shape[-1]).astype(np.float64)
    f = features.reshape(-1, size, features.shape[-1])
    return EventAnswers(
        p.sum(1),
        (p * np.log(np.maximum(p, 1e-12))).sum((1, 2)),
        (p.argmax(2) == sensors.reshape(-1, size)).sum(1).astype(np.float64),
        f.astype(np.float32),
        np.einsum("nsi,nsj->nij", f, f, dtype=np.float64, optimize=True),
    )


def inception_score(sample: EventAnswers, weight: Floats) -> float:
    """1 if the answers do not depend on the image, the number of sensors if all are certain."""
    images = weight.sum() * sample.features.shape[1]
    mean = weight @ sample.answers / images
    entropy = (mean * np.log(np.maximum(mean, 1e-12))).sum()
    return float(np.exp(weight @ sample.certainty / images - entropy))


def accuracy(sample: EventAnswers, weight: Floats) -> float:
    """Fraction of the images whose sensor the classifier recognises."""
    return float(weight @ sample.right / (weight.sum() * sample.features.shape[1]))


def weighted_moments(sample: EventAnswers, weight: Floats) -> tuple[Floats, Floats]:
    """Mean [F] and covariance [F, F] of the features."""
    images = weight.sum() * sample.features.shape[1]
    mean = weight @ sample.features.sum(1, dtype=np.float64) / images
    square = np.tensordot(weight, sample.squares, 1) / images
    return mean, (square - np.outer(mean, mean)) * images / (images - 1)


def kernel_means(a: EventAnswers, b: EventAnswers) -> Floats:
    """[events of a, events of b], mean kernel of their images."""
    size, width = a.features.shape[1:]
    flat = b.features.reshape(-1, width).T
    out = np.empty((len(a), len(b)))
    for k, images in enumerate(a.features):
        values = (images @ flat / width + 1.0) ** 3
        out[k] = values.reshape(size, len(b), size).mean((0, 2), dtype=np.float64)
    return out


def mean_discrepancy(
    within_a: Floats, within_b: Floats, across: Floats, wa: Floats, wb: Floats
) -> float:
    """Unbiased squared MMD of weighted events; NaN where a side has one distinct event only.

    Args:
        within_a, within_b, across: ``kernel_means`` of both sides and between them.
        wa, wb: weights of the events.
    """

    def within(means: Floats, weight: Floats) -> float:
        pairs = np.outer(weight, weight)
        np.fill_diagonal(pairs, 0)  # images of one event are not independent
        total = pairs.sum()  # 0 where a bootstrap sample repeats one event
        return float((pairs * means).sum() / total) if total > 0 else float("nan")

    cross = wa @ across @ wb / (wa.sum() * wb.sum())
    return within(within_a, wa) + within(within_b, wb) - 2 * float(cross)


ABOUT = {
    "sensor_inception": "Difference of the inception score of a classifier of sensors.",
    "sensor_accuracy": "Difference of the accuracy of a classifier of sensors.",
    "sensor_frechet": "Frechet distance of the features of a classifier of sensors.",
    "sensor_kernel": "Kernel distance (squared MMD) of the same features; may be negative.",
}
UNITS = ("score", "probability", "features^2", "kernel")


def sensor_metrics(
    reference: EventAnswers, candidate: EventAnswers, seed: int
) -> dict[str, dict[str, Any]]:
    """The four metrics of ``ABOUT`` from ``judged_metric``, by name.

    Args:
        reference, candidate: at least 4 events each.
        seed: of the resampling.
    """
    n, m = len(reference), len(candidate)
    resampling = resample_events(n, m, np.random.default_rng(seed))
    kernels = [kernel_means(*x) for x in ((reference,) * 2, (candidate,) * 2)]
    across = kernel_means(reference, candidate)

    def metrics_against(
        b: EventAnswers, within_b: Floats, cross: Floats
    ) -> Callable[..., list[float]]:
        def values(wa: Floats, wb: Floats) -> list[float]:
            return [
                abs(inception_score(b, wb) - inception_score(reference, wa)),
                abs(accuracy(b, wb) - accuracy(reference, wa)),
                frechet_distance(weighted_moments(reference, wa), weighted_moments(b, wb)),
                mean_discrepancy(kernels[0], within_b, cross, wa, wb),
            ]

        return values

    to_candidate = metrics_against(candidate, kernels[1], across)
    to_itself = metrics_against(reference, kernels[0], kernels[0])
    value = to_candidate(np.ones(n), np.ones(m))
    weights = zip(resampling.reference, resampling.candidate, strict=True)
    bootstraps = np.array([to_candidate(a, b) for a, b in weights])
    splits = np.array([to_itself(1.0 - part, part * 1.0) for part in resampling.part])
    scale = resampling.scale
    splits *= [scale, scale, scale**2, scale**2]  # the last two are squares
    metrics = {}
    for k, (name, unit) in enumerate(zip(ABOUT, UNITS, strict=True)):
        error = mean_and_deviation(bootstraps[:, k])[1]
        floor, floor_error = mean_and_deviation(splits[:, k])
        metrics[name] = judged_metric(value[k], error, floor, floor_error, unit, m)
    return metrics


class FeatureRecorder:
    """Receives events in blocks and records the classifier's answers to the first of them.

    Args:
        classify: from images to probabilities and features, see ``load_classifier``.
        geometry: of the events.
        events: number of events to classify.
    """

    def __init__(self, classify: Callable[[Hits], Any], geometry: Geometry, events: int) -> None:
        self.classify, self.sensors, self.events = classify, len(geometry.sensors), events
        self.parts: list[EventAnswers] = []

    def add(self, hits: Hits) -> None:
        """Classify a block of events; those beyond ``events`` are left out."""
        done = sum(map(len, self.parts))
        n = min(len(hits) // self.sensors, self.events - done)
        if n > 0:
            some = hits.take(np.arange(n * self.sensors))
            answers, features = self.classify(some)
            self.parts.append(sum_answers(answers, features, some.sensor, self.sensors))

    @property
    def answers(self) -> EventAnswers:
        """The answers to all events so far."""
        return EventAnswers(
            *(np.concatenate([vars(p)[k] for p in self.parts]) for k in vars(self.parts[0]))
        )


class SensorComparison:
    """Study of an evaluation: compare samples by the answers of the classifier of sensors.

    Detectors other than that of the released classifier get no metrics.

    Args:
        events: of each candidate.
        seed: of the resampling.
    """

    name = "sensors"

    def __init__(self, events: int, seed: int) -> None:
        self.events, self.seed = min(events, MAX_EVENTS), seed
        self.real: FeatureRecorder | None = None
        self.candidates: dict[str, FeatureRecorder] = {}

    def reference(self, geometry: Geometry, events: int) -> list[FeatureRecorder]:
        """Recorder of the real events; none for other detectors. Call before ``candidate``."""
        from kerasgen.metrics import sensor_classifier  # imports Keras

        if not sensor_classifier.trained_on(geometry):
            return []
        self.geometry, self.classify = geometry, sensor_classifier.load_classifier(geometry)
        self.real = FeatureRecorder(self.classify, geometry, min(events, 2 * self.events))
        return [self.real]

    def candidate(self, name: str) -> list[FeatureRecorder]:
        """Recorder of the events of a candidate."""
        if self.real is None:
            return []
        self.candidates[name] = FeatureRecorder(self.classify, self.geometry, self.events)
        return [self.candidates[name]]

    def seconds(self, events: int, candidates: int) -> float:
        """Estimated seconds on two cores to classify all events."""
        return SECONDS_PER_EVENT * (min(events, 2 * self.events) + candidates * self.events)

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Add the metrics to the comparisons of the candidates.

        Args:
            found: {candidate: from ``compare``}, changed in place.

        Returns:
            ``about`` {metric: one line}, and {sample: inception score and accuracy}.
        """
        if self.real is None:
            return {"about": {}}
        samples = {"real": self.real.answers} | {k: r.answers for k, r in self.candidates.items()}
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
