"""2C and margin loss on embeddings with known products."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasgen.losses.contrastive import (
    conditional_contrastive,
    margin_contrastive,
    margin_terms,
    normalise_rows,
)

X, Y = [1.0, 0.0], [0.0, 1.0]


def two_c(embedding, proxy, label, temperature: float = 1.0) -> float:
    embedding, proxy = tf.constant(embedding), tf.constant(proxy)
    return float(conditional_contrastive(embedding, proxy, tf.constant(label), temperature))


def margin(embedding, proxy, label, distance: float = 1.0) -> float:
    embedding, proxy = tf.constant(embedding), tf.constant(proxy)
    return float(margin_contrastive(embedding, proxy, tf.constant(label), distance))


def test_one_image_per_class():
    # No other image of the class: l = -log(e^1 / (e^1 + e^0)) = log(1 + e^-1) = 0.313262, twice
    assert two_c([X, Y], [X, Y], [0, 1]) == pytest.approx(0.313262, abs=1e-6)


def test_temperature():
    # log(1 + e^-2) at t = 0.5; log(1 + e^-0.5) at t = 2
    assert two_c([X, Y], [X, Y], [0, 1], 0.5) == pytest.approx(0.126928, abs=1e-6)
    assert two_c([X, Y], [X, Y], [0, 1], 2.0) == pytest.approx(0.474077, abs=1e-6)


def test_several_images_per_class():
    # Classes 0, 0, 1 with proxies x, x, y and embeddings x, y, -x:
    # l_1 = -log((e + 1) / (e + 1 + e^-1)) = 0.094344     (x x = 1; x y = 0; x (-x) = -1)
    # l_2 = -log((1 + 1) / (1 + 1 + 1))    = 0.405465     (y x = 0 for proxy and both others)
    # l_3 = -log(1 / (1 + e^-1 + 1))       = 0.861995     ((-x) y = 0; (-x) x = -1; (-x) y = 0)
    loss = two_c([X, Y, [-1.0, 0.0]], [X, X, Y], [0, 0, 1])
    assert loss == pytest.approx((0.094344 + 0.405465 + 0.861995) / 3, abs=1e-6)


def test_a_single_class_has_zero_loss():
    assert two_c([X, Y], [X, X], [3, 3]) == pytest.approx(0.0, abs=1e-6)


def test_a_single_image_has_zero_loss():
    assert two_c([X], [Y], [3]) == pytest.approx(0.0, abs=1e-6)


@st.composite
def batches(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, proxies, labels of 1 to 6 images; rows of one class have one proxy."""
    label = np.array(draw(st.lists(st.integers(0, 3), min_size=1, max_size=6)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    scale = 10.0 ** draw(st.integers(-15, 15))
    table = rng.normal(size=(4, 3)) * scale
    embedding = rng.normal(size=(len(label), 3)) * scale
    return embedding.astype("float32"), table[label].astype("float32"), label


@settings(max_examples=30)
@given(batches(), st.sampled_from([0.05, 0.5, 2.0]), st.randoms(use_true_random=False))
def test_properties(batch, temperature, random):
    """Losses are not negative, finite at every scale, and independent of the order of images."""
    embedding, proxy, label = batch
    order = list(range(len(label)))
    random.shuffle(order)
    for loss in (two_c, margin):
        value = loss(embedding, proxy, label, temperature)
        assert math.isfinite(value)
        assert value >= -1e-5
        moved = loss(embedding[order], proxy[order], label[order], temperature)
        assert moved == pytest.approx(value, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("loss", [conditional_contrastive, margin_contrastive])
@pytest.mark.parametrize("scale", [0.0, 1e-15, 1.0, 1e15])
def test_gradient_is_finite_at_every_size(loss, scale: float):
    rng = np.random.default_rng(0)
    embedding = tf.constant(rng.normal(size=(4, 3)) * scale, tf.float32)
    proxy = tf.constant(rng.normal(size=(4, 3)) * scale, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([embedding, proxy])
        value = loss(embedding, proxy, tf.constant([0, 0, 1, 2]))
    for gradient in tape.gradient(value, [embedding, proxy]):
        assert np.isfinite(gradient).all()
        assert scale != 1.0 or np.abs(gradient).max() > 1e-3


def test_value_does_not_depend_on_length_or_storage():
    rng = np.random.default_rng(1)
    e, c = rng.normal(size=(2, 5, 3)).astype("float32")
    label = [0, 1, 1, 2, 0]
    assert two_c(1000 * e, 0.01 * c, label) == pytest.approx(two_c(e, c, label), rel=1e-5)
    low = tf.cast(e, "bfloat16"), tf.cast(c, "bfloat16")
    value = conditional_contrastive(*low, tf.constant(label))
    assert value.dtype == tf.float32
    exact = two_c(*(tf.cast(x, "float32") for x in low), label)
    assert float(value) == pytest.approx(exact, rel=1e-6)


def test_normalised_rows_have_unit_length():
    np.testing.assert_allclose(normalise_rows(tf.constant([[3.0, 4.0]])), [[0.6, 0.8]], rtol=1e-6)


def test_margin_form_of_separated_classes():
    # Every image lies on its proxy; the other proxy is sqrt(2) away.
    assert margin([X, Y], [X, Y], [0, 1], 1.0) == pytest.approx(0.0, abs=1e-6)
    # Margin 2: two of the four pairs give (2 - sqrt(2))^2 = 0.343146
    assert margin([X, Y], [X, Y], [0, 1], 2.0) == pytest.approx(0.171573, abs=1e-5)


def test_margin_form_within_a_class():
    # Pairs (1, 2) and (2, 1) of the class have d^2 = 2: 4 / 4
    assert margin([X, Y], [X, Y], [0, 0]) == pytest.approx(1.0, abs=1e-6)


def test_margin_terms():
    # same: 0.5^2; others: (1 - 0.5)^2, and nothing beyond the margin
    terms = margin_terms(tf.constant([1.0, 0.0, 0.0]), tf.constant([0.5, 0.5, 1.5]), 1.0)
    np.testing.assert_allclose(terms, [0.25, 0.25, 0.0], rtol=1e-6)
