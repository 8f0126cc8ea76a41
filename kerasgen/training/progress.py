"""What a running training shows: a progress bar, and every loss term in TensorBoard."""

from __future__ import annotations

import time
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from kerasgen.layers.spectral import spectral_layers

SHOWN = {
    "reconstruction/loss": "reconstruction", "critic/loss": "critic", "generator/loss": "generator",
}  # fmt: skip
LOG_EVERY = 20
# Steps after which the speed is known: the first ones build graphs and fill caches.
WARM, MEASURED = 10, 40


class Progress(keras.callbacks.Callback):
    """One bar over all steps of the run, with the losses and the time left.

    Says once, also where there is no terminal, how long the training will take.
    """

    def __init__(self, gan: Any, steps: int) -> None:
        super().__init__()
        self.gan = gan
        self.steps = steps
        self.bar: tqdm
        self.done = 0
        self.left = 0
        self.warm_at = 0.0
        self.adversarial = gan.adversarial

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """At the start of every stretch of steps; a rollback goes back, also from the last step."""
        step = int(self.gan.step)
        if not self.left:
            self.bar = tqdm(
                total=self.steps, initial=step, unit="step", desc="training", disable=None
            )
        self.bar.n = step
        if self.adversarial != self.gan.adversarial:  # its steps take longer
            self.adversarial, self.done = self.gan.adversarial, 0
        self.left = self.steps - step

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the bar after the last step: what is printed next has a line of its own."""
        if not self.left:
            self.bar.close()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.bar.update()
        self.done += 1
        self.left -= 1
        if self.done == WARM:
            self.warm_at = time.monotonic()
        if self.done == MEASURED:
            per_step = (time.monotonic() - self.warm_at) / (MEASURED - WARM)
            self.bar.write(
                f"{per_step:.3f} s per step: {self.left * per_step / 60:.0f} min for the "
                f"{self.left} steps to come, and evaluations"
            )
        if logs and batch % 10 == 0:
            self.bar.set_postfix(
                {
                    short: f"{float(logs[name]):.2f}"
                    for name, short in SHOWN.items()
                    if name in logs
                },
                refresh=False,
            )


class ScalarLog(keras.callbacks.Callback):
    """Every loss term by name, and the largest singular value of every layer."""

    def __init__(self, writer: tf.summary.SummaryWriter, gan: Any) -> None:
        super().__init__()
        self.writer = writer
        self.gan = gan

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        step = int(self.gan.step)
        if step % LOG_EVERY or logs is None:
            return
        with self.writer.as_default(step=step):
            for name, value in logs.items():
                tf.summary.scalar(name, value)
            for network in ("generator", "critic"):
                optimizer = getattr(self.gan, f"{network}_optimizer")
                tf.summary.scalar(f"{network}/learning_rate", optimizer.learning_rate)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with self.writer.as_default(step=int(self.gan.step)):
            for network in (self.gan.generator, self.gan.critic):
                for layer in spectral_layers(network):
                    tf.summary.scalar(f"singular_value/{layer.path}", layer.sigma())
