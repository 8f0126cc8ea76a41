"""The progress bar of a training, with the losses and the time left."""

from __future__ import annotations

import time

from tqdm import tqdm

# Steps after which the speed is known: the first ones build graphs and fill caches.
WARM, MEASURED = 10, 40


class Progress:
    """One bar over all steps of a training.

    Says, also without a terminal, where a stage begins, and how long the training will take.

    Args:
        step: steps that are done.
        steps: steps of the whole training.
    """

    def __init__(self, step: int, steps: int) -> None:
        self.bar = tqdm(total=steps, initial=step, unit="step", desc="training", disable=None)
        self.step, self.steps = step, steps
        self.done = 0  # in this stage
        self.warm_at = 0.0

    def begin_stage(self, stage: str) -> None:
        """Measure the speed again: the steps of another stage take another time.

        Args:
            stage: its name; empty: the training has one stage.
        """
        self.done = 0
        if stage:
            self.bar.write(f"Stage {stage} from step {self.step} on")

    def advance(self) -> None:
        """One step is done."""
        self.bar.update()
        self.step += 1
        self.done += 1
        if self.done == WARM:
            self.warm_at = time.monotonic()
        if self.done == MEASURED and self.step < self.steps:
            per_step = (time.monotonic() - self.warm_at) / (MEASURED - WARM)
            left = self.steps - self.step
            self.bar.write(
                f"{per_step:.3f} s per step: {left * per_step / 60:.0f} min for the {left} steps "
                "to come, and evaluations"
            )

    def go_back(self, step: int) -> None:
        """Continue from an earlier step."""
        self.bar.n = self.step = step

    def show(self, values: dict[str, float]) -> None:
        """Show the sum of the losses of each network."""
        losses = {k.removesuffix("/loss"): f"{v:.3g}" for k, v in values.items() if "/loss" in k}
        self.bar.set_postfix(losses, refresh=False)

    def close(self) -> None:
        """Close the bar: the next output has a line of its own."""
        self.bar.close()
