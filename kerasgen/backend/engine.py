"""The few functions of a training that Keras does not have, for the backend that it runs on.

``gradient_step(loss, variables, optimizer, state)``: compute ``loss()``, a dictionary of terms, and
    apply the gradient of their sum to ``variables``; returns the terms, and their sum as ``loss``.
``gradient_of(function, x)``: gradient of ``sum(function(x))`` with respect to x, inside a loss too.
``CompiledStep(function, state, mesh)``: a function that reads and writes the variables ``state``,
    compiled. On JAX the values live in the step between calls: ``read_variables`` before the first
    call and after the variables were changed from outside, ``write_variables`` before they are
    read. Compiled for every new shape of an input. With a ``keras.distribution.DeviceMesh`` (JAX)
    the rows of the inputs are divided among its devices.
``step_key(number, step, part)``: key of the random numbers of one use in one training step, a pure
    function of its arguments (``number``: int64; ``step``: scalar tensor; ``part``: int).
``normal(key, shape, part)``, ``uniform(key, shape)``: float32 numbers of a key, standard normal and
    on [0, 1); counter-based: no state anywhere. Backends draw different numbers.
``sum_at(mask, index, values, size)``: float32 [size, C], sums of those ``values`` [..., C] whose
    ``mask`` [...] is true, at their ``index`` [...].
``ndtri``, ``erfc``: quantile function of the normal distribution; complementary error function.
``use_deterministic_kernels()``, ``gpu_names()``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

BACKEND = keras.config.backend()

if TYPE_CHECKING or BACKEND == "tensorflow":
    from kerasgen.backend import on_tensorflow as chosen
elif BACKEND == "jax":
    from kerasgen.backend import on_jax as chosen
else:
    raise ImportError(f"kerasgen runs on TensorFlow and JAX, not on {BACKEND!r}")

CompiledStep = chosen.CompiledStep
erfc, ndtri = chosen.erfc, chosen.ndtri
gpu_names = chosen.gpu_names
gradient_of, gradient_step = chosen.gradient_of, chosen.gradient_step
normal, uniform, step_key = chosen.normal, chosen.uniform, chosen.step_key
sum_at = chosen.sum_at
use_deterministic_kernels = chosen.use_deterministic_kernels
