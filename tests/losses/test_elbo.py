"""The divergence of the evidence lower bound, against its integral."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from kerasgen.losses.elbo import gaussian_kl


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_kl_is_that_of_two_normal_distributions(mean, log_variance):
    shape = (1, 1, 2, 1)
    kl = gaussian_kl(tf.fill(shape, mean), tf.fill(shape, log_variance))
    assert kl.shape == shape
    variance = math.exp(log_variance)
    # The integral of p log(p / q), by quadrature.
    x = mean + math.sqrt(variance) * np.linspace(-12, 12, 4001)
    p = np.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    ratio = -((x - mean) ** 2) / (2 * variance) - 0.5 * log_variance + x**2 / 2
    assert kl.numpy().ravel() == pytest.approx(np.trapezoid(p * ratio, x), rel=1e-4, abs=1e-5)
