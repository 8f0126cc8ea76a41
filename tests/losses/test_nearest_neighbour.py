"""Both Chamfer losses: by hand, against golden values, and invariances."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasgen.losses.nearest_neighbour import MATCHED, nearest_neighbour_loss

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "nearest_neighbour.npz"
VARIANTS = sorted(MATCHED)


def loss(a, b, variant: str, a_mask=None, b_mask=None) -> float:
    a, b = np.array(a, np.float32), np.array(b, np.float32)
    masks = [
        np.ones(x.shape[:2], bool) if m is None else np.array(m)
        for x, m in ((a, a_mask), (b, b_mask))
    ]
    return float(nearest_neighbour_loss(a, masks[0], b, masks[1], variant))


# Targets (0, 0, 1) and (1, 0, 3); outputs (0, 0, 3) and (0, 2, 1).
TARGET, OUTPUT = [[[0, 0, 1], [1, 0, 3]]], [[[0, 0, 3], [0, 2, 1]]]


def test_joint_by_hand():
    # Squared distances: (0,0,1)-(0,0,3) 4, -(0,2,1) 4; (1,0,3)-(0,0,3) 1, -(0,2,1) 9.
    # There: 4 + 1. Back: (0,0,3) is nearest to (1,0,3), 1; (0,2,1) to (0,0,1), 4.
    assert loss(TARGET, OUTPUT, "joint") == pytest.approx(10.0)


def test_position_first_by_hand():
    # Positions: both targets are nearest to (0, 0), at 0 and 1; back: (0, 0) to (0, 0), 0, and
    # (0, 2) to (0, 0), 4. Intensities of these pairs: (1-3)^2, (3-3)^2; (3-1)^2, (1-1)^2.
    assert loss(TARGET, OUTPUT, "position_first") == pytest.approx(0 + 1 + 0 + 4 + 4 + 0 + 4 + 0)


def test_both_directions_count():
    # All outputs on one target: the other target, at distance 2, is missed.
    target, output = [[[0, 0, 0], [2, 0, 0]]], [[[0, 0, 0], [0, 0, 0]]]
    for variant in VARIANTS:
        assert loss(target, output, variant) == pytest.approx(4.0)
        assert loss(output, target, variant) == pytest.approx(4.0)


def test_golden():
    golden = np.load(GOLDEN)
    a, b = golden["points"]
    a_mask, b_mask = golden["mask"]
    for variant in VARIANTS:
        rows = [
            loss(a[i : i + 1], b[i : i + 1], variant, a_mask[i : i + 1], b_mask[i : i + 1])
            for i in range(len(a))
        ]
        np.testing.assert_allclose(rows, golden[variant], rtol=2e-6)
        total = nearest_neighbour_loss(a, a_mask, b, b_mask, variant)
        np.testing.assert_allclose(total, golden[variant].mean(), rtol=2e-6)


def test_padding_is_no_particle_at_zero():
    # The one target lies at (1, 1, 1); padding at zero is nearer to the output and must not count.
    target, output = [[[1, 1, 1], [0, 0, 0]]], [[[0.1, 0, 0], [0, 0, 0]]]
    first = [[True, False]]
    expected = 2 * (0.9**2 + 1 + 1)
    for variant in VARIANTS:
        assert loss(target, output, variant, first, first) == pytest.approx(expected)


def test_empty_sets_cost_nothing():
    none = [[False, False]]
    for variant in VARIANTS:
        assert loss(TARGET, OUTPUT, variant, none) == 0.0
        assert loss(TARGET, OUTPUT, variant, None, none) == 0.0


@st.composite
def two_sets(draw):
    """Two batches with padding; values on a grid, ties among them."""
    sizes = [draw(st.integers(1, 6)) for _ in range(2)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    points = [rng.integers(-8, 9, (2, n, 3)).astype(np.float32) / 4 for n in sizes]
    masks = [np.arange(n) < rng.integers(1, n + 1, (2, 1)) for n in sizes]
    return points, masks, rng


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=25)
@given(case=two_sets())
def test_symmetric_and_not_negative(variant: str, case):
    (a, b), (m, n), _ = case
    value = loss(a, b, variant, m, n)
    assert value >= 0.0
    assert loss(b, a, variant, n, m) == pytest.approx(value, rel=1e-6)
    assert loss(a, a, variant, m, m) == pytest.approx(0.0) or variant == "position_first"


@settings(max_examples=25)
@given(case=two_sets())
def test_order_does_not_matter(case):
    (a, b), (m, n), rng = case
    order = rng.permutation(b.shape[1])
    assert loss(a, b[:, order], "joint", m, n[:, order]) == pytest.approx(
        loss(a, b, "joint", m, n), rel=1e-6
    )


@settings(max_examples=25)
@given(case=two_sets())
def test_order_does_not_matter_without_ties(case):
    (a, b), (m, n), rng = case
    a, b = (x + rng.normal(0, 0.01, x.shape).astype(np.float32) for x in (a, b))
    order = rng.permutation(b.shape[1])
    value = loss(a, b, "position_first", m, n)
    moved = loss(a, b[:, order], "position_first", m, n[:, order])
    assert moved == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=25)
@given(case=two_sets(), extra=st.integers(1, 4))
def test_more_padding_does_not_matter(variant: str, case, extra: int):
    (a, b), (m, n), rng = case
    junk = rng.normal(0, 1, (2, extra, 3)).astype(np.float32)
    none = np.zeros((2, extra), bool)
    padded = loss(
        np.concatenate([a, junk], 1), np.concatenate([b, junk], 1), variant,
        np.concatenate([m, none], 1), np.concatenate([n, none], 1),
    )  # fmt: skip
    assert padded == pytest.approx(loss(a, b, variant, m, n), rel=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_is_that_of_the_formula(variant: str):
    golden = np.load(GOLDEN)
    a, b = (x.astype(np.float64) for x in golden["points"])
    m, n = golden["mask"]
    output = tf.Variable(b.astype(np.float32))
    with tf.GradientTape() as tape:
        value = nearest_neighbour_loss(a.astype(np.float32), m, tf.identity(output), n, variant)
    gradient = tape.gradient(value, output)
    gradient = tf.convert_to_tensor(gradient).numpy()
    assert not gradient[~n].any()
    rng, step = np.random.default_rng(3), 1e-3
    for _ in range(10):
        row, point, k = rng.integers(5), rng.integers(12), rng.integers(3)
        moved = [b.copy(), b.copy()]
        moved[0][row, point, k] += step
        moved[1][row, point, k] -= step
        high, low = (loss(a, x, variant, m, n) for x in moved)
        assert gradient[row, point, k] == pytest.approx((high - low) / (2 * step), abs=5e-3)


def test_gradient_is_finite_where_sets_agree():
    points = tf.Variable(np.load(GOLDEN)["points"][0])
    mask = np.load(GOLDEN)["mask"][0]
    for variant in VARIANTS:
        with tf.GradientTape() as tape:
            value = nearest_neighbour_loss(points.numpy(), mask, tf.identity(points), mask, variant)
        assert not tf.convert_to_tensor(tape.gradient(value, points)).numpy().any()


def test_bfloat16_input_is_computed_in_float32():
    golden = np.load(GOLDEN)
    a, b = (keras.ops.cast(x, "bfloat16") for x in golden["points"])
    m, n = golden["mask"]
    for variant in VARIANTS:
        value = nearest_neighbour_loss(a, m, b, n, variant)
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        exact = nearest_neighbour_loss(
            *(keras.ops.cast(a, "float32"), m, keras.ops.cast(b, "float32"), n), variant
        )
        assert float(value) == pytest.approx(float(exact), rel=1e-6)


def test_distances_far_from_the_origin_keep_their_digits():
    # |a|^2 + |b|^2 - 2 ab would give 0 or worse: 1000^2 has a spacing of 0.06 in float32.
    target, output = [[[1000, 1000, 1]]], [[[1000.01, 1000, 1]]]
    for variant in VARIANTS:
        assert loss(target, output, variant) == pytest.approx(2e-4, rel=2e-2)
