"""Processor time of the start of a training, part by part, to the end of its first step.

``python benchmarks/start_up.py RECIPE [--data FILE.h5] [--set ...]`` takes the arguments of
``kerasgen train``. It prints a Markdown table and ends the training there; the run folder is a
temporary one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasgen.keras_import import check_keras
from kerasgen.quiet_import import quiet_tensorflow

ROWS: list[tuple[str, float]] = []


class FirstStepDone(BaseException):
    """Ends the training."""


def timed(owner: Any, name: str, part: str) -> None:
    """Replace a function by one that records its processor time."""
    function: Callable[..., Any] = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        result = function(*arguments, **options)
        ROWS.append((part, time.process_time() - start))
        return result

    setattr(owner, name, call)


def main() -> None:
    quiet_tensorflow()
    check_keras()
    from kerasgen.models.algorithm import algorithm_of
    from kerasgen.training import trainer
    from kerasgen.zoo import train
    from kerasgen.zoo.recipes import load_config

    algorithm = algorithm_of(load_config(sys.argv[1]).algorithm)
    ROWS.append(("import", time.process_time()))
    timed(algorithm, "check_schema", "check of the networks")
    timed(algorithm, "check_events", "check of the events")
    timed(algorithm, "fit", "statistics of the events")
    timed(algorithm, "build", "networks")
    timed(algorithm, "evaluator", "evaluator")
    timed(type(algorithm.kind), "reference", "held-out events")
    timed(trainer, "save_weights", "first checkpoint")

    class FirstStep(trainer.CompiledStep):
        def __call__(self, *inputs: Any) -> Any:
            begin = time.process_time()
            for value in super().__call__(*inputs).values():
                float(value)
            ROWS.append(("first step", time.process_time() - begin))
            raise FirstStepDone

    trainer.CompiledStep = FirstStep  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        try:
            train.main([*sys.argv[1:], "--run", str(Path(folder) / "run")])
        except FirstStepDone:
            ROWS.append(("all", time.process_time()))
    print("\n| part | s |\n|---|---|")
    for part, took in ROWS:
        print(f"| {part} | {took:.1f} |")


if __name__ == "__main__":
    main()
