import json
from dataclasses import replace

import numpy as np
import pytest
from toy_events import TOY, toy_events

from kerasgen.errors import InputError
from kerasgen.metrics.compare import compare, metrics_document
from kerasgen.metrics.pixel import METRICS
from kerasgen.metrics.summary import Summary, join_summaries, summarise


def sample(n: int, seed: int) -> Summary:
    return summarise(toy_events(n, seed), TOY)


def test_real_against_real_is_within_the_floor() -> None:
    """Sixty independent pairs of samples, of equal and of different sizes."""
    outside = dict.fromkeys(METRICS, 0)
    for trial in range(60):
        n_reference, n_candidate = ((40, 40), (60, 12), (16, 60))[trial % 3]
        found = compare(sample(n_reference, 2 * trial), sample(n_candidate, 2 * trial + 1), trial)
        for name in found["outside"]:
            outside[name] += 1
    assert max(outside.values()) <= 3, outside
    assert sum(outside.values()) <= 0.01 * 60 * len(METRICS), outside


@pytest.mark.parametrize("sizes", [(80, 80), (160, 20), (24, 120)])
def test_the_floor_is_what_independent_real_samples_reach(sizes: tuple[int, int]) -> None:
    """Mean of the value over fresh pairs, against the mean floor, for each metric."""
    found = [
        compare(sample(sizes[0], 1000 + 2 * i), sample(sizes[1], 1001 + 2 * i), i)["metrics"]
        for i in range(12)
    ]
    for name in METRICS:
        values = np.array([m[name]["value"] for m in found])
        floor = np.mean([m[name]["floor"] for m in found])
        uncertainty = values.std(ddof=1) / np.sqrt(len(values))
        assert values.mean() <= 1.3 * floor + 4 * uncertainty, name
        assert values.mean() >= 0.4 * floor - 4 * uncertainty, name


def test_differences_are_outside_and_the_rest_is_not() -> None:
    hits = toy_events(60, seed=7)
    shifted = summarise(replace(hits, adu=hits.adu + 1), TOY)
    found = compare(sample(200, 8), shifted, seed=0)
    assert {"adu_w1", "adu_mean"} <= set(found["outside"])
    assert not {"occupancy_w1", "occupancy_mean", "cluster_size", "refired"} & set(found["outside"])
    assert found["verdict"] == "outside floor"
    entry = found["metrics"]["adu_w1"]
    assert entry["value"] == pytest.approx(1, abs=5 * entry["error"] + entry["floor"])
    assert entry["unit"] == "ADU"
    assert entry["n"] == 60
    adu = found["quantities"]["adu_mean"]
    assert adu["candidate"] - adu["reference"] == pytest.approx(1, abs=0.5)


def test_the_error_is_the_standard_deviation_of_repeated_samples() -> None:
    reference = sample(150, 1)
    found = [compare(reference, sample(50, 100 + i), i)["metrics"] for i in range(12)]
    shift = [f["occupancy_mean"]["value"] for f in found]
    error = np.mean([f["occupancy_mean"]["error"] for f in found])
    assert 0.3 < error / np.std(shift, ddof=1) < 3


def test_the_same_seed_gives_the_same_numbers() -> None:
    a, b = sample(12, 1), sample(12, 2)
    assert compare(a, b, 3) == compare(a, b, 3)
    assert compare(a, b, 3) != compare(a, b, 4)


def test_an_empty_candidate_is_outside_and_writes_valid_json() -> None:
    hits = toy_events(8, seed=1)
    empty = replace(
        hits,
        indptr=np.zeros_like(hits.indptr),
        **{k: getattr(hits, k)[:0] for k in ("row", "col", "adu", "type")},
    )
    found = compare(summarise(hits, TOY), summarise(empty, TOY), seed=0)
    assert found["metrics"]["adu_w1"]["value"] is None
    assert found["metrics"]["adu_w1"]["within"] is False
    document = metrics_document(found, {"steps": 3}, {"a.h5": "00"})
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert {"metrics", "verdict", "outside", "config", "data", "versions"} <= document.keys()
    # without hits in the reference the charge has no floor
    found = compare(summarise(empty, TOY), summarise(empty, TOY), seed=0)
    assert found["metrics"]["adu_w1"]["within"] is None


def test_too_few_events_and_other_geometries_are_refused() -> None:
    with pytest.raises(InputError, match="candidate has 3 events; at least 4"):
        compare(sample(8, 1), sample(3, 2), 0)
    with pytest.raises(InputError, match="reference has 3 events; at least 4"):
        compare(sample(3, 1), sample(8, 2), 0)
    other = replace(sample(8, 1), geometry=replace(TOY, threshold=8))
    with pytest.raises(InputError, match=r"8\.\.255 ADU"):
        compare(sample(8, 1), other, 0)


def test_joined_parts_compare_as_the_whole() -> None:
    hits = toy_events(32, seed=3)
    parts = join_summaries(summarise(hits.take(np.arange(a, a + 96)), TOY) for a in (0, 96))
    reference = sample(40, 4)
    assert compare(reference, parts, 0) == compare(reference, summarise(hits, TOY), 0)
