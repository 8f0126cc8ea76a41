"""Cost of the PXD GAN on this machine: training, generation, memory, start-up, scaling.

``python benchmarks/bench_training.py [--out FILE.md]`` prints a Markdown table; the recorded one is
``bench_training.md``. The table has the rate of 3 x 3 convolutions of the machine in the same run;
fractions refer to that of 128 channels. An image is one real image of 256 x 768 pixels that
training consumes. FLOPs are counted by TensorFlow in the graph (multiply and add are two); bytes
are the results of all operations, each written once and read at least once.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasgen.backend.precision import describe_device, resolve_precision
from kerasgen.data.geometry import Geometry
from kerasgen.data.pixel_source import event_file
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.kinds.pixels import PixelData
from kerasgen.models.pxd_gan.batches import ImageBatches
from kerasgen.models.pxd_gan.build import build_generator
from kerasgen.models.pxd_gan.gan import PXDGAN
from kerasgen.models.pxd_gan.generation import event_generator
from kerasgen.models.pxd_gan.image_logits import image_logits
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.pxd_gan.start import build_gan, data_statistics
from kerasgen.models.trained import Trained
from kerasgen.run_folder import WEIGHTS
from kerasgen.serving.saved_model import load_exported, write_model
from kerasgen.training.trainer import compiled_step
from kerasgen.zoo.lookup import load_run, released
from kerasgen.zoo.recipes import load_config

PIXELS = 256 * 768
EVENTS = 8  # simulated, for realistic images
WHOLE, BATCH = ["training.crop=[]", "training.batch=4"], "training.batch=40"
# Operations that return their argument or a constant of the graph.
ALIASES = {"Identity", "Const", "Reshape", "ReadVariableOp", "StopGradient", "Placeholder", "NoOp"}
# GPU of the computed cost: A100 (data sheet: 19.5 TFLOP/s in float32, 156 in TF32, 1.56 TB/s).
# Convolutions reach a third of its FLOP/s; an operation starts in 5 us.
GPU = {"flops": 156e12 / 3, "bytes": 1.56e12, "start": 5e-6}
Table = list[tuple[str, str]]


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call, after two warm-up calls."""
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


def computing_operations(function: Any) -> list[Any]:
    """Operations of a traced function that compute something."""
    return [x for x in function.graph.get_operations() if x.type not in ALIASES]


def result_bytes(operations: list[Any]) -> int:
    """Bytes of the results of operations with a known shape."""
    results = [result for x in operations for result in x.outputs]
    return sum((t.shape.num_elements() or 0) * t.dtype.size for t in results)


def convolution_rate(dtype: tf.DType, channels: int) -> float:
    """FLOP/s of a 3 x 3 convolution on cells of 64 x 192."""
    x = tf.cast(tf.random.stateless_normal([4, 64, 192, channels], [1, 2]), dtype)
    kernel = tf.cast(tf.random.stateless_normal([3, 3, channels, channels], [3, 4]), dtype)
    convolve = tf.function(lambda: tf.nn.conv2d(x, kernel, 1, "SAME"))
    took = seconds(lambda: convolve()[0, 0, 0, 0].numpy(), 9)
    return 2 * 9 * channels * float(tf.size(x)) / took


def convolutions_alone(function: Any) -> float:
    """Seconds of the convolutions of a traced function, one after another."""
    times: dict[tuple[Any, ...], float] = {}
    total = 0.0
    for x in computing_operations(function):
        if x.type != "Conv2D":
            continue
        shapes = tuple(tuple(t.shape.as_list()) for t in x.inputs)
        key = (*shapes, tuple(x.get_attr("strides")), x.get_attr("padding"), x.inputs[0].dtype)
        if key not in times:
            image, kernel = (tf.ones(shape, key[4]) for shape in shapes)
            call = tf.function(partial(tf.nn.conv2d, image, kernel, key[2], key[3].decode()))
            times[key] = seconds(call, 9)
        total += times[key]
    return total


def gan_config(recipe: str = "pxd_biggan_crops", changes: Sequence[str] = ()) -> Config:
    """The configuration of a recipe of the PXD GAN with changes ``section.key=value``."""
    config = load_config(recipe, changes=changes)
    assert isinstance(config, Config)
    return config


def gan_and_batches(config: Config, file: EventFile) -> tuple[PXDGAN, ImageBatches]:
    """Build the GAN of a training, and its batches."""
    data = PixelData(file, range(file.n_events), range(0))
    statistics = data_statistics(config, file.read_events(0, EVENTS), file.geometry)
    return build_gan(config, file.geometry, statistics), ImageBatches(config, data)


