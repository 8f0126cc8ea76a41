"""Golden values of all metrics with a bootstrap, on small fixed samples.

They fix the random streams: the order in which each comparison draws events. Usage:
``python tests/metrics/bootstrap_golden.py``, only where a stream is changed on purpose.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from toy_events import TOY, toy_events

from kerasgen.data.points import build_point_sets
from kerasgen.metrics.compare import compare
from kerasgen.metrics.memorisation import memorised, training_signatures
from kerasgen.metrics.point_sets import compare_sets, jet_metrics, jet_sample
from kerasgen.metrics.sensor_scores import EventAnswers, sensor_metrics, sum_answers
from kerasgen.metrics.summary import summarise
from kerasgen.metrics.two_sample import NetworkInputs, two_sample_auc
from kerasgen.tracking.measures import bootstrap_measures, tracking_metrics
from kerasgen.tracking.study import Records

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "bootstrap.json"
KEYS = ("value", "error", "floor", "floor_error")


def hits_metrics() -> dict[str, Any]:
    """Metrics of pixel hits, and near-copies of training images."""
    reference, candidate, training = (toy_events(n, n) for n in (20, 12, 30))
    metrics = compare(summarise(reference, TOY), summarise(candidate, TOY), 3)["metrics"]
    known, a, b = (training_signatures([hits], TOY) for hits in (training, reference, candidate))
    a, b = np.concatenate([a, known[:2]]), np.concatenate([b, known[:3]])
    return metrics | {"memorised": memorised(a, b, known, 3)}


def answers(n: int, shift: float) -> EventAnswers:
    """Answers of a classifier of four sensors to n events."""
    rng = np.random.default_rng(n)
    p = rng.dirichlet(np.ones(4), 4 * n)
    return sum_answers(p, rng.standard_normal((4 * n, 3)) + shift, np.tile(np.arange(4), n), 4)


def inputs(n: int, shift: float) -> NetworkInputs:
    """Images of n events; events have one to four of them."""
    rng = np.random.default_rng(n)
    event = np.repeat(np.arange(n), rng.integers(1, 5, n))
    images = rng.standard_normal((len(event), 2, 2, 1)) + shift
    return NetworkInputs(images.astype(np.float16), np.zeros(len(event), np.int64), event)


def auc_of_means() -> dict[str, Any]:
    """AUC with the mean of an image in place of the score of a trained network."""

    def train(samples: list[NetworkInputs], seed: int) -> Any:
        return lambda sample: sample.image.astype(np.float64).mean((1, 2, 3))

    value, error = two_sample_auc(inputs(20, 0.0), inputs(14, 0.3), 3, train)
    return {"auc": {"value": value, "error": error, "floor": 0.5, "floor_error": 0.0}}


def jets(n: int, width: float) -> dict[str, Any]:
    """Sample of n jets with Gaussian positions."""
    rng = np.random.default_rng(n)
    points = rng.normal(0, width, (n, 10, 3))
    points[..., 2] = np.sort(rng.dirichlet(np.ones(10), n))[:, ::-1]
    return jet_sample(
        build_point_sets(points, rng.integers(3, 11, n), np.zeros(n), np.zeros((n, 4)))
    )


def tracks(seed: int, width: float, wrong: float) -> Records:
    """Tracks of 20 events with normal residuals, mm."""
    rng = np.random.default_rng(seed)
    d0, z0 = width * rng.standard_normal((2, 800))
    mistaken = rng.random((800, 2)) < wrong
    sigma, every = np.full(800, width), np.ones((800, 2), bool)
    pt = rng.uniform(0.16, 3.9, 800)
    event = np.repeat(np.arange(20), 40)
    return Records(event, pt, d0, z0, sigma, sigma, every, ~mistaken, mistaken)


def golden_metrics() -> dict[str, list[float]]:
    """[value, error, floor, floor_error] by name of the metric."""
    cases = [tracks(1, 0.010, 0.02), tracks(2, 0.010, 0.02), tracks(3, 0.012, 0.05)]
    points = {k: v for k, v in jet_metrics(20, 2).items() if k.startswith("w1")}
    metrics = (
        hits_metrics()
        | sensor_metrics(answers(24, 0.0), answers(12, 0.2), 3)
        | auc_of_means()
        | compare_sets(jets(101, 0.1), jets(80, 0.13), points, 3)["metrics"]
        | tracking_metrics(*bootstrap_measures(cases, 3), 800)
    )
    return {name: [metric[key] for key in KEYS] for name, metric in metrics.items()}


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden_metrics(), indent=0) + "\n")
