"""The verdict on metrics whose excesses are known."""

import json
from pathlib import Path

import numpy as np
import pytest

from kerasgen.metrics.point_sets import SPLITS
from kerasgen.metrics.verdict import (
    MAX_ERROR,
    add_metric,
    judged_metric,
    sigmas_above,
    verdict_of_metrics,
)

NAN, INF = float("nan"), float("inf")
ZOO = Path(__file__).resolve().parents[2] / "zoo"


def metric(value: float, floor: float = 1.0) -> dict:
    """A metric with a total error of 0.5."""
    return judged_metric(value, 0.3, floor, 0.4, "", 8)


def test_a_metric_is_within_at_three_sigma() -> None:
    assert metric(2.4)["within"]
    assert metric(2.6)["within"] is False
    assert sigmas_above(metric(3.0)) == pytest.approx(4)


def test_a_value_is_undefined_and_a_floor_is_undefined() -> None:
    assert metric(NAN)["within"] is False
    assert sigmas_above(metric(NAN)) == float("inf")
    assert metric(2.0, floor=NAN)["within"] is None
    assert sigmas_above(metric(9.0, floor=NAN)) == 0


@pytest.mark.parametrize(
    ("value", "error"),
    [(INF, 0.1), (INF, INF), (NAN, NAN), (1.0, NAN), (1.0, INF), (4e75, 2e80), (-4e75, 2e80)],
)
def test_what_is_not_defined_is_outside(value: float, error: float) -> None:
    found = judged_metric(value, error, 1.0, 0.4, "", 8)
    assert found["within"] is False
    assert found["value"] is None
    assert sigmas_above(found) == INF
    result = verdict_of_metrics({"a": found}, {"a": [0.9, 1.1]})
    assert (result["verdict"], result["outside"], result["sigmas"]) == ("outside floor", ["a"], 3)
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(("floor", "floor_error"), [(0.2, 0.01), (0.0, 0.2), (-0.2, 0.0)])
def test_an_error_excuses_up_to_a_size(floor: float, floor_error: float) -> None:
    largest = MAX_ERROR * 0.2
    assert judged_metric(100.0, largest, floor, floor_error, "", 8)["within"]
    assert judged_metric(100.0, 1.1 * largest, floor, floor_error, "", 8)["within"] is False
    beyond = judged_metric(1e9, 1.1 * largest, floor, floor_error, "", 8)
    assert (beyond["within"], beyond["value"]) == (False, 1e9)  # in spite of its error


def test_a_floor_without_scale_judges_by_three_sigma() -> None:
    """Fractions of copies: none among real events."""
    assert judged_metric(0.0, 0.0, 0.0, 0.0, "", 8)["within"]
    assert judged_metric(0.02, 0.01, 0.0, 0.0, "", 8)["within"]
    assert judged_metric(0.04, 0.01, 0.0, 0.0, "", 8)["within"] is False


@pytest.mark.parametrize("floor_error", [NAN, INF])
def test_a_floor_without_error_is_no_floor(floor_error: float) -> None:
    found = judged_metric(9.0, 0.1, 1.0, floor_error, "", 8)
    assert found["within"] is None
    assert verdict_of_metrics({"a": found}, {"a": [5.0]})["sigmas"] == 3


@pytest.mark.parametrize("path", sorted(ZOO.glob("*/metrics.json")), ids=lambda p: p.parent.name)
def test_recorded_metrics_are_judged_as_recorded(path: Path) -> None:
    number = "value", "error", "floor", "floor_error"
    for found in json.loads(path.read_text("utf-8"))["candidates"].values():
        for name, recorded in found["metrics"].items():
            sign = -1 if name == "cov" else 1
            values = [NAN if recorded[k] is None else recorded[k] for k in number]
            values[::2] = [sign * x for x in values[::2]]
            again = judged_metric(*values, recorded["unit"], recorded["n"])
            assert (name, again["within"]) == (name, recorded["within"])


def test_one_split_beyond_three_sigma_raises_the_limit() -> None:
    """A split of the reference at 5 sigma in one metric allows 4 sigma in another."""
    metrics = {"a": metric(1.0), "b": metric(3.0)}
    plain = verdict_of_metrics(metrics, {"a": [0.9, 1.1], "b": [1.0]})
    assert (plain["verdict"], plain["outside"], plain["sigmas"]) == ("outside floor", ["b"], 3)
    raised = verdict_of_metrics(metrics, {"a": [1.0, 3.5, NAN], "b": [1.0]})
    assert (raised["verdict"], raised["outside"]) == ("within floor", ["b"])
    assert raised["sigmas"] == pytest.approx(5)


def test_splits_of_point_sets_never_raise_the_limit() -> None:
    """The largest of n values exceeds their mean by at most (n - 1) / sqrt(n) deviations."""
    values = np.array([0.0] * (SPLITS - 1) + [1.0])
    excess = (values.max() - values.mean()) / values.std(ddof=1)
    assert excess == pytest.approx((SPLITS - 1) / SPLITS**0.5)
    assert excess < 3


def test_an_added_metric_counts_if_it_exceeds_the_limit() -> None:
    result = verdict_of_metrics({"a": metric(1.0)}, {"a": [3.5]})
    add_metric(result, "b", metric(3.0))
    assert (result["verdict"], result["outside"]) == ("within floor", ["b"])
    add_metric(result, "c", metric(4.0))
    assert (result["verdict"], result["outside"]) == ("outside floor", ["b", "c"])