def traced_step(gan: PXDGAN, batch: list[dict[str, Any]]) -> Any:
    """The graph of a training step."""

    def step(real: Any) -> dict[str, Any]:
        return gan.train_step(real, gan.noise(real))

    return tf.function(step, autograph=False).get_concrete_function(batch)


def training_rows(name: str, config: Config, file: EventFile, rate: float) -> Table:
    """Time, images per second, FLOPs and input time of a training step.

    Args:
        name: of the variant.
        config: of the training.
        file: real events.
        rate: of the convolution on this machine, FLOP/s.
    """
    gan, batches = gan_and_batches(config, file)
    batch = batches.batch_at(0)
    step = traced_step(gan, batch)
    took = seconds(lambda: step(batch)["discriminator/loss"].numpy(), 15)
    batch_images = whole_images(batch)
    step_flops = flops(step)
    waited = input_time(batches)
    return [
        (f"{name}: step", f"{took * 1e3:.0f} ms"),
        (f"{name}: images per second", f"{batch_images / took:.2f}"),
        (f"{name}: per image", f"{step_flops / batch_images / 1e9:.1f} GFLOP"),
        (f"{name}: rate", rate_cell(step_flops / took, rate)),
        (f"{name}: input, of a step", f"{100 * waited / took:.1f} %"),
    ]


def rate_cell(reached: float, rate: float) -> str:
    """Format a rate in FLOP/s, and its fraction of the rate of the convolution."""
    return f"{reached / 1e9:.0f} GFLOP/s, {100 * reached / rate:.0f} % of the convolution"


def whole_images(batch: list[dict[str, Any]]) -> float:
    """Pixels of the real images of a step, in whole sensors."""
    return sum(x["image"].size for x in batch) / PIXELS


def input_time(batches: ImageBatches) -> float:
    """Seconds per batch of the input alone."""
    batches.batch_at(0)
    start = time.perf_counter()
    for step in range(1, 51):
        batches.batch_at(step)
    return (time.perf_counter() - start) / 50


def scaling_rows(config: Config, geometry: Geometry) -> Table:
    """Time of a step and its input for more events and for fewer sensors."""
    table: Table = []
    few = geometry.select(list(geometry.names[:8]))
    with tempfile.TemporaryDirectory() as folder:
        for sensors, events in ((40, EVENTS), (40, 4 * EVENTS), (40, 16 * EVENTS), (8, EVENTS)):
            path = Path(folder) / f"{sensors}-{events}.h5"
            with event_file("simulate:pxd", 16 * EVENTS, 0, []) as file:
                hits = file.read_events(0, events)
            kept = np.flatnonzero(hits.sensor < sensors)
            with EventWriter(path, geometry if sensors == 40 else few, "benchmark") as writer:
                writer.write(hits.take(kept))
            with EventFile(path) as file:
                gan, batches = gan_and_batches(config, file)
                batch = batches.batch_at(0)
                step = traced_step(gan, batch)
                took = seconds(lambda: step(batch)["discriminator/loss"].numpy(), 15)  # noqa: B023
                waited = input_time(batches)
            name = f"{events} events of {sensors} sensors"
            table.append((f"{name}: step and input", f"{took * 1e3:.0f} + {waited * 1e3:.1f} ms"))
    return table


def gpu_rows(name: str, config: Config, file: EventFile) -> Table:
    """Computed cost of a step and a run on one GPU, from FLOPs, bytes and operations."""
    gan, batches = gan_and_batches(config, file)
    step = traced_step(gan, batches.batch_at(0))
    operations = computing_operations(step)
    size = result_bytes(operations)
    bounds = {
        "FLOPs": flops(step) / GPU["flops"],
        "bytes": 2 * size / GPU["bytes"],
        "starts": len(operations) * GPU["start"],
    }
    took = max(bounds["FLOPs"] + bounds["bytes"], bounds["starts"])
    parts = ", ".join(f"{part} {1e3 * t:.1f} ms" for part, t in bounds.items())
    run = config.training.steps * took
    return [
        (f"{name}, one A100, computed: step", f"{1e3 * took:.0f} ms ({parts})"),
        (f"{name}, one A100, computed: run of {config.training.steps} steps", f"{run:.0f} s"),
        (f"{name}: results of a step", f"{size / 2**30:.1f} GiB"),
    ]


