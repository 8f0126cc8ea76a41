"""Evaluation during training: generated against held-out events, in files and TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from tensorboard.plugins.hparams import summary_v2 as hparams  # ``api`` imports Keras 2

from kerasgen.config import RunConfig, as_table
from kerasgen.kinds.kind import DataKind, Reference
from kerasgen.models.algorithm import Evaluator
from kerasgen.run_folder import BEST, append_metrics, best_score, read_metrics
from kerasgen.training.event_log import EventLog


class Monitor:
    """Metrics, figures and the selection of the best checkpoint.

    What only evaluations need is made for the first of them: the training starts without.

    Args:
        kind: of the events.
        config: of the run.
        run: run folder.
        reference: makes the held-out events.
        evaluator: makes the generator of the training.
        step: the run starts or goes on from here; what was recorded later does not count.
    """

    def __init__(
        self,
        kind: DataKind,
        config: RunConfig,
        run: Path,
        reference: Callable[[], Reference],
        evaluator: Callable[[], Evaluator],
        step: int,
    ) -> None:
        self.kind = kind
        self.config = config
        self.run = run
        self.make_reference = reference
        self.make_evaluator = evaluator
        # A run that came from another machine has left its best checkpoint there.
        self.best = best_score(run, step) if (run / BEST).is_file() else math.inf
        # The evaluation of this step, which a resume repeats, is in the log already.
        self.logged = {x["step"] for x in read_metrics(run)} & {step}
        self.log = EventLog(run / "logs")
        self.log.drop_from(step + 1)
        self.log.summary(hparams.hparams_pb(dotted(as_table(config)), trial_id=run.name), 0)

    @cached_property
    def reference(self) -> Reference:
        """Held-out events."""
        return self.make_reference()

    @cached_property
    def evaluator(self) -> Evaluator:
        """The generator of the training."""
        return self.make_evaluator()

    def log_terms(self, step: int, values: dict[str, float], optimizers: dict[str, Any]) -> None:
        """Loss terms and learning rates of a training step."""
        for name, value in values.items():
            self.log.scalar(name, value, step)
        for name, optimizer in optimizers.items():
            self.log.scalar(f"{name}/learning_rate", optimizer.learning_rate, step)

    def go_back(self, step: int) -> None:
        """Forget what was recorded after a step, from which the training goes on."""
        self.best = best_score(self.run, step + 1)
        self.log.drop_from(step + 1)

    def evaluate(self, step: int) -> tuple[str, bool]:
        """Evaluate the generator at a step.

        Returns:
            The failure (empty if there is none), and whether the generator is the best so far.
        """
        self.evaluator.update()
        events, seed = range(self.reference.generated_events), self.config.training.seed
        generated = self.kind.generate(self.evaluator.model, events, seed)
        history = [x for x in read_metrics(self.run) if x["step"] < step]
        comparison = self.reference.compare(generated, history)
        diagnostics = self.evaluator.diagnostics(self.reference.events, generated)
        values = comparison.values | diagnostics.values
        score = comparison.score
        by_score = self.evaluator.chosen_by_score and (self.run / BEST).is_file()
        improved = score is None or not by_score or score < self.best
        document: dict[str, Any] = {"metrics": {k: finite(v) for k, v in values.items()}}
        scalars = {f"held_out/{name}": value for name, value in values.items()}
        if score is not None:
            self.best = min(score, self.best)
            document["score"] = finite(score)
            scalars["held_out/score"] = score
        append_metrics(self.run, step, document)
        if step in self.logged:
            return comparison.failure, improved
        histograms = self.reference.histograms(generated) | diagnostics.histograms
        figures = self.reference.figures(generated, comparison) | diagnostics.figures
        for name, value in (scalars | diagnostics.scalars).items():
            self.log.scalar(name, value, step)
        for name, array in histograms.items():
            self.log.histogram(name, array, step)
        for name, figure in figures.items():
            self.log.figure(name, figure, step)
        self.log.flush()
        return comparison.failure, improved

    def close(self) -> None:
        """Close the log."""
        self.log.close()


def finite(value: float) -> float | None:
    """The value, as JSON takes it."""
    return value if math.isfinite(value) else None


def dotted(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots, as TensorBoard's HParams wants them."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= dotted(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value) if isinstance(value, list) else value
    return flat
