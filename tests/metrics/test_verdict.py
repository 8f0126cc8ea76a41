"""The verdict on metrics whose excesses are known."""

import numpy as np
import pytest

from kerasgen.metrics.point_sets import SPLITS
from kerasgen.metrics.verdict import add_metric, judged_metric, sigmas_above, verdict_of_metrics

NAN = float("nan")


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
