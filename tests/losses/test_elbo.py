"""Terms of the evidence lower bound of the cluster auto-encoder, computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import truncnorm

from kerasgen.losses.elbo import charge_nll, fired_nll, kl_divergence
from kerasgen.models.pxd_gan.output import fraction_above


def test_fired_likelihood_is_the_bernoulli_one():
    fired = tf.constant([1.0, 0.0, 1.0])
    logit = tf.constant([math.log(3.0), math.log(3.0), 0.0])  # probabilities 3/4, 3/4, 1/2
    expected = -math.log(3 / 4) - math.log(1 / 4) - math.log(1 / 2)
    assert float(fired_nll(fired, logit)) == pytest.approx(expected, rel=1e-6)


def test_confident_and_wrong_costs_its_logit_without_overflow():
    loss = fired_nll(tf.constant([0.0, 1.0]), tf.constant([500.0, -500.0]))
    assert float(loss) == pytest.approx(1000.0)


def test_charge_counts_in_fired_pixels_only_and_in_standard_deviations():
    charge, mean = tf.constant([0.2, -7.0]), tf.constant([[0.5], [0.9]])
    std = tf.constant([[0.1], [0.3]])
    above = tf.constant([[1.0], [0.2]])
    fired, alone = tf.constant([1.0, 0.0]), tf.zeros([2, 1])
    found = charge_nll(fired, charge, alone, mean, std, above)
    assert float(found) == pytest.approx(4.5 + math.log(0.1), rel=1e-5)


@given(
    st.floats(-0.9, 2),
    st.lists(st.tuples(st.floats(-3, 3), st.floats(0.6, 2)), min_size=1, max_size=3),
    st.floats(0.1, 0.9),
)
def test_charge_is_that_of_normal_distributions_above_the_threshold(charge, components, first):
    mean, std = np.array(components).T
    weight = np.array([first, *[1 - first] * (len(mean) - 1)])
    weight /= weight.sum()
    above = fraction_above(tf.constant(mean), tf.constant(std), -1.0)
    charge = tf.constant(charge, tf.float64)
    found = charge_nll(1.0, charge, np.log(weight), mean, std, above)
    density = weight @ truncnorm.pdf(charge, (-1 - mean) / std, np.inf, mean, std)
    expected = -math.log(density) - 0.5 * math.log(2 * math.pi)
    assert float(found) == pytest.approx(expected, abs=1e-3)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_kl_is_that_of_two_normal_distributions(mean, log_variance):
    present = tf.constant([[[[1.0], [0.0]]]])
    shape = (1, 1, 2, 1)
    kl = kl_divergence(present, tf.fill(shape, mean), tf.fill(shape, log_variance))
    variance = math.exp(log_variance)
    # The integral of p log(p / q), by quadrature.
    x = mean + math.sqrt(variance) * np.linspace(-12, 12, 4001)
    p = np.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    ratio = -((x - mean) ** 2) / (2 * variance) - 0.5 * log_variance + x**2 / 2
    assert float(kl) == pytest.approx(np.trapezoid(p * ratio, x), rel=1e-4, abs=1e-5)
