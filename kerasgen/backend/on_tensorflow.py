"""What Keras does not have, on TensorFlow: see ``kerasgen.backend.engine``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from kerasgen.backend.seeds import mixed

ndtri, erfc = tf.math.ndtri, tf.math.erfc


def gradient_step(loss: Callable[[], Any], variables: Any, optimizer: Any, state: Any) -> Any:
    with tf.GradientTape() as tape:
        terms = loss()
        total = sum(terms.values())
    zero = tf.UnconnectedGradients.ZERO  # a head that no term uses
    gradients = tape.gradient(total, [v.value for v in variables], unconnected_gradients=zero)
    optimizer.apply(gradients, variables)
    return terms | {"loss": total}


def gradient_of(function: Callable[[Any], Any], x: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x)


class CompiledStep:
    def __init__(self, function: Callable[..., Any], state: Any, mesh: None = None) -> None:
        # Steps have no control flow on tensors, so AutoGraph would only take time.
        self.function = tf.function(function, autograph=False)

    def __call__(self, *inputs: Any) -> Any:
        return self.function(*inputs)

    def read_variables(self) -> None:
        """Nothing: a graph works on the variables themselves."""

    write_variables = read_variables


def step_key(number: int, step: Any, part: Any = 0) -> Any:
    first = mixed(tf.constant((number + 2**63) % 2**64 - 2**63, tf.int64))  # wraps around
    return tf.stack([first, mixed(tf.cast(step, tf.int64) * 256 + tf.cast(part, tf.int64))])


def normal(key: Any, shape: Any, part: int = 0) -> Any:
    return tf.random.stateless_normal(shape, key + part, alg="philox")


def uniform(key: Any, shape: Any) -> Any:
    return tf.random.stateless_uniform(shape, key, alg="philox")


def sum_at(mask: Any, index: Any, values: Any, size: Any) -> Any:
    some = tf.where(mask)
    index, values = tf.gather_nd(index, some), tf.gather_nd(values, some)
    return tf.scatter_nd(index[:, None], values, [size, values.shape[-1]])


def use_deterministic_kernels() -> None:
    tf.config.experimental.enable_op_determinism()


def gpu_names() -> list[str]:
    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(g)["device_name"] for g in gpus]
