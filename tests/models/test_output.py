"""The gated output: exactly empty pixels that still learn, and the charge scale."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, truncnorm

from kerasgen.data.pipeline import to_log_scale
from kerasgen.models.pxd_gan.output import (
    EMPTY_PIXEL,
    THRESHOLD_MARGIN,
    charge_from_logit,
    charge_threshold,
    fraction_above,
    logit_from_charge,
    sample_truncated_mixture,
    straight_through_gate,
    to_adu,
)

LOGITS = st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=1, max_size=50)


@given(LOGITS)
def test_gate_is_exactly_zero_or_one(logits: list[float]):
    s = tf.constant(logits, tf.float32)
    np.testing.assert_array_equal(straight_through_gate(s), s.numpy() > 0)


@given(LOGITS)
def test_empty_pixels_are_exactly_empty(logits: list[float]):
    s = tf.constant(logits, tf.float32)
    image = EMPTY_PIXEL + straight_through_gate(s) * (charge_from_logit(s, -0.5) - EMPTY_PIXEL)
    assert (image.numpy()[s.numpy() <= 0] == -1.0).all()
    assert (image.numpy()[s.numpy() > 0] > -0.5).all()


def test_gate_has_the_gradient_of_the_surrogate():
    s = tf.constant([-9.0, -1.0, 0.0, 0.5, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(s)
        total = tf.reduce_sum(straight_through_gate(s))
    # 1 / (1 + |s| / w)^2, w = 0.15 below and 1 above
    expected = [1 / 61**2, 1 / (1 + 1 / 0.15) ** 2, 1.0, 1 / 2.25, 1 / 16]
    np.testing.assert_allclose(tape.gradient(total, s), expected, rtol=1e-5)


def test_charge_of_a_fired_pixel():
    x = tf.constant([-100.0, 0.0, 100.0])
    np.testing.assert_allclose(charge_from_logit(x, -0.5), [-0.5, 0.25, 1.0], atol=1e-6)
    x = tf.constant([-3.0, 0.0, 2.0])
    np.testing.assert_allclose(logit_from_charge(charge_from_logit(x, -0.5), -0.5), x, atol=1e-5)
    assert np.all(
        np.isfinite(logit_from_charge(tf.constant([-1.0, 1.0]), -0.5))
    )  # empty, saturated


def one_component(mean: float, std: float, n: int = 1) -> list[tf.Tensor]:
    """Mixtures of one component."""
    return [tf.fill([n, 1], value) for value in (0.0, mean, std)]


@given(st.floats(0.05, 0.95), st.integers(0, 2))
def test_components_are_sampled_by_their_weights(first, seed):
    numbers = tf.constant(np.random.default_rng(seed).normal(size=4000), tf.float32)
    rest = 1 - first
    log_weight = tf.math.log(tf.tile([[first, 0.25 * rest, 0.75 * rest]], [4000, 1]))
    mean, std = tf.tile([[-0.5, 2.0, 10.0]], [4000, 1]), tf.fill([4000, 3], 0.3)
    x = np.sort(sample_truncated_mixture([log_weight, mean, std], -1.0, numbers))
    points = np.linspace(-1, 12, 60)
    components = [truncnorm.cdf(points, (-1 - m) / 0.3, np.inf, m, 0.3) for m in mean[0]]
    expected = np.exp(log_weight[0]) @ np.array(components)
    assert np.abs(np.searchsorted(x, points) / 4000 - expected).max() < 0.03


@given(st.floats(-3, 3), st.floats(0.05, 1))
def test_sampled_charges_are_above_the_threshold(mean, std):
    rng = np.random.default_rng(0)
    numbers = tf.constant(rng.normal(size=4000), tf.float32)
    x = (
        sample_truncated_mixture(one_component(mean, std, 4000), -1.0, numbers)
        .numpy()
        .astype(np.float64)
    )
    assert x.min() >= -1
    distance = min((-1 - mean) / std, 5)
    # As of a normal distribution that is at most five standard deviations distance.
    points = np.linspace(distance, distance + 6, 50)
    found = np.searchsorted(np.sort((x - mean) / std), points) / 4000
    if distance < 5:
        assert np.abs(found - truncnorm.cdf(points, distance, np.inf)).max() < 0.03
    above = float(fraction_above(tf.constant(mean), tf.constant(std), -1.0))
    assert above == pytest.approx(norm.sf(distance), rel=1e-3)


@pytest.mark.parametrize(("threshold", "highest"), [(7, 255), (5, 255), (3, 1023), (1, 255)])
def test_the_lowest_charge_is_read_out(threshold, highest):
    threshold_charge, floor = charge_threshold(threshold, highest), -0.9
    lowest = float(logit_from_charge(np.float32(threshold_charge), floor)) + THRESHOLD_MARGIN
    x = sample_truncated_mixture(one_component(-50.0, 0.1), lowest, tf.constant([0.0]))
    charge = charge_from_logit(x, floor)
    assert float(charge[0]) > threshold_charge
    assert round(float(to_adu(charge, highest)[0])) == threshold


@pytest.mark.parametrize("log_weight", [[-1e-3, -7.0, -8.0], [-0.7, -0.7, -120.0]])
def test_a_sampled_charge_has_a_finite_gradient(log_weight):
    mean = tf.constant([[-50.0, 3.0, 1.0], [0.0, 3.0, 1.0], [50.0, 3.0, 1.0]] * 2)
    weight, std = tf.tile(tf.constant([log_weight]), [6, 1]), tf.fill([6, 3], 0.1)
    numbers = tf.constant([9.0] * 3 + [-9.0] * 3)
    with tf.GradientTape() as tape:
        tape.watch([mean, std])
        x = sample_truncated_mixture([weight, mean, std], -1.0, numbers)
    gradients = tape.gradient(x, [mean, std])
    assert all(np.all(np.isfinite(tf.convert_to_tensor(g))) for g in gradients)


@pytest.mark.parametrize("number", [-6.0, -5.0, 0.0, 5.0, 6.0])
def test_no_charge_is_beyond_the_quantile_of_its_number(number):
    log_weight = tf.math.log([[0.01, 0.04, 0.95]])
    mixture = [log_weight, tf.zeros([1, 3]), tf.ones([1, 3])]
    x = sample_truncated_mixture(mixture, -10.0, tf.constant([number]))
    assert abs(float(x[0])) < 5.5
    x = sample_truncated_mixture(one_component(0.0, 1.0), -10.0, tf.constant([number]))
    assert float(x[0]) == pytest.approx(np.clip(number, -4.8, 5.2), abs=0.1)


def test_charge_threshold_is_half_an_adu_below_the_threshold():
    # log(7.5) / log(256) * 2 - 1; 7 ADU itself is -0.25
    assert charge_threshold(7, 255) == pytest.approx(-0.2733, abs=5e-5)
    assert charge_threshold(7, 255) == pytest.approx(to_log_scale(np.array(6.5), 255))
    assert to_log_scale(np.array(7), 255) == pytest.approx(-0.25)


@pytest.mark.parametrize("top", [1, 255, 3422, 65535])
def test_charge_scale_round_trip(top: int):
    adu = np.arange(top + 1)
    charge = to_log_scale(adu, top)
    assert (charge[0], charge[-1]) == (-1.0, 1.0)
    back = to_adu(charge.astype("float32"), top)
    np.testing.assert_array_equal(np.rint(back), adu)
