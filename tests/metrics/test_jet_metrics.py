"""EFPs and distances of point sets against energyflow, jetnet and values by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from kerasgen.data.points import PointSets, build_point_sets
from kerasgen.metrics import efp
from kerasgen.metrics.distance import (
    chamfer_distance,
    coverage_and_matching,
    coverage_and_matching_of,
    energy_movers_distance,
    frechet_distance,
    intercept_at_zero,
    kernel_distance,
    moments,
    normalised,
    physics_frechet_distance,
    physics_kernel_distance,
)
from kerasgen.metrics.point_sets import (
    Metric,
    compare_sets,
    coverage,
    jet_metrics,
    jet_sample,
    superpixel_metrics,
    w1_of_points,
)

GOLDEN = np.load(Path(__file__).resolve().parents[1] / "golden" / "jetnet_metrics.npz")
YES = np.ones(2, bool)


def golden_sample(name: str) -> tuple[np.ndarray, np.ndarray]:
    points = GOLDEN[name]
    return points, np.linalg.norm(points, axis=2) > 0


def test_numbers_of_graphs():
    # Connected multigraphs with 0 to 4 edges (arXiv:1712.07124, table 2), 36 with their products.
    assert [len(efp.connected_graphs(k)) for k in range(5)] == [1, 1, 2, 5, 12]
    assert len(efp.efp_basis()[1]) == 36
    assert len(efp.w1_graphs()) == 5


def test_efp_of_two_particles_by_hand():
    # pT 2 and 3 at distance 0.5: the dot is 5, one edge 2 * 2 * 3 * 0.5, two edges 12 * 0.25.
    points = np.array([[[0.3, 0, 2], [0, 0.4, 3]]])
    graphs = ((), ((0, 1),), ((0, 1), (0, 1)))
    np.testing.assert_allclose(efp.efps(points, YES[None], graphs), [[5, 6, 3]])


def test_efps_agree_with_energyflow():
    """One by one; the two bases are in different orders, which are matched by the first jets."""
    for side, name in enumerate(("real", "other")):
        ours, theirs = efp.efp_features(*golden_sample(name)), GOLDEN["efps"][side]
        ours, theirs = (x[:, np.lexsort(x[1::-1].round(12))] for x in (ours, theirs))
        np.testing.assert_allclose(ours, theirs, rtol=2e-6)


def test_w1_agrees_with_jetnet():
    samples = [golden_sample(name) for name in ("real", "other")]
    real, other = ({"points": points, "mask": mask} for points, mask in samples)
    found = w1_of_points(real, other, np.random.default_rng(0))[0]
    assert found == pytest.approx(GOLDEN["w1p"].mean(), rel=1e-6)
    a, b = (efp.efps(*sample, efp.w1_graphs()).T for sample in samples)
    ours = sorted(wasserstein_distance(x, y) for x, y in zip(a, b, strict=True))
    np.testing.assert_allclose(ours, np.sort(GOLDEN["w1efp"]), rtol=1e-6)


def test_frechet_and_kernel_agree_with_jetnet():
    scaled = normalised(*GOLDEN["efps"])
    ours = frechet_distance(*(moments(x) for x in scaled))
    assert ours == pytest.approx(float(GOLDEN["frechet"]), rel=1e-4)
    assert kernel_distance(*scaled) == pytest.approx(float(GOLDEN["kernel"]), rel=1e-9)


def test_fpd_and_kpd_agree_with_jetnet():
    """Both draw their batches at random: agreement within the errors that they state."""
    many = [np.repeat(x, 130, axis=0) for x in GOLDEN["efps"]]
    rng = np.random.default_rng(1)
    value, error = physics_frechet_distance(*many, rng)
    theirs, their_error = GOLDEN["fpd"]
    assert abs(value - theirs) < 4 * np.hypot(error, their_error)
    few = [np.repeat(x, 25, axis=0) for x in GOLDEN["efps"]]
    value, error = physics_kernel_distance(*few, rng)
    theirs, their_error = GOLDEN["kpd"]
    assert abs(value - theirs) < 3 * np.hypot(error, their_error)


@pytest.mark.parametrize("scale", [1e-40, 1e-6, 1.0, 1e6, 1e40])
def test_the_line_is_found_on_any_scale(scale: float):
    x = np.linspace(0.4, 1, 10)
    noise = np.random.default_rng(0).normal(0, 0.01, 10)
    design = np.stack([np.ones(10), x], 1)
    (expected, _), (residual,), *_ = np.linalg.lstsq(design, 2 + 3 * x + noise)
    error = np.sqrt(residual / 8 * np.linalg.inv(design.T @ design)[0, 0])
    found = intercept_at_zero(x, scale * (2 + 3 * x + noise))
    assert found == pytest.approx((scale * expected, scale * error), rel=1e-9)


def test_a_line_that_falls_or_starts_below_zero_is_bounded():
    x = np.linspace(0.4, 1, 10)
    assert intercept_at_zero(x, 3 - x)[0] == pytest.approx(2.3)  # their mean
    assert intercept_at_zero(x, x - 0.1)[0] == 0
    assert intercept_at_zero(x, np.zeros(10)) == (0, 0)
    assert np.isnan(intercept_at_zero(x, np.full(10, np.inf))[0])


@pytest.mark.parametrize("scale", [10.0, 1e3, 1e6, 1e20])
def test_fpd_of_samples_far_apart_is_their_distance(scale: float):
    rng = np.random.default_rng(0)
    real, other = rng.lognormal(0, 1, (2, 400, 5))
    value, error = physics_frechet_distance(real, scale * other, rng)
    plain = frechet_distance(*(moments(x) for x in normalised(real, scale * other)))
    assert value == pytest.approx(plain, rel=0.1)
    assert 0 < error < 0.1 * value


@pytest.mark.parametrize("scale", [10.0, 1e6, 1e60, 1e160])
def test_a_diverged_sample_is_never_within(scale: float):
    """Of EFPs that reach 1e60 the kernel distance has the error 1e240, of more it is infinite."""
    rng = np.random.default_rng(0)
    columns = {"points": np.zeros((400, 1, 3)), "count": np.ones(400)}
    real, other = ({"efp": x, **columns} for x in rng.lognormal(0, 1, (2, 400, 5)))
    chosen = {name: jet_metrics(2, 2)[name] for name in ("fpd", "kpd")}
    same = compare_sets(real, other, chosen)
    assert same["outside"] == []
    other["efp"] = scale * other["efp"] * np.exp(rng.normal(0, 2, (400, 1)))
    found = compare_sets(real, other, chosen)
    assert found["outside"] == ["fpd", "kpd"]
    assert found["verdict"] == "outside floor"


def test_frechet_by_hand():
    # One dimension: (m1 - m2)^2 + (s1 - s2)^2.
    a = np.array([1.0]), np.array([[4.0]])
    b = np.array([3.0]), np.array([[25.0]])
    assert frechet_distance(a, b) == pytest.approx(4 + 9)


def test_energy_movers_distance_agrees_with_energyflow():
    (a, m), (b, n) = golden_sample("real"), golden_sample("other")
    rows = range(12)
    table = [[energy_movers_distance(b[j], n[j], a[i], m[i]) for i in rows] for j in rows]
    np.testing.assert_allclose(table, GOLDEN["emd"][:12, :12], atol=1e-9)


def test_energy_movers_distance_by_hand():
    a = np.array([[0, 0, 0.5], [0.2, 0, 0.5]])
    b = np.array([[0, 0.1, 0.7], [0, 0, 0]])
    # 0.5 moves by 0.1; 0.2 of the other moves by sqrt(0.05); 0.3 is created at distance 1.
    expected = 0.5 * 0.1 + 0.2 * np.sqrt(0.05) + 0.3
    found = energy_movers_distance(a, YES, b, np.array([True, False]))
    assert found == pytest.approx(expected)


def test_coverage_of_a_collapsed_sample():
    points = np.random.default_rng(0).normal(0, 1, (50, 4, 3))
    mask = np.ones((50, 4), bool)

    def found(generated: np.ndarray):
        rng = np.random.default_rng(1)
        pair = (points, mask), (generated, mask)
        return coverage_and_matching(*pair, chamfer_distance, rng, 20, 3)

    (collapsed, _), (far, _) = found(np.repeat(points[:1], 50, axis=0))
    (healthy, _), (near, _) = found(points + 1e-3)
    assert collapsed == pytest.approx(1 / 20)
    assert healthy > 0.35
    assert far > 1.2 * near


def toy_jets(n: int, width: float, seed: int) -> PointSets:
    rng = np.random.default_rng(seed)
    counts = rng.integers(3, 11, n)
    points = rng.normal(0, width, (n, 10, 3))
    points[..., 2] = np.sort(rng.dirichlet(np.ones(10), n))[:, ::-1]
    return build_point_sets(points, counts, np.zeros(n), np.zeros((n, 4)))


def test_same_distribution_is_within_and_another_is_not():
    chosen = {k: v for k, v in jet_metrics(100, 1).items() if k.startswith("w1")}
    real = jet_sample(toy_jets(600, 0.1, 1))
    same = compare_sets(real, jet_sample(toy_jets(600, 0.1, 2)), chosen)
    other = compare_sets(real, jet_sample(toy_jets(600, 0.13, 3)), chosen)
    assert same["outside"] == []
    assert {"w1m", "w1p", "w1efp"} <= set(other["outside"])
    # Wider jets of the same structure.
    assert not {"w1_tau21", "w1_tau32", "w1_d2"} & set(other["outside"])
    assert same["metrics"]["w1p"]["floor"] > 0


def test_another_structure_is_outside():
    chosen = {k: jet_metrics(100, 1)[k] for k in ("w1_tau21", "w1_tau32", "w1_d2")}
    sets = toy_jets(600, 0.1, 2)
    prongs = sets.points.copy()
    prongs[..., 0] += np.where(np.arange(10) % 2, 0.5, 0) * sets.mask
    other = jet_sample(replace(sets, points=prongs))
    found = compare_sets(jet_sample(toy_jets(600, 0.1, 1)), other, chosen)
    assert {"w1_tau21", "w1_d2"} <= set(found["outside"])
    means = found["quantities"]
    assert means["tau21"]["candidate"] < 0.7 * means["tau21"]["reference"]


def test_coverage_and_matching_of_a_table_are_those_of_jetnet():
    expected = float(GOLDEN["coverage"]), float(GOLDEN["matching"])
    assert coverage_and_matching_of(GOLDEN["emd"]) == pytest.approx(expected)
    assert coverage_and_matching_of(GOLDEN["emd"].T)[0] != pytest.approx(expected[0])


def test_coverage_and_matching_are_computed_together():
    calls = 0

    def distance(*sets: np.ndarray) -> float:
        nonlocal calls
        calls += 1
        return chamfer_distance(*sets)

    values = coverage(distance, 10, 2)
    metrics = {name: Metric("", value) for name, value in zip(("a", "b"), values, strict=True)}
    compare_sets(jet_sample(toy_jets(60, 0.1, 1)), jet_sample(toy_jets(60, 0.1, 2)), metrics)
    assert calls == 2 * 2 * 10 * 10  # of the samples and of the halves, two batches each


def test_direction_of_coverage():
    """Only a coverage below that of real sets is outside the floor."""
    real = jet_sample(toy_jets(300, 0.1, 1))
    cov = {"cov": superpixel_metrics(100, 2)["cov"]}
    found = compare_sets(real, jet_sample(toy_jets(300, 0.1, 2)), cov)["metrics"]["cov"]
    assert 0.3 < found["value"] < 1
    assert found["within"]
    one = toy_jets(300, 0.1, 2).take(np.zeros(300, int))
    found = compare_sets(real, jet_sample(one), cov)["metrics"]["cov"]
    assert found["value"] == pytest.approx(0.01)
    assert found["within"] is False


def test_frechet_floor_is_that_of_the_sizes_compared():
    """Equal distributions of unequal size: the floor of halves is scaled to them."""
    rng = np.random.default_rng(0)
    features = [rng.normal(0, 1, (n, 20)) for n in (400, 4000)]
    real, other = ({"points": x, "count": x[:, 0], "features": x} for x in features)
    metric = {"frechet": superpixel_metrics(100, 2)["frechet"]}
    found = compare_sets(real, other, metric)["metrics"]["frechet"]
    halves = np.mean([
        frechet_distance(moments(x[:200]), moments(x[200:]))
        for x in (rng.permutation(features[0]) for _ in range(5))
    ])  # fmt: skip
    assert found["floor"] == pytest.approx(halves * (1 / 400 + 1 / 4000) / (2 / 200), rel=0.15)
    assert found["value"] == pytest.approx(found["floor"], rel=0.35)


def test_one_class_is_not_judged_by_a_classifier():
    assert {"misclassified", "frechet"} & set(superpixel_metrics(100, 2)) != set()
    assert set(superpixel_metrics(100, 2, judged=False)) == {"w1p", "w1_total", "cov", "mmd"}
