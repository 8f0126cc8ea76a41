"""Speed of ``pxd_biggan`` on this machine: a training step, and one generated event.

Beside them the machine's own rate: a 3 x 3 convolution over 64 channels, forward and backward.
Run: ``python benchmarks/bench_training.py``; recorded in ``bench_training.md``.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kerasgen.data.geometry import load_geometry
from kerasgen.models.pxd_gan.sampling import EventGenerator
from kerasgen.training.precision import describe_device, resolve_precision
from kerasgen.training.trainer import DataStatistics, build_gan
from kerasgen.zoo.config import Config, load_config

STEPS = 30


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Mean wall time of a call, after two that are not counted."""
    call()
    call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def convolution_rate(dtype: tf.DType) -> float:
    """FLOP/s of a 3 x 3 convolution of 64 channels with its gradients."""
    x = tf.cast(tf.random.stateless_normal([8, 64, 64, 64], [1, 2]), dtype)
    kernel = tf.cast(tf.random.stateless_normal([3, 3, 64, 64], [3, 4]), dtype)

    @tf.function
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = tf.nn.conv2d(x, kernel, 1, "SAME")
        return tape.gradient(y, [x, kernel], output_gradients=y)

    flops = 3 * 2 * x.shape.num_elements() * 9 * 64
    return flops / seconds(lambda: gradients()[1].numpy(), 10)


def training_step(config: Config, consistency: bool) -> tuple[float, float]:
    """Seconds of a step, and whole images (256 x 768 pixels) per second."""
    changes = [] if consistency else ["loss.consistency=0"]
    config = load_config(config.recipe, changes=changes)
    geometry = load_geometry("belle2-pxd")
    gan = build_gan(config, geometry, DataStatistics(np.full(40, 0.009), 17.0))
    batch, (height, width) = config.training.batch, config.training.crop
    rng = np.random.default_rng(1)
    fired = rng.random((batch, height, width, 1)) < 0.009
    images = np.where(fired, rng.uniform(-0.25, 0.5, fired.shape), -1.0).astype(np.float32)
    real = {
        "image": tf.constant(images),
        "sensor": tf.range(batch),
        "origin": tf.zeros([batch, 2], tf.int32),
    }
    step = tf.function(gan.train_step)
    took = seconds(lambda: step(real)["critic/loss"].numpy(), STEPS)
    return took, batch * height * width / (256 * 768) / took


def generation(config: Config) -> float:
    """Seconds per event of 40 sensors, float32, to hits."""
    geometry = load_geometry("belle2-pxd")
    gan = build_gan(
        load_config(config.recipe, changes=["training.precision=float32"]),
        geometry,
        DataStatistics(np.full(40, 0.009), 17.0),
    )
    events = EventGenerator(
        gan.average, geometry.rows, geometry.cols, geometry.threshold, geometry.max_charge
    )
    sensor = np.arange(40, dtype=np.int32)
    seed = np.tile(np.array([[1, 2]], np.int64), (40, 1))
    return seconds(lambda: events.digits(sensor, seed)["count"], 3)


def main() -> None:
    config = load_config("pxd_biggan")
    print(f"device: {describe_device()}, policy {resolve_precision('auto')}")
    for dtype in (tf.float32, tf.bfloat16):
        print(f"3 x 3 convolution, {dtype.name}: {convolution_rate(dtype) / 1e9:.0f} GFLOP/s")
    for consistency in (True, False):
        took, rate = training_step(config, consistency)
        terms = "every term" if consistency else "no consistency term"
        print(f"training step, {terms}: {took * 1e3:.0f} ms, {rate:.1f} whole images/s")
    print(f"generation, float32: {generation(config):.2f} s per event of 40 sensors")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory: {peak:.1f} GiB")


if __name__ == "__main__":
    main()
