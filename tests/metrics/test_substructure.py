"""N-subjettiness and D2: values by hand, symmetries, a plain loop, and FastJet with fjcontrib."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasgen.data.points import build_point_sets
from kerasgen.metrics.efp import pair_distances
from kerasgen.metrics.substructure import d2, fractions, n_subjettiness, substructure

Jets = tuple[np.ndarray, np.ndarray]


def jets(*constituents: list[list[float]], size: int = 8) -> Jets:
    """Padded jets from lists of (eta, phi, pT)."""
    points = np.zeros((len(constituents), size, 3))
    for row, jet in zip(points, constituents, strict=True):
        row[: len(jet)] = jet
    mask = np.arange(size) < np.array([len(jet) for jet in constituents])[:, None]
    return points, mask


def random_jets(seed: int, n: int = 20, size: int = 9) -> Jets:
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.normal(0, 0.3, (n, size, 2)), rng.gamma(0.5, 1, (n, size, 1))], -1)
    sets = build_point_sets(points, rng.integers(1, size + 1, n), np.zeros(n), np.zeros((n, 1)))
    return sets.points.astype(np.float64), sets.mask


def taus(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return n_subjettiness(fractions(points, mask), pair_distances(points), 3)


def d2_of(points: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return d2(fractions(points, mask), pair_distances(points))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1])


def plain_taus(jet: np.ndarray, most: int) -> list[float]:
    """tau_1 to tau_most of one jet, pair after pair."""
    clusters, taus = [row.copy() for row in jet], [0.0] * most
    while clusters:
        if len(clusters) <= most:
            taus[len(clusters) - 1] = sum(
                row[2] * min(distance(row, axis) for axis in clusters) for row in jet
            ) / sum(jet[:, 2])
        if len(clusters) == 1:
            break
        a, b = min(
            combinations(range(len(clusters)), 2),
            key=lambda k: min(clusters[k[0]][2], clusters[k[1]][2]) ** 2
            * distance(clusters[k[0]], clusters[k[1]]) ** 2,
        )  # fmt: skip
        soft, hard = sorted((clusters[a], clusters[b]), key=lambda row: row[2])
        hard[2] += soft[2]
        clusters = [row for row in clusters if row is not soft]
    return taus


def plain_d2(jet: np.ndarray) -> float:
    z = jet[:, 2] / jet[:, 2].sum()
    e2 = sum(z[i] * z[j] * distance(jet[i], jet[j]) for i, j in combinations(range(len(z)), 2))
    e3 = sum(
        z[i] * z[j] * z[k]
        * distance(jet[i], jet[j]) * distance(jet[i], jet[k]) * distance(jet[j], jet[k])
        for i, j, k in combinations(range(len(z)), 3)
    )  # fmt: skip
    return e3 / e2**3 if e2 else 0.0


@pytest.mark.parametrize("size", [4, 8])
def test_one_two_and_three_prongs_by_hand(size: int):
    one = [[0.1, 0.2, 0.7]]
    # The axis of one cluster is the harder prong; the softer one is at 0.5 from it.
    two = [[0, 0, 0.6], [0.3, 0.4, 0.4]]
    # The pair at distance 0.3 with min(pT) 0.2 is merged first, then the one at distance 0.4.
    three = [[0, 0, 0.5], [0.4, 0, 0.3], [0.4, 0.3, 0.2]]
    found = taus(*jets(one, two, three, size=size))
    last = [0.3 * 0.4 + 0.2 * 0.5, 0.2 * 0.3, 0]
    np.testing.assert_allclose(found, [[0, 0, 0], [0.4 * 0.5, 0, 0], last], atol=1e-15)
    ratios = substructure(*jets(one, two, three, size=size))
    np.testing.assert_allclose(ratios["tau21"], [0, 0, 0.06 / 0.22], atol=1e-15)
    np.testing.assert_array_equal(ratios["tau32"], 0)
    e2 = 0.5 * 0.3 * 0.4 + 0.5 * 0.2 * 0.5 + 0.3 * 0.2 * 0.3
    e3 = 0.5 * 0.3 * 0.2 * 0.4 * 0.5 * 0.3
    np.testing.assert_allclose(ratios["d2"], [0, 0, e3 / e2**3])


def test_a_pair_keeps_the_direction_of_its_harder_member():
    # The soft pair at phi = 0.5 has the pT of both: 0.45 > 0.4, so its harder member is the axis.
    jet = [[0, 0, 0.4], [0, 0.5, 0.25], [0, 0.6, 0.2], [0.01, 0, 0.15]]
    found = taus(*jets(jet))[0]
    assert found[2] == pytest.approx(0.15 * 0.01)
    assert found[1] == pytest.approx(0.15 * 0.01 + 0.2 * 0.1)
    # 0.55 at (0, 0) against 0.45.
    assert found[0] == pytest.approx(0.15 * 0.01 + 0.25 * 0.5 + 0.2 * 0.6)


def test_prongs_are_counted():
    """Sprays of 1, 2 and 3 prongs: tau21 is low from 2 prongs on, tau32 at 3, D2 at 2."""
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [0.6, 0], [0, 0.6]])
    found = []
    for prongs in (1, 2, 3):
        points = rng.normal(0, 0.02, (50, 12, 3))
        points[..., :2] += centres[np.arange(12) % prongs]
        points[..., 2] = 1 / 12
        found.append(substructure(points, np.ones((50, 12), bool)))
    one, two, three = found
    assert two["tau21"].max() < 0.25 < one["tau21"].min()
    assert three["tau32"].max() < 0.25 < two["tau32"].min()
    assert two["d2"].max() < 0.5 * three["d2"].min()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_plain_loop(seed: int):
    points, mask = random_jets(seed)
    expected = [plain_taus(jet[known], 3) for jet, known in zip(points, mask, strict=True)]
    np.testing.assert_allclose(taus(points, mask), expected, atol=1e-13)
    expected_d2 = [plain_d2(jet[known]) for jet, known in zip(points, mask, strict=True)]
    np.testing.assert_allclose(d2_of(points, mask), expected_d2, rtol=1e-9, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), angle=st.floats(-3, 3), scale=st.floats(1e-3, 1e3))
def test_symmetries(seed: int, angle: float, scale: float):
    """Rotation, shift, order, unit of pT and padding change nothing; angles only scale tau."""
    points, mask = random_jets(seed)
    rng = np.random.default_rng(seed)
    turn = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    moved = np.concatenate([points[..., :2] @ turn + 0.1, scale * points[..., 2:]], axis=-1)
    order = rng.permutation(points.shape[1])
    moved, other = (
        np.pad(moved[:, order], ((0, 0), (3, 2), (0, 0))),
        np.pad(mask[:, order], ((0, 0), (3, 2))),
    )
    tau, same = taus(points, mask), taus(moved, other)
    np.testing.assert_allclose(same, tau, atol=1e-12)
    np.testing.assert_allclose(d2_of(moved, other), d2_of(points, mask), rtol=1e-7, atol=1e-9)
    wide = points * np.array([3, 3, 1])
    np.testing.assert_allclose(taus(wide, mask), 3 * tau, atol=1e-12)
    np.testing.assert_allclose(d2_of(wide, mask), d2_of(points, mask), rtol=1e-7, atol=1e-9)


def test_jets_without_structure_are_zero():
    """No pT, one place, one constituent: no ratio is undefined."""
    for jet in ([[0.1, 0.2, 0.0], [0.3, 0.1, 0.0]], [[0.1, 0.2, 0.5]] * 4, [[0.1, 0.2, 0.5]]):
        for name, values in substructure(*jets(jet)).items():
            assert values.tolist() == [0], name


def test_fastjet_agrees():
    """tau from the axes of FastJet's exclusive jets, D2 from fjcontrib's EnergyCorrelatorD2."""
    import awkward as ak
    import fastjet
    import vector

    vector.register_awkward()
    points, mask = random_jets(3, n=40, size=30)
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, 1000.0, fastjet.WTA_pt_scheme)
    tau = taus(points, mask)
    momenta = []
    for row, jet in enumerate(points[k][mask[k]] for k in range(len(points))):
        eta, phi, pt = jet.T
        px, py, pz, e = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)
        momenta.append(ak.zip({"px": px, "py": py, "pz": pz, "E": e}, with_name="Momentum4D"))
        particles = [fastjet.PseudoJet(*map(float, p)) for p in zip(px, py, pz, e, strict=True)]
        cluster = fastjet.ClusterSequence(particles, definition)
        for number in range(1, min(3, len(jet)) + 1):
            axes = [[axis.eta(), axis.phi_std()] for axis in cluster.exclusive_jets(number)]
            nearest = np.min([np.hypot(*(jet[:, :2] - axis).T) for axis in axes], axis=0)
            assert tau[row, number - 1] == pytest.approx((pt * nearest).sum() / pt.sum(), abs=1e-9)
    several = mask.sum(axis=1) > 3
    chosen = ak.Array([m for m, known in zip(momenta, several, strict=True) if known])
    clusters = fastjet.ClusterSequence(chosen, definition)
    theirs = clusters.exclusive_jets_energy_correlator(njets=1, func="d2")
    np.testing.assert_allclose(d2_of(points, mask)[several], np.ravel(theirs), rtol=1e-5)
