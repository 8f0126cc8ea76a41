"""Metrics of the background types of hits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toy_events import TOY, toy_events

from kerasgen.data.hits import Hits
from kerasgen.evaluation.report_rows import class_table
from kerasgen.metrics.background_types import (
    BackgroundTypes,
    TypeRecorder,
    mean_and_correlation,
    type_values,
)
from kerasgen.metrics.compare import compare
from kerasgen.metrics.summary import layer_index, summarise

EVENTS = 40


def typed_events(seed: int, first: float = 0.6, shared: bool = False) -> Hits:
    """Events whose hits are of type 1 with this probability, else 2.

    ``shared``: the hits of an event are of one type or of the other.
    """
    hits = toy_events(EVENTS, seed)
    rng = np.random.default_rng(seed)
    number = rng.random(EVENTS if shared else len(hits.adu))
    if shared:
        number = number[hits.event[hits.image]]
    return replace(hits, type=np.where(number < first, 1, 2).astype(np.uint8))


def judged(reference: Hits, candidate: Hits) -> tuple[dict[str, Any], dict[str, Any]]:
    """Comparison of two samples in two blocks each, and what the study adds to the document."""
    study = BackgroundTypes(0)
    sensors, half = len(TOY.sensors), EVENTS // 2 * len(TOY.sensors)
    for hits, recorders in (
        (reference, study.reference(TOY, EVENTS)),
        (candidate, study.candidate("model")),
    ):
        for recorder in recorders:
            for start in (0, half):
                recorder.add(hits.take(np.arange(start, start + half)))
    assert len(reference) == EVENTS * sensors
    found = {"model": compare(summarise(reference, TOY), summarise(candidate, TOY))}
    return found["model"], study.judge(found)


def test_equal_types_are_within_the_floor() -> None:
    found, more = judged(typed_events(1), typed_events(2))
    for name in more["about"]:
        assert found["metrics"][name]["within"], name
    assert list(more["metrics"]) == ["two_photon", "shower"]
    table = class_table({"types": more})
    assert table is not None
    assert table["names"] == ["two_photon", "shower"]
    assert table["title"].startswith("Metrics by type")


def test_other_shares_and_types_that_come_together_are_seen() -> None:
    found, _ = judged(typed_events(1), typed_events(2, first=0.7))
    shares = found["metrics"]["type_shares"]
    assert shares["value"] == pytest.approx(0.1, abs=3 * shares["error"])
    assert not shares["within"]
    assert "type_shares" in found["outside"]
    found, _ = judged(typed_events(1), typed_events(2, shared=True))
    assert not found["metrics"]["type_correlation"]["within"]


def test_metrics_of_a_type_are_those_of_its_hits() -> None:
    reference, candidate = typed_events(1), typed_events(2)
    more = judged(reference, candidate)[1]["metrics"]
    alone = (summarise(x.of_types([2]), TOY) for x in (reference, candidate))
    # The pairs of events that are compared depend on the blocks.
    expected, found = compare(*alone)["metrics"], more["shower"]
    for name in ("occupancy_per_sensor", "adu_w1", "cluster_size_w1"):
        assert found[name] == expected[name], name


def test_a_sample_without_types_has_no_such_metrics() -> None:
    for samples in ((typed_events(1), toy_events(EVENTS, 2)), (toy_events(EVENTS, 1),) * 2):
        found, more = judged(*samples)
        assert "type_shares" not in found["metrics"]
        assert more == {"about": {}, "metrics": {}}
        assert class_table({"types": more}) is None


def test_a_candidate_without_one_of_the_types_is_far_off() -> None:
    found, more = judged(typed_events(1), typed_events(2, first=2.0))
    assert not found["metrics"]["type_shares"]["within"]
    assert list(more["metrics"]) == ["two_photon"]


def test_a_type_that_comes_late_has_no_hits_before() -> None:
    hits = typed_events(1)
    half = EVENTS // 2 * len(TOY.sensors)
    first, second = (hits.take(np.arange(k, k + half)) for k in (0, half))
    recorder = TypeRecorder(TOY)
    recorder.add(first.of_types([1]))
    recorder.add(second)
    found = recorder.summaries()
    assert {number: len(x) for number, x in found.items()} == {1: EVENTS, 2: EVENTS}
    assert not found[2].fired[: EVENTS // 2].any()
    np.testing.assert_array_equal(
        found[2].fired[EVENTS // 2 :], summarise(second.of_types([2]), TOY).fired
    )


def test_correlations_by_hand() -> None:
    """One sensor a layer; hits of type 1 are equal on both, those of type 2 are opposite."""
    fired = np.zeros((3, 2, 2))
    fired[:, 0, 0] = fired[:, 1, 0] = [1, 2, 3]
    fired[:, 0, 1], fired[:, 1, 1] = [3, 5, 7], [7, 5, 3]
    mean, correlation = mean_and_correlation(fired, np.array([0, 1]))
    np.testing.assert_allclose(mean, [[2, 5], [2, 5]])
    np.testing.assert_allclose(correlation, [1, 1, -1, 1, -1, -1])
    other = mean[:, ::-1], -correlation
    np.testing.assert_allclose(type_values((mean, correlation), other), [3 / 7, 2])
    twice = mean_and_correlation(fired, np.array([0, 1]), np.array([2, 0, 1]))[0]
    np.testing.assert_allclose(twice[0], [5 / 3, 13 / 3])
    assert layer_index(TOY).max() == 1
