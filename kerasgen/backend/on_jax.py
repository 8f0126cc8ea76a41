"""What Keras does not have, on JAX: see ``kerasgen.backend.engine``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.scipy.special import erfc, ndtri  # noqa: F401
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P


def gradient_step(loss: Callable[[], Any], variables: Any, optimizer: Any, state: Any) -> Any:
    now = [v.value for v in state]

    def total(values: Any) -> Any:
        scope = keras.StatelessScope([*zip(state, now), *zip(variables, values)])  # noqa: B905
        with scope:
            terms = loss()
        return sum(terms.values()), (terms, [scope.get_current_value(v) for v in state])

    differentiate = jax.value_and_grad(total, has_aux=True)
    (value, (terms, after)), gradients = differentiate([v.value for v in variables])
    for v, x in zip(state, after, strict=True):
        v.assign(x)
    optimizer.apply(gradients, variables)
    return terms | {"loss": value}


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
        self.rows = mesh and NamedSharding(mesh.backend_mesh, P(*mesh.axis_names))
        self.everywhere = mesh and NamedSharding(mesh.backend_mesh, P())
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
        return jax.make_array_from_callback(x.shape, sharding, np.asarray(x).__getitem__)

    return jax.tree.map(place, arrays) if sharding else arrays


def step_key(number: int, step: Any, part: Any = 0) -> Any:
    key = jax.random.key(0)
    for data in (*(number >> bits & 0xFFFFFFFF for bits in (0, 32, 64)), step, part):
        key = jax.random.fold_in(key, data)
    return key


def normal(key: Any, shape: Any, part: int = 0) -> Any:
    return jax.random.normal(jax.random.fold_in(key, part), shape)


def uniform(key: Any, shape: Any) -> Any:
    return jax.random.uniform(key, shape)


def true_indices(mask: Any, limit: int) -> tuple[Any, Any]:
    index = jnp.stack(jnp.nonzero(mask, size=limit, fill_value=0), axis=1)
    return index, jnp.arange(limit) < jnp.sum(mask)


def sum_at(mask: Any, index: Any, values: Any, size: int) -> Any:
    index = jnp.where(mask, index, size)
    return jnp.zeros((size, values.shape[-1])).at[index].add(values, mode="drop")


def use_deterministic_kernels() -> None:
    """Nothing: XLA is deterministic on CPUs."""


def gpu_names() -> list[str]:
    return [d.device_kind for d in jax.devices() if d.platform != "cpu"]
