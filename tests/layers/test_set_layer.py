"""Attention among the points of a set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kerasgen.layers.set_layer import PointAttention

RNG = np.random.default_rng(2)
POINTS = RNG.normal(size=(2, 5, 8)).astype(np.float32)
PLACES = RNG.normal(size=(2, 5, 2)).astype(np.float32)
PRESENT = (np.arange(5) < np.array([[5], [3]])).astype(np.float32)[..., None]


def built(heads: int = 2, **options: Any) -> PointAttention:
    layer = PointAttention(8, heads, **options)
    layer(POINTS, PLACES, PRESENT)
    return layer


def softmax(x: Any) -> Any:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def test_values_by_the_equation():
    layer = built()
    layer.log_scale.assign([-0.5, 1.5])
    x = POINTS - POINTS.mean(-1, keepdims=True)
    x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-5)
    query, key, value = np.split(x @ layer.project.kernel.numpy(), 3, axis=-1)
    square = np.square(PLACES[:, :, None] - PLACES[:, None]).sum(-1)
    seen = []
    for head, columns in enumerate((slice(0, 4), slice(4, 8))):
        logits = query[..., columns] @ key[..., columns].transpose(0, 2, 1) / 2
        logits = logits - np.exp([-0.5, 1.5][head]) * square
        weights = softmax(np.where(PRESENT[:, None, :, 0] > 0, logits, -np.inf))
        seen.append(weights @ value[..., columns])
    expected = POINTS + np.concatenate(seen, -1) @ layer.out.kernel.numpy()
    np.testing.assert_allclose(layer(POINTS, PLACES, PRESENT), expected, atol=1e-5)


def test_heads_see_far_and_near():
    scales = np.exp(built(heads=4).log_scale.numpy())
    np.testing.assert_allclose(scales, [0.1, 0.46416, 2.15443, 10.0], rtol=1e-4)


def test_a_set_without_points_stays_finite():
    assert np.isfinite(built()(POINTS, PLACES, 0 * PRESENT)).all()


@pytest.mark.parametrize("policy", ["mixed_bfloat16"])
def test_distances_are_those_of_float32(policy: str):
    """Near points far from the origin are told apart."""
    layer = built(dtype=policy)
    layer.log_scale.assign([5.0, 5.0])
    far = PLACES / 50 + 7
    query = np.zeros((2, 2, 5, 4), np.float32)
    logits = np.asarray(layer.logits(query, query, far, np.ones_like(PRESENT)))
    square = np.square(far[:, :, None] - far[:, None]).sum(-1)
    found = logits - logits[..., :1]
    expected = -np.exp(5.0) * (square - square[..., :1])[:, None]
    np.testing.assert_allclose(found, expected + 0 * found, atol=0.02)