def generator_of(recipe: str, geometry: Geometry) -> Trained:
    """The generator of a recipe with its released weights, or untrained."""
    if recipe in released():
        return load_run(recipe)
    config = gan_config(recipe)
    settings = replace(config.generator, spectral_norm=False)
    network = build_generator(config.architecture, settings, geometry, 1, "float32", "generator")
    events = event_generator(network, config, geometry)
    folder = Path(tempfile.mkdtemp())  # with a file for the checksum of an export
    (folder / WEIGHTS).touch()
    return Trained(recipe, folder, config, geometry, events, calibrated=False)


def generation_rows(recipe: str, geometry: Geometry, repeats: int, rate: float) -> Table:
    """Time and FLOPs of the exported model per event of 40 sensors."""
    trained = generator_of(recipe, geometry)
    network = trained.generator.generator
    inputs = (
        tf.zeros([1], tf.int32),
        tf.zeros([1, network.latent_size]),
        tf.zeros([2], tf.int64),
    )
    scores = tf.function(lambda *given: image_logits(network, *given)[0], autograph=False)
    traced = scores.get_concrete_function(*inputs)
    per_image = flops(traced)
    sensor = np.arange(40, dtype=np.int32)
    seed = np.tile(np.array([[1, 2]]), (40, 1))
    with tempfile.TemporaryDirectory() as folder:
        write_model(trained, Path(folder))
        exported = load_exported(Path(folder)).generator
        took = seconds(lambda: exported.digits(sensor=sensor, seed=seed)["count"].numpy(), repeats)
    return [
        (f"{recipe}: generation of an event", f"{took:.3f} s"),
        (f"{recipe}: per generated image", f"{per_image / 1e9:.2f} GFLOP"),
        (f"{recipe}: rate", rate_cell(40 * per_image / took, rate)),
        (
            f"{recipe}: its convolutions alone",
            f"{40 * convolutions_alone(traced):.3f} s per event",
        ),
    ]


def first_step() -> None:
    """Build a training and do its first step; in a process of its own."""
    with event_file("simulate:pxd", EVENTS, 0, []) as file:
        gan, batches = gan_and_batches(gan_config(), file)
        step = compiled_step(gan)
        step.read_variables()
        np.asarray(step(batches.batch_at(0))["discriminator/loss"])


def start_up() -> float:
    """Seconds from the start of the interpreter to the end of the first step."""
    start = time.perf_counter()
    subprocess.run([sys.executable, __file__, "--first-step"], check=True)
    return time.perf_counter() - start


def table_rows() -> Iterator[tuple[str, str]]:
    """Measure the rows of the table one after another."""
    rates: dict[str, float] = {}
    for dtype in (tf.float32, tf.bfloat16):
        for channels in (32, 128):
            rates[dtype.name] = convolution_rate(dtype, channels)
            name = f"3 x 3 convolution, {channels} channels, {dtype.name}"
            yield name, f"{rates[dtype.name] / 1e9:.0f} GFLOP/s"
    variants = {
        "crops": [],
        "crops, no consistency": ["loss.consistency=0"],
        "whole images": WHOLE,
        "whole images, no consistency": [*WHOLE, "loss.consistency=0"],
    }
    with event_file("simulate:pxd", EVENTS, 0, []) as file:
        for precision, rate in rates.items():
            for name, changes in variants.items():
                changes = [*changes, f"training.precision={precision}"]
                config = gan_config(changes=changes)
                yield from training_rows(f"{name}, {precision}", config, file, rate)
        geometry = file.geometry
        for name, changes in (("crops", []), ("whole images, batch 40", [*WHOLE[:1], BATCH])):
            yield from gpu_rows(name, gan_config(changes=changes), file)
    yield from scaling_rows(gan_config(), geometry)
    yield "start-up to the end of the first step", f"{start_up():.0f} s"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield "largest memory so far", f"{peak:.1f} GiB"
    for recipe, repeats in (("pxd_biggan_crops", 9), ("pxd_biggan_deep", 2)):
        yield from generation_rows(recipe, geometry, repeats, rates["float32"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="file of the table")
    parser.add_argument("--first-step", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.first_step:
        return first_step()
    print(f"{describe_device()}, policy {resolve_precision('auto')}")
    lines = ["| quantity | value |", "|---|---|"]
    print("\n".join(lines))
    for name, value in table_rows():
        lines.append(f"| {name} | {value} |")
        print(lines[-1], flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
