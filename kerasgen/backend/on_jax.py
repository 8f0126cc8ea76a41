"""What Keras does not have, on JAX: see ``kerasgen.backend.engine``."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.scipy.special import erfc, ndtri  # noqa: F401
from jax.sharding import NamedSharding, PartitionSpec

uniform = jax.random.uniform


def gradient_step(loss: Callable[[], Any], variables: Any, optimizer: Any, state: Any) -> Any:
    now = [v.value for v in state]

    def total(values: Any) -> Any:
        with keras.StatelessScope([*zip(state, now), *zip(variables, values)]) as scope:  # noqa: B905
            terms = loss()
        return sum(terms.values()), (terms, [scope.get_current_value(v) for v in state])

    gradients, (terms, after) = jax.grad(total, has_aux=True)([v.value for v in variables])
    for v, x in zip(state, after, strict=True):
        v.assign(x)
    optimizer.apply(gradients, variables)
    return terms | {"loss": sum(terms.values())}


def gradient_of(function: Callable[[Any], Any], x: Any) -> Any:
    return jax.grad(lambda x: jnp.sum(function(x)))(x)


class CompiledStep:
    def __init__(self, function: Callable[..., Any], state: Any, mesh: Any = None) -> None:
        def pure(values: Any, inputs: Any) -> Any:
            with keras.StatelessScope(list(zip(state, values, strict=True))) as scope:
                outputs = function(*inputs)
            return [scope.get_current_value(v) for v in state], outputs

        self.state: Any = state
        self.values: Any = None
        self.rows = mesh and NamedSharding(mesh.backend_mesh, PartitionSpec(*mesh.axis_names))
        self.everywhere = mesh and NamedSharding(mesh.backend_mesh, PartitionSpec())
        self.function = jax.jit(pure, donate_argnums=0, out_shardings=self.everywhere)

    def __call__(self, *inputs: Any) -> Any:
        self.values, outputs = self.function(self.values, placed(inputs, self.rows))
        return outputs

    def read_variables(self) -> None:  # copies: a step frees what it is given
        self.values = placed([jnp.copy(v.value) for v in self.state], self.everywhere)

    def write_variables(self) -> None:
        for variable, value in zip(self.state, self.values, strict=True):
            variable.assign(value if self.everywhere is None else value.addressable_data(0))


def placed(arrays: Any, sharding: Any) -> Any:
    def place(x: Any) -> Any:
        divides = not sharding.spec or x.shape[0] % sharding.mesh.size == 0
        where = sharding if divides else NamedSharding(sharding.mesh, PartitionSpec())
        return jax.make_array_from_callback(x.shape, where, np.asarray(x).__getitem__)

    return jax.tree.map(place, arrays) if sharding else arrays


def step_key(number: int, step: Any, part: Any = 0) -> Any:
    words = (number >> bits & 0xFFFFFFFF for bits in (0, 32, 64))
    return reduce(jax.random.fold_in, (*words, step, part), jax.random.key(0))


def normal(key: Any, shape: Any, part: int = 0) -> Any:
    return jax.random.normal(jax.random.fold_in(key, part), shape)


def sum_at(mask: Any, index: Any, values: Any, size: int) -> Any:
    index = jnp.where(mask, index, size)
    return jnp.zeros((size, values.shape[-1])).at[index].add(values, mode="drop")


def use_deterministic_kernels() -> None:
    """Nothing: XLA is deterministic on CPUs."""


def gpu_names() -> list[str]:
    return [d.device_kind for d in jax.devices() if d.platform != "cpu"]
