"""Learning rates over a run."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


class WarmUpCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then a cosine from the peak to ``final * peak`` (or constant), times a scale.

    Args:
        peak: highest rate.
        steps: length of the run, in updates.
        warm_up: updates of the warm-up.
        final: last rate / peak; 1 keeps the peak (constant schedule).
        scale: variable that multiplies the rate; a rollback halves it.
    """

    def __init__(self, peak: float, steps: int, warm_up: int, final: float, scale: Any) -> None:
        self.peak = peak
        self.steps = steps
        self.warm_up = warm_up
        self.final = final
        self.scale = scale

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rise = ops.minimum(1.0, (step + 1.0) / max(self.warm_up, 1))
        span = max(self.steps - self.warm_up, 1)
        part = ops.clip((step - self.warm_up) / span, 0.0, 1.0)
        cosine = 0.5 * (1.0 + ops.cos(math.pi * part))
        rate = self.peak * (self.final + (1.0 - self.final) * cosine)
        return rise * rate * ops.cast(self.scale, "float32")
