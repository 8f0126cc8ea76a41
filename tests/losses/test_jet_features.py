"""Jet features from constituents: by hand, against golden values, in every coordinate system."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kerasgen.data.jets import to_coordinates
from kerasgen.losses.jet_features import jet_feature_loss, jet_features

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "nearest_neighbour.npz"
YES = np.ones((1, 2), bool)


def test_two_particles_by_hand():
    # Two of pT 1 at phi = ±0.5: pT = 2 cos 0.5, m^2 = 2 pT1 pT2 (cosh 0 - cos 1), eta = 0.
    points = np.array([[[0, 0.5, 1], [0, -0.5, 1]]], np.float32)
    pt, mass, eta = jet_features(points, YES, "relative")
    assert float(pt[0]) == pytest.approx(2 * math.cos(0.5), rel=1e-6)
    assert float(mass[0]) == pytest.approx(math.sqrt(2 * (1 - math.cos(1))), rel=1e-6)
    assert float(eta[0]) == pytest.approx(0.0, abs=1e-7)


def test_one_particle_has_no_mass_and_a_finite_gradient():
    points = tf.Variable(np.array([[[0.3, 0.2, 0.9], [0, 0, 0.0]]], np.float32))
    mask = np.array([[True, False]])
    with tf.GradientTape() as tape:
        pt, mass, eta = jet_features(points, mask, "relative")
        total = tf.reduce_sum(pt + mass + eta)
    assert float(mass[0]) < 1e-3
    assert float(eta[0]) == pytest.approx(0.3, rel=1e-5)
    assert np.isfinite(tape.gradient(total, points).numpy()).all()


def test_golden_in_every_coordinate_system():
    golden = np.load(GOLDEN)
    axes = np.array([[1.0, 0.0]] * 5, np.float32)  # of pT 1 at eta 0: all systems agree
    for system in ("relative", "polar", "cartesian"):
        for side in (0, 1):
            mask = golden["mask"][side]
            points = to_coordinates(golden["points"][side], mask, axes, system)
            found = np.stack(jet_features(points.astype(np.float32), mask, system), -1)
            # A jet of one particle has mass 0, exactly in the golden values.
            np.testing.assert_allclose(found, golden["features"][:, side], rtol=2e-5, atol=2e-3)


def test_loss_weights():
    golden = np.load(GOLDEN)
    a, b = golden["points"]
    m, n = golden["mask"]
    square = ((golden["features"][:, 0] - golden["features"][:, 1]) ** 2).mean(axis=0)
    loss = jet_feature_loss(a, m, b, n, "relative", mass_weight=3.0, eta_weight=0.5)
    assert float(loss) == pytest.approx(square @ [1.0, 3.0, 0.5], rel=1e-3)
    assert float(jet_feature_loss(a, m, a, m)) == 0.0
