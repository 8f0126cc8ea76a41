"""The recipe keys of ``training`` that every algorithm of point sets has.

They are in two parts: a configuration has its keys in the order of the bases from the last to the
first, and an algorithm may have keys of its own between the two parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from kerasgen.config import (
    Count,
    Fraction,
    Initial,
    PositiveCount,
    Precision,
    Range,
    Seed,
    Weight,
)


@dataclass(frozen=True)
class SetOptimiserSettings:
    """Length of a training, and its optimiser.

    Attributes:
        steps: training steps.
        batch: sets per step.
        rate: peak learning rate of Adam; it falls as a cosine to ``final_rate`` of it.
        final_rate: last learning rate / peak.
        warm_up: steps of linear warm-up.
    """

    steps: PositiveCount
    batch: PositiveCount = 256
    rate: Weight = 1e-3
    final_rate: Fraction = 0.01
    warm_up: Count = 100


@dataclass(frozen=True)
class SetRunSettings:
    """Precision, evaluations and start of a training.

    Attributes:
        precision: "float32", "bfloat16" or "auto".
        evaluate_every: steps between evaluations on held-out sets, each with a checkpoint.
        evaluate_events: sets of such an evaluation.
        on_collapse: "stop" or "rollback" (to the last good checkpoint, with half the rates).
        seed: of weights, noise and order of the sets.
        init: networks to start from: "" (random weights) or "zoo" (the released weights).
    """

    precision: Precision = "float32"
    evaluate_every: PositiveCount = 5000
    evaluate_events: Annotated[int, Range(100)] = 2000
    on_collapse: Literal["stop", "rollback"] = "stop"
    seed: Seed = 0
    init: Initial = ""
