"""Cost of the PXD GAN on this machine: training, generation, memory, start-up.

``python benchmarks/bench_training.py [--out FILE.md]`` prints a table of Markdown; the recorded one
is ``bench_training.md``. Beside the times stands what the machine could do in the same run: its
rate of 3 x 3 convolutions. An image is one real image of 256 x 768 pixels that training consumes.
FLOPs are what TensorFlow counts in the graph (multiply and add are two).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasgen.data.geometry import Geometry
from kerasgen.data.pipeline import ImageSampler, training_dataset
from kerasgen.data.store import EventFile
from kerasgen.models.pxd_gan.build import build_generator
from kerasgen.models.pxd_gan.gan import PXDGAN
from kerasgen.serving.saved_model import load_exported, write_model
from kerasgen.training.data import event_file
from kerasgen.training.precision import describe_device, resolve_precision
from kerasgen.training.trainer import DataStatistics, build_gan
from kerasgen.zoo.config import Config, load_config
from kerasgen.zoo.trained import Trained, fold_spectral_norm, sampler

PIXELS = 256 * 768
EVENTS = 8  # simulated, for realistic pictures
Table = list[tuple[str, str]]


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call, after two that are not counted."""
    call()
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def flops(function: Any) -> int:
    """Floating-point operations of a traced function."""
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(
        profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    return int(profiler.profile(function.graph, options=options.build()).total_float_ops)


def convolution_rate(dtype: tf.DType, channels: int) -> float:
    """FLOP/s of a 3 x 3 convolution on cells of 64 x 192."""
    x = tf.cast(tf.random.stateless_normal([4, 64, 192, channels], [1, 2]), dtype)
    kernel = tf.cast(tf.random.stateless_normal([3, 3, channels, channels], [3, 4]), dtype)
    convolve = tf.function(lambda: tf.nn.conv2d(x, kernel, 1, "SAME"))
    took = seconds(lambda: convolve()[0, 0, 0, 0].numpy(), 9)
    return 2 * 9 * channels * float(tf.size(x)) / took


def gan_and_batch(config: Config, file: EventFile) -> tuple[PXDGAN, dict[str, Any], ImageSampler]:
    """A GAN as a training builds it, one of its batches, and where batches come from."""
    crop = config.training.crop
    images = ImageSampler(
        file,
        range(file.n_events),
        config.training.batch * config.loss.critic_steps,
        0,
        (crop[0], crop[1]) if crop else None,
        dequantise=True,
    )
    statistics = DataStatistics(np.full(40, 0.009), 17.0, np.full(40, 0.03))
    gan = build_gan(config, file.geometry, statistics)
    return gan, {k: tf.constant(v) for k, v in images.batch_at(0).items()}, images


def training_rows(name: str, config: Config, file: EventFile) -> Table:
    """Time, images per second and FLOPs of a step of the game, and what its input costs."""
    gan, batch, images = gan_and_batch(config, file)
    step = tf.function(gan.train_step, autograph=False).get_concrete_function(batch)
    took = seconds(lambda: step(batch)["critic/loss"].numpy(), 15)
    share = batch["image"].shape[0] * np.prod(batch["image"].shape[1:3]) / PIXELS
    count = flops(step)
    batches = iter(training_dataset(images))
    next(batches)
    start = time.perf_counter()
    for _ in range(50):
        next(batches)
    waited = (time.perf_counter() - start) / 50
    return [
        (f"{name}: step", f"{took * 1e3:.0f} ms"),
        (f"{name}: images per second", f"{share / took:.2f}"),
        (f"{name}: per image", f"{count / share / 1e9:.1f} GFLOP"),
        (f"{name}: rate", f"{count / took / 1e9:.0f} GFLOP/s"),
        (f"{name}: input, of a step", f"{100 * waited / took:.1f} %"),
    ]


def generation_rows(recipe: str, geometry: Geometry, repeats: int) -> Table:
    """Time per event of 40 sensors of the exported model, and its FLOPs."""
    config = load_config(recipe)
    build = (config.architecture, geometry, 1, "float32", "generator")
    stored, folded = (
        build_generator(build[0], settings, *build[1:])
        for settings in (config.generator, replace(config.generator, spectral_norm=False))
    )
    if stored.output_form == "gated":
        stored.cut.assign(np.full(40, 1e9))  # nothing trained, nothing fires
    fold_spectral_norm(stored, folded)
    events = sampler(folded, config, geometry)
    inputs = (
        tf.zeros([1], tf.int32),
        tf.zeros([1, config.generator.latent_size]),
        tf.zeros([2], tf.int64),
    )
    per_image = flops(tf.function(folded.image_scores).get_concrete_function(*inputs))
    sensor = np.arange(40, dtype=np.int32)
    seed = np.tile(np.array([[1, 2]]), (40, 1))
    with tempfile.TemporaryDirectory() as folder:
        write_model(Trained(recipe, Path(folder), config, geometry, events), Path(folder))
        exported = load_exported(Path(folder)).generator
        took = seconds(lambda: exported.digits(sensor, seed)["count"].numpy(), repeats)
    return [
        (f"{recipe}: generation of an event", f"{took:.2f} s"),
        (f"{recipe}: per generated image", f"{per_image / 1e9:.2f} GFLOP"),
        (f"{recipe}: rate", f"{40 * per_image / took / 1e9:.0f} GFLOP/s"),
    ]


def first_step() -> None:
    """What a training does before its second step; in a process of its own."""
    with event_file("simulate:pxd", EVENTS, 0, []) as file:
        gan, batch, _ = gan_and_batch(load_config("pxd_biggan"), file)
        tf.function(gan.train_step, autograph=False)(batch)


def start_up() -> float:
    """Seconds from the start of the interpreter to the end of the first step."""
    start = time.perf_counter()
    subprocess.run([sys.executable, __file__, "--first-step"], check=True)
    return time.perf_counter() - start


def rows() -> Table:
    """Everything, in the order in which it is measured."""
    table: Table = []
    for dtype in (tf.float32, tf.bfloat16):
        for channels in (32, 128):
            rate = convolution_rate(dtype, channels) / 1e9
            table.append(
                (f"3 x 3 convolution, {channels} channels, {dtype.name}", f"{rate:.0f} GFLOP/s")
            )
    forms = {
        "crops": [],
        "crops, no consistency": ["loss.consistency=0"],
        "crops, no reconstruction": ["training.reconstruction_steps=0"],
        "whole images": ["training.crop=[]", "training.batch=2"],
    }
    with event_file("simulate:pxd", EVENTS, 0, []) as file:
        for precision in ("float32", "bfloat16"):
            for name, changes in forms.items():
                changes = [*changes, f"training.precision={precision}"]
                config = load_config("pxd_biggan", changes=changes)
                table += training_rows(f"{name}, {precision}", config, file)
        geometry = file.geometry
    table.append(("start-up to the end of the first step", f"{start_up():.0f} s"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    table.append(("largest memory so far", f"{peak:.1f} GiB"))
    for recipe, repeats in (("pxd_biggan", 5), ("pxd_biggan_deep", 1)):
        table += generation_rows(recipe, geometry, repeats)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="file of the table")
    parser.add_argument("--first-step", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.first_step:
        return first_step()
    print(f"{describe_device()}, policy {resolve_precision('auto')}")
    lines = ["| quantity | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows()]
    print("\n".join(lines))
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
