"""Metrics in units of their floors, computed by hand."""

from __future__ import annotations

import math

import pytest

from kerasgen.tuning.objective import metric_names, objective, over_floor, watched_names
from kerasgen.zoo.recipes import load_config


def metric(value: float | None, floor: float | None, error: float = 0.0) -> dict:
    return {"value": value, "floor": floor, "floor_error": error}


@pytest.mark.parametrize(
    ("values", "high", "expected"),
    [
        (metric(6.0, 2.0, 0.5), False, 3.0),
        (metric(6.0, -0.1, 0.5), False, 12.0),  # the floor of an unbiased distance is 0 on average
        (metric(0.25, 0.5), True, 2.0),
        (metric(0.0, 0.5), True, math.inf),
        (metric(None, 0.5), False, math.inf),
        (metric(1.0, None), False, math.inf),
        (metric(0.0, 0.0), False, 1.0),
        (metric(1.0, 0.0), False, math.inf),
    ],
)
def test_over_floor(values: dict, high: bool, expected: float):
    assert over_floor(values, high) == expected


def test_mean_over_metrics_before_calibration():
    metrics = {"adu_w1": metric(8.0, 2.0), "occupancy_w1": metric(0.3, 0.1)}
    better = {name: metric(0.0, 1.0) for name in metrics}
    document = {
        "candidate": "calibrated",
        "candidates": {
            "bootstrap": {"metrics": better},
            "uncalibrated": {"metrics": metrics},
            "calibrated": {"metrics": better},
        },
    }
    config = load_config("pxd_biggan_crops")
    assert objective(document, ["adu_w1", "occupancy_w1"], config) == pytest.approx(3.5)
    del document["candidates"]["uncalibrated"]
    assert objective(document, ["adu_w1", "occupancy_w1"], config) == 0


def test_coverage_is_better_when_higher():
    document = {
        "candidate": "generated",
        "candidates": {"generated": {"metrics": {"cov": metric(0.1, 0.5), "w1p": metric(2, 1)}}},
    }
    assert objective(document, ["cov", "w1p"], load_config("jet_vae")) == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("recipe", "known", "unknown", "watched"),
    [
        ("jet_vae", "w1m", "misclassified", "w1_mass"),
        ("superpixel_vae", "misclassified", "w1m", "w1_total"),
        ("pxd_biggan_crops", "cluster_size_w1", "w1p", "score"),
    ],
)
def test_recipes_know_their_metrics(recipe: str, known: str, unknown: str, watched: str):
    config = load_config(recipe)
    assert known in metric_names(config)
    assert unknown not in metric_names(config)
    assert watched in watched_names(config)
