"""Step of the adversarial stage of the PXD GAN here and in an older checkout, in turns.

``python benchmarks/compare_training.py CHECKOUT`` prints a Markdown table; the recorded one is in
``bench_training.md``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from bench_training import EVENTS, PIXELS, WHOLE, gan_and_batches, gan_config, seconds

from kerasgen.data.pixel_source import event_file
from kerasgen.training.trainer import compiled_step

# The step of a checkout before ``TrainableModel.noise``, by its own benchmark.
OLD_STEP = """
import sys
import tensorflow as tf
import bench_training as old
variant, repeats = sys.argv[1:3]
with old.event_file("simulate:pxd", old.EVENTS, 0, []) as file:
    gan, batch, _ = old.gan_and_batch(old.gan_config(changes=sys.argv[3:]), file)
    step = tf.function(gan.train_step, autograph=False)
    print(old.seconds(lambda: step(batch)["discriminator/loss"].numpy(), int(repeats)))
"""
COMPARED = {"crops, batch 16": ["training.batch=16"], "whole images, batch 4": WHOLE}


def step_time(changes: Sequence[str], repeats: int) -> float:
    """Seconds of a step of the adversarial stage on the backend of this process."""
    with event_file("simulate:pxd", EVENTS, 0, []) as file:
        gan, batches = gan_and_batches(gan_config(changes=changes), file)
        step = compiled_step(gan)
        step.read_variables()
        batch = batches.batch_at(0)
        return seconds(lambda: np.asarray(step(batch)["discriminator/loss"]), repeats)


def compared_rows(old: Path, repeats: int, turns: int) -> Iterator[tuple[str, str]]:
    """Images per second of an older checkout and of this one, in turns, processes of their own.

    Args:
        old: checkout whose steps take no noise.
        repeats: steps of a process.
        turns: processes of each; the fastest counts.
    """
    here = Path(__file__).parents[1]
    own = [sys.executable, __file__, str(old), "--repeats", str(repeats), "--step-time"]
    for name, changes in COMPARED.items():
        changes = [*changes, "training.precision=float32"]
        before = [sys.executable, "-c", OLD_STEP, name, str(repeats), *changes]
        calls = {
            "before, TensorFlow": (before, "tensorflow", [old, old / "benchmarks"]),
            "now, TensorFlow": ([*own, *changes], "tensorflow", [here]),
            "now, JAX": ([*own, *changes], "jax", [here]),
        }
        times: dict[str, list[float]] = {label: [] for label in calls}
        for _ in range(turns):
            for label, (command, backend, paths) in calls.items():
                path = os.pathsep.join(str(x.resolve()) for x in paths)
                environment = os.environ | {"PYTHONPATH": path, "KERAS_BACKEND": backend}
                done = subprocess.run(
                    command, env=environment, cwd=paths[0], stdout=subprocess.PIPE, text=True,
                    check=True,
                )  # fmt: skip
                times[label].append(float(done.stdout.split()[-1]))
        images = 4.0 if changes[0] == WHOLE[0] else crop_images()
        for label, values in times.items():
            best = min(values)
            yield f"{name}, {label}", f"{best * 1e3:.0f} ms, {images / best:.2f} images per second"


def crop_images() -> float:
    """Pixels of a batch of 16 crops, in whole sensors."""
    return 16 * float(np.prod(gan_config().training.crop)) / PIXELS


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", type=Path, help="checkout whose steps take no noise")
    parser.add_argument("--repeats", type=int, default=15, help="steps of a process (default 15)")
    parser.add_argument("--turns", type=int, default=3, help="processes of each (default 3)")
    parser.add_argument("--step-time", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step_time is not None:
        return print(step_time(given.step_time, given.repeats))
    print("| step | value |\n|---|---|")
    for name, value in compared_rows(given.old, given.repeats, given.turns):
        print(f"| {name} | {value} |", flush=True)


if __name__ == "__main__":
    main()
