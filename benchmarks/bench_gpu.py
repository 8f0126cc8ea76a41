"""Rate of the PXD GANs on one accelerator: training steps, and generation by the network alone.

``KERAS_BACKEND=jax python benchmarks/bench_gpu.py [--minutes M] [--small] [--out FILE.md]`` needs
keras, jax, numpy, h5py and scipy (and the checkout on PYTHONPATH). It prints a Markdown table, a
row as soon as it is measured, most wanted rows first, and ends before M minutes (default 6) are
over. An image is one real image that training consumes (a discriminator step has as
many generated ones); crops count by their pixels. FLOPs and bytes of a step are the compiler's
count; the fractions refer to a 3 x 3 convolution over 128 channels and to a copy of 1 GiB, both
measured in the same run. ``--small`` runs every kind of row at the smallest size, on a CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from keras import ops

from kerasgen.backend.engine import BACKEND, CompiledStep
from kerasgen.backend.random_numbers import image_inputs, key_of
from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.models.pxd_gan.gan import PXDGAN
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.pxd_gan.start import DataStatistics, build_gan
from kerasgen.training.trainer import compiled_step
from kerasgen.zoo.recipes import load_config

GIB = 2**30
OCCUPANCY = 0.01
# Most wanted first: recipe, crops, precision, batch.
ROWS = [
    ("pxd_biggan_crops", False, "bfloat16", 64),
    ("pxd_biggan_deep", False, "bfloat16", 16),
    ("pxd_biggan_crops", False, "float32", 64),
    ("pxd_biggan_deep", False, "bfloat16", 64),
    ("pxd_biggan_crops", True, "bfloat16", 128),
    ("pxd_biggan_deep", False, "float32", 16),
    ("pxd_biggan_crops", False, "bfloat16", 16),
    ("pxd_biggan_crops", False, "bfloat16", 128),
    ("pxd_biggan_deep", False, "bfloat16", 128),
    ("pxd_biggan_crops", True, "float32", 128),
    ("pxd_biggan_crops", True, "bfloat16", 16),
    ("pxd_biggan_crops", False, "bfloat16", 1),
    ("pxd_biggan_deep", False, "bfloat16", 1),
    ("pxd_biggan_crops", True, "bfloat16", 1),
]
SMALL = [
    ("pxd_biggan_crops", True, "float32", 2),
    ("pxd_biggan_crops", False, "float32", 1),
    ("pxd_biggan_deep", False, "float32", 1),
]
SMALLEST = {
    "pxd_biggan_crops": ["generator.channels=16", "discriminator.channels=16"],
    "pxd_biggan_deep": ["generator.channels=8", "generator.blocks=1", "discriminator.channels=8",
                        "discriminator.blocks=1"],
}  # fmt: skip
HEADER = [
    "recipe", "images", "precision", "batch", "step, ms", "images/s", "GFLOP / image",
    "of the convolution", "of the copy", "memory, GiB", "compiled in, s",
]  # fmt: skip


def seconds(call: Callable[[], Any], budget: float) -> float:
    """Median seconds of a call that has been called before, within some seconds."""
    times: list[float] = []
    while len(times) < 3 or (sum(times) < budget and len(times) < 20):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def convolution_rate(dtype: str, small: bool) -> float:
    """FLOP/s of a 3 x 3 convolution over 128 channels on maps of 64 x 192 cells."""
    shape = (2 if small else 64, 64, 192, 128)
    x, kernel = jnp.ones(shape, dtype), jnp.ones((3, 3, 128, 128), dtype)
    convolve = jax.jit(lambda x, k: ops.conv(x, k, 1, "same", data_format="channels_last"))
    jax.block_until_ready(convolve(x, kernel))
    return 2 * 9 * 128 * x.size / seconds(lambda: convolve(x, kernel), 2)


def copy_rate(small: bool) -> float:
    """Bytes read and written per second by a copy of 1 GiB."""
    x = jnp.ones((GIB // (16 if small else 1) // 4,), "float32")
    scale = jax.jit(lambda x: 1.5 * x)
    jax.block_until_ready(scale(x))
    return 2 * x.nbytes / seconds(lambda: scale(x), 2)


def made_up_statistics(geometry: Geometry) -> DataStatistics:
    """Statistics near those of PXD background, so that nothing has to be simulated."""
    return DataStatistics(np.full(len(geometry.sensors), OCCUPANCY), 20.0)


def made_up_batch(config: Config, geometry: Geometry, batch: int, size: Any) -> Any:
    """A batch of ``ImageBatches`` with random pixels."""
    rng = np.random.default_rng(1)
    parts = []
    for _ in range(config.loss.discriminator_steps):
        fired = rng.random((batch, *size, 1)) < OCCUPANCY
        image = np.where(fired, rng.uniform(-0.2, 0.8, fired.shape), -1).astype(np.float32)
        parts.append({
            "image": image,
            "sensor": (np.arange(batch) % len(geometry.sensors)).astype(np.int32),
            "origin": np.zeros((batch, 2), np.int32),
        })  # fmt: skip
    return jax.device_put(parts)


def training_row(
    gan: PXDGAN, config: Config, geometry: Geometry, row: tuple[str, bool, str, int], limits: Any
) -> list[str]:
    """One row of the table: a training step."""
    recipe, crops, precision, batch = row
    whole = gan.generator.image
    size = tuple(config.training.crop) if crops else whole
    real = made_up_batch(config, geometry, batch, size)
    start = time.perf_counter()
    step = compiled_step(gan)
    step.read_variables()
    program = step.function.lower(step.values, (real,)).compile()
    compiled = time.perf_counter() - start
    cost = program.cost_analysis()
    values = [step.values]

    def run() -> Any:
        values[0], terms = program(values[0], (real,))
        return terms

    jax.block_until_ready(run())
    took = seconds(run, 4)
    images = batch * config.loss.discriminator_steps * size[0] * size[1] / (whole[0] * whole[1])
    flops, moved = float(cost["flops"]), float(cost["bytes accessed"])
    memory = program.memory_analysis()
    used = memory.temp_size_in_bytes + memory.argument_size_in_bytes
    return [
        recipe, "crops" if crops else "whole", precision, str(batch), f"{1e3 * took:.1f}",
        f"{images / took:.4g}", f"{flops / images / 1e9:.3g}",
        f"{100 * flops / took / limits[precision]:.0f} %",
        f"{100 * moved / took / limits['copy']:.0f} %",
        f"{used / GIB:.2f}", f"{compiled:.0f}",
    ]  # fmt: skip


def generation_row(gan: PXDGAN, recipe: str, precision: str, small: bool) -> str:
    """Events per second of the network alone: logits and charges of all sensors."""
    generator, sensors = gan.generator, gan.generator.embedding.entries
    batch = 2 if small else sensors

    def images(sensor: Any, event: Any) -> Any:
        key = key_of(0, event, "sample")
        latent, noise = image_inputs(key, generator, generator.image, batch)
        origin = ops.zeros((batch, 2), "int32")
        return generator.logits_and_charges(sensor, latent, noise, origin)

    step = CompiledStep(images, generator.variables)
    step.read_variables()
    sensor = np.arange(batch, dtype=np.int32)
    jax.block_until_ready(step(sensor, np.int32(0)))
    took = seconds(lambda: step(sensor, np.int32(1)), 3)
    return f"{recipe}, {precision}: {batch / sensors / took:.4g} events/s by the network alone"


def measure(minutes: float, small: bool, show: Callable[[str], None]) -> None:
    """Measure row by row until the time is over."""
    end = time.monotonic() + 60 * minutes
    device = jax.devices()[0]
    dtypes = ("float32",) if small else ("bfloat16", "float32")
    limits = {d: convolution_rate(d, small) for d in dtypes} | {"copy": copy_rate(small)}
    show(f"{device.device_kind}, jax {jax.__version__}; convolution " + ", ".join(
        f"{d} {limits[d] / 1e12:.3g} TFLOP/s" for d in dtypes
    ) + f"; copy {limits['copy'] / 1e9:.3g} GB/s\n")  # fmt: skip
    show("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
    geometry = load_geometry("belle2-pxd")
    built: dict[tuple[str, str], tuple[Config, PXDGAN]] = {}
    after: list[str] = []
    longest = 0.0
    for row in SMALL if small else ROWS:
        recipe, _, precision, _ = row
        if time.monotonic() + 1.3 * longest > end:
            show(f"\nTime is over before {row}.")
            break
        start = time.monotonic()
        try:
            if (recipe, precision) not in built:
                config: Any = load_config(recipe, changes=SMALLEST[recipe] if small else [])
                config = replace(config, training=replace(config.training, precision=precision))
                gan = build_gan(config, geometry, made_up_statistics(geometry))
                built[recipe, precision] = config, gan
                after.append(generation_row(gan, recipe, precision, small))
            config, gan = built[recipe, precision]
            show("| " + " | ".join(training_row(gan, config, geometry, row, limits)) + " |")
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            show(f"| {' | '.join(map(str, row))} | {str(error).splitlines()[0][:80]} |")
        longest = max(longest, time.monotonic() - start)
    show("")
    for line in after:
        show(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--small", action="store_true", help="the smallest sizes, on any machine")
    parser.add_argument("--out", type=Path, metavar="FILE.md")
    a = parser.parse_args()
    if BACKEND != "jax":
        parser.error("set KERAS_BACKEND=jax")
    lines: list[str] = []

    def show(text: str) -> None:
        print(text, flush=True)
        lines.append(text)
        if a.out:
            a.out.write_text("\n".join(lines) + "\n", "utf-8")

    measure(a.minutes, a.small, show)


if __name__ == "__main__":
    main()
