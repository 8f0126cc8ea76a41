"""The fused Adam is Adam."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.backend.optimizers import FusedAdam


def moved(optimizer: keras.optimizers.Optimizer, start: list[np.ndarray]) -> list[np.ndarray]:
    """Where eight updates by random gradients take weights."""
    weights = [keras.Variable(x) for x in start]
    optimizer.build(weights)
    update = tf.function(lambda *gradients: optimizer.apply(list(gradients), weights))
    rng = np.random.default_rng(2)
    for _ in range(8):
        update(*[tf.constant(rng.normal(size=x.shape), tf.float32) for x in start])
    accumulated = optimizer.gradient_accumulation_steps or 1
    assert int(optimizer.iterations) == 8 // accumulated
    return [w.numpy() for w in weights]


@pytest.mark.parametrize(("beta1", "accumulate"), [(0.0, None), (0.9, None), (0.9, 2)])
def test_it_moves_as_the_adam_of_keras(beta1: float, accumulate: int | None) -> None:
    rng = np.random.default_rng(1)
    start = [rng.normal(size=shape).astype("float32") for shape in ((3, 4), (5,))]
    options = {"beta_1": beta1, "beta_2": 0.99, "gradient_accumulation_steps": accumulate}
    theirs = moved(keras.optimizers.Adam(3e-3, **options), start)
    ours = moved(FusedAdam(3e-3, **options), start)
    for a, b, first in zip(ours, theirs, start, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert np.abs(a - first).min() > 1e-5


def test_its_update_is_one_operation() -> None:
    weight = keras.Variable(np.ones(3, "float32"))
    optimizer = FusedAdam(0.1)
    optimizer.build([weight])
    graph = tf.function(lambda: optimizer.apply([tf.ones(3)], [weight])).get_concrete_function()
    kinds = [x.type for x in graph.graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == 1
    assert sum(kind.startswith("Assign") for kind in kinds) == 1  # the number of updates
