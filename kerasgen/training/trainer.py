"""The training loop of every algorithm: steps, evaluation, checkpoints, rollback."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from kerasgen.backend.checkpoint import (
    load_weights,
    save_weights,
    weights_content,
    write_content,
)
from kerasgen.backend.engine import CompiledStep
from kerasgen.config import RunConfig
from kerasgen.data.prefetch import prefetched
from kerasgen.errors import RunFailure
from kerasgen.kinds.kind import EventData
from kerasgen.models.algorithm import Algorithm, Batches
from kerasgen.run_folder import BEST, LAST
from kerasgen.training.deadline import Deadline, OutOfTime
from kerasgen.training.interrupts import Interrupts
from kerasgen.training.monitor import Monitor
from kerasgen.training.progress import Progress

# A rollback does not go below this fraction of the learning rates.
MIN_RATE_SCALE = 1 / 16
LOG_EVERY = 20  # steps


@dataclass(frozen=True)
class Training:
    """A running training.

    Attributes:
        algorithm: how events are learned.
        config: resolved configuration.
        run: run folder.
        model: a ``TrainableModel``.
        batches: training batches.
        monitor: evaluates.
        progress: progress bar.
        mesh: devices that share every step; None: one device.
        deadline: when the training must have ended.
        interrupts: Ctrl-C.
    """

    algorithm: Algorithm
    config: RunConfig
    run: Path
    model: Any
    batches: Batches
    monitor: Monitor
    progress: Progress
    mesh: Any = None
    deadline: Deadline = field(default_factory=Deadline)
    interrupts: Interrupts = field(default_factory=Interrupts)

    @property
    def step(self) -> int:
        """Steps that are done."""
        return int(self.model.step)

    @property
    def last_step(self) -> int:
        """Steps of the whole training."""
        return self.algorithm.stages(self.config)[-1][1]


def train(
    algorithm: Algorithm,
    config: RunConfig,
    run: Path,
    data: EventData,
    resume: bool = False,
    initial: Path | None = None,
    mesh: Any = None,
    deadline: Deadline | None = None,
) -> None:
    """Train to the last step; the run folder then holds the selected weights (``BEST``).

    Args:
        algorithm: how events are learned.
        config: resolved configuration.
        run: run folder, with configuration and schema.
        data: open events, divided into training and held-out events.
        resume: continue from the last checkpoint.
        initial: released weights to start from; None: random weights.
        mesh: devices that share every step, see ``use_all_devices``; None: one device.
        deadline: when the training must have ended; None: no limit.

    Raises:
        OutOfTime: the deadline does not leave enough time; after saving a checkpoint.
        RunFailure: NaN or collapse, where the recipe says stop.
        KeyboardInterrupt: after saving a checkpoint.
    """
    fitted = algorithm.fit(config, data)
    algorithm.write_fitted(run, fitted)
    model = algorithm.build(config, data.schema, fitted)
    if resume:
        load_weights(model, run / LAST)
        print(f"Goes on from step {int(model.step)}", flush=True)
    else:
        if initial is not None:
            algorithm.warm_start(model, initial, fitted)
        save_weights(model, run / LAST)
    monitor = Monitor(
        algorithm.kind,
        config,
        run,
        lambda: algorithm.kind.reference(data, config.training.evaluate_events),
        lambda: algorithm.evaluator(model, config, data.schema, fitted),
        int(model.step),
    )
    batches = algorithm.batches(config, data, fitted)
    progress = Progress(int(model.step), algorithm.stages(config)[-1][1])
    deadline = deadline or Deadline()
    training = Training(algorithm, config, run, model, batches, monitor, progress, mesh, deadline)
    try:
        with training.interrupts.handled():
            # An interrupt between two intervals leaves a checkpoint that was not evaluated; where
            # it was, the same evaluation is repeated.
            step = training.step
            started = next_checkpoint(step - 1, training) == step if step else config.training.init
            if started and resume:
                evaluate_first(training)
            elif started:
                deadline.check("evaluation")
                checkpoint(training)
            train_intervals(training)
    except KeyboardInterrupt:
        print(f"\nInterrupted; {run} holds a checkpoint, and --resume goes on from it.")
        raise
    except OutOfTime:
        print(f"\nTime is over; {run} holds step {training.step}, and --resume goes on from it.")
        raise
    finally:
        progress.close()
        monitor.close()


def evaluate_first(training: Training) -> None:
    """The evaluation that an earlier run has left, whatever time it takes.

    Cut off, it would be left to the next resume, and so on for ever; left out, it would change what
    follows: the choice of the weights, and at the end of a stage the training itself.
    """
    deadline = training.deadline
    if deadline.limited:
        print(f"Evaluates step {training.step} first, which may take longer than --minutes says")
    with deadline.lifted():
        checkpoint(training)


def next_checkpoint(step: int, training: Training) -> int:
    """The step of the next evaluation: every so many steps, and at the end of each stage."""
    every = training.config.training.evaluate_every
    ends = [end for _, end in training.algorithm.stages(training.config) if end > step]
    return min((step // every + 1) * every, *ends)


def stage_of(step: int, training: Training) -> tuple[str, int]:
    """The stage that a step belongs to, and the step at which it begins."""
    begin = 0
    for stage, end in training.algorithm.stages(training.config):
        if step < end:
            return stage, begin
        begin = end
    raise ValueError(f"step {step} is beyond the last stage")


def train_intervals(training: Training) -> None:
    """Evaluation intervals up to the last step.

    An interrupt during the steps saves them; an interrupt during an evaluation goes back to the
    checkpoint before.
    """
    model, compiled, current = training.model, None, ""
    while (step := training.step) < training.last_step:
        stage, begin = stage_of(step, training)
        if stage != current or step == begin:  # a rollback may lead to the start of a stage
            training.algorithm.begin_stage(model, stage, training.batches, step == begin)
            compiled, current = None, stage
            several = len(training.algorithm.stages(training.config)) > 1
            training.progress.begin_stage(stage if several else "")
        compiled = compiled or compiled_step(model, training.mesh)
        try:
            failure = train_steps(training, compiled, range(step, next_checkpoint(step, training)))
            if not failure:
                training.deadline.check("evaluation")
        except (KeyboardInterrupt, OutOfTime):
            if is_finite(model):
                save_weights(model, training.run / LAST)
            raise
        checkpoint(training, failure)


def compiled_step(model: Any, mesh: Any = None) -> CompiledStep:
    """A step of a ``TrainableModel``: draw its noise, then ``train_step``."""

    def step(real: Any) -> dict[str, Any]:
        return model.train_step(real, model.noise(real))

    return CompiledStep(step, model.state, mesh)


def train_steps(training: Training, compiled: CompiledStep, steps: range) -> str:
    """One evaluation interval; why it ended early, or nothing.

    Args:
        training: that runs.
        compiled: of ``compiled_step``.
        steps: numbers of the steps.
    """
    compiled.read_variables()
    try:
        with prefetched(map(training.batches.batch_at, steps)) as batches:
            for step, batch in zip(steps, batches, strict=True):
                training.deadline.check("step")
                # The first step of a stage compiles it, and says nothing about the next.
                part = "step" if training.progress.done else "compilation"
                with training.interrupts.deferred(), training.deadline.measure(part):
                    terms = compiled(batch)
                    training.progress.advance()
                    if training.deadline.limited:
                        float(next(iter(terms.values())))  # waits for the end of the step
                done = step + 1
                if done % LOG_EVERY and done != steps.stop:
                    continue
                values = {name: float(value) for name, value in terms.items()}
                compiled.write_variables()
                training.monitor.log_terms(done, values, training.model.optimizers)
                training.progress.show(values)
                if not all(map(math.isfinite, values.values())):
                    return "a loss is not a number, try a lower learning rate"
    finally:
        compiled.write_variables()
    return ""


def checkpoint(training: Training, failure: str = "") -> None:
    """Evaluate the generator, keep the best, save the state; stop or roll back on a failure.

    Raises:
        RunFailure: a failure, and the recipe says stop, or the rates are at their minimum.
    """
    model, run, monitor, step = training.model, training.run, training.monitor, training.step
    if not failure and not is_finite(model):
        failure = "a weight is not a number"
    if not failure:
        failure, improved = evaluated(training)
        if improved and not failure:
            save_weights(monitor.evaluator.network, run / BEST)
    if not failure:
        with training.deadline.measure("save"):
            save_weights(model, run / LAST)
        return
    if training.config.training.on_collapse == "rollback":
        load_weights(model, run / LAST)
        scale = 0.5 * float(model.rate_scale)
        if scale >= MIN_RATE_SCALE:
            model.rate_scale.assign(scale)
            save_weights(model, run / LAST)
            back = training.step
            monitor.go_back(back)
            training.progress.go_back(back)
            print(f"\nStep {step}: {failure}; back to step {back} with half the rates.")
            return
    raise RunFailure(
        f"step {step}: {failure}; the last good checkpoint is kept in {run / LAST} "
        "(training.on_collapse = 'rollback' goes back to it with half the rates)"
    )


def evaluated(training: Training) -> tuple[str, bool]:
    """``Monitor.evaluate`` of this step.

    Raises:
        OutOfTime: it takes too long; the steps are saved, and a resume evaluates them first.
    """
    model, deadline, step = training.model, training.deadline, training.step
    state = weights_content(model) if deadline.limited else None  # an evaluation may change them
    try:
        with deadline.alarm(), deadline.measure("evaluation"):
            return training.monitor.evaluate(step)
    except OutOfTime:
        if state is not None:
            write_content(state, training.run / LAST)
        raise


def is_finite(model: Any) -> bool:
    """Whether every weight of a model is a number."""
    return all(np.isfinite(np.asarray(ops.sum(ops.abs(w.value)))) for w in floats(model))


def floats(model: Any) -> list[Any]:
    """The weights of a model that are no whole numbers."""
    return [w for w in model.weights if "float" in str(w.dtype)]
