"""W1 from batches with replacement, against the loop of the JetNet library with scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from point_sets import toy_jets
from scipy.stats import wasserstein_distance

from kerasgen.metrics import jetnet_w1
from kerasgen.metrics.jetnet_w1 import SortedValues
from kerasgen.metrics.point_sets import compare_sets, jet_metrics, jet_sample


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), whole=st.booleans())
def test_weights_are_repeated_jets(seed: int, whole: bool):
    rng = np.random.default_rng(seed)
    jet = np.repeat(np.arange(12), rng.integers(1, 5, 12))
    values = rng.integers(0, 5, len(jet)) if whole else rng.normal(0, 1, len(jet))
    a, b = np.bincount(rng.integers(12, size=(2, 9))[0], minlength=12), rng.integers(1, 3, 12)
    expected = wasserstein_distance(np.repeat(values, a[jet]), np.repeat(values, b[jet]))
    assert SortedValues(values, jet).w1(a, b) == pytest.approx(expected, abs=1e-12)


def library(real: dict, other: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """[batches] of W1M, W1P and W1EFP: jets drawn as ``jetnet.evaluation`` draws them."""
    found: dict[str, list[float]] = {"w1m": [], "w1p": [], "w1efp": []}
    for _ in range(40):
        rows = [rng.choice(len(x["mass"]), size=2000) for x in (real, other)]
        drawn = [{k: v[r] for k, v in x.items()} for x, r in zip((real, other), rows, strict=True)]
        points = [x["points"][x["mask"]] for x in drawn]
        found["w1m"].append(wasserstein_distance(*(x["mass"] for x in drawn)))
        for name, pair in (("w1p", points), ("w1efp", [x["w1efp"] for x in drawn])):
            columns = zip(*(x.T for x in pair), strict=True)
            found[name].append(np.mean([wasserstein_distance(*c) for c in columns]))
    return {name: np.array(values) for name, values in found.items()}


def test_the_library_finds_the_same(monkeypatch: pytest.MonkeyPatch):
    """Mean and spread of batches agree within their statistical errors."""
    monkeypatch.setattr(jetnet_w1, "BATCH", 2000)
    monkeypatch.setattr(jetnet_w1, "BATCHES", 40)
    real, other = (jet_sample(toy_jets(n, seed=n)) for n in (700, 500))
    ours = jetnet_w1.jetnet_w1(real, other)
    theirs = library(real, other, np.random.default_rng(5))
    for name, values in theirs.items():
        error = values.std() / np.sqrt(20)  # of the difference of two means of 40
        assert ours[name]["value"] == pytest.approx(values.mean(), abs=4 * error)
        assert ours[name]["error"] == pytest.approx(values.std(), rel=0.5)


def test_the_floor_is_reached_by_other_real_jets(monkeypatch: pytest.MonkeyPatch):
    """Against more jets of the same distribution; drawing with replacement raises both forms."""
    monkeypatch.setattr(jetnet_w1, "BATCH", 1000)
    monkeypatch.setattr(jetnet_w1, "BATCHES", 30)
    real, other = (jet_sample(toy_jets(n, seed=n)) for n in (3000, 6000))
    found = jetnet_w1.jetnet_w1(real, other)
    once = compare_sets(real, other, {"w1m": jet_metrics(2, 2)["w1m"]})["metrics"]
    for name, metric in found.items():
        assert metric["value"] == pytest.approx(metric["floor"], rel=0.35), name
    assert found["w1m"]["floor"] > 1.3 * once["w1m"]["floor"]


def test_batches_are_those_of_the_seed():
    real, other = (jet_sample(toy_jets(200, seed=seed)) for seed in (1, 2))
    first = jetnet_w1.jetnet_w1(real, other, 3)
    assert first == jetnet_w1.jetnet_w1(real, other, 3)
    assert first["w1m"]["value"] != jetnet_w1.jetnet_w1(real, other, 4)["w1m"]["value"]
