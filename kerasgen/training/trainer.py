"""The training loop of every algorithm: steps, evaluation, checkpoints, rollback."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasgen.backend.checkpoint import load_weights, save_weights
from kerasgen.config import RunConfig
from kerasgen.errors import RunFailure
from kerasgen.kinds.kind import EventData
from kerasgen.models.algorithm import Algorithm, Batches
from kerasgen.run_folder import BEST, LAST
from kerasgen.training.distribution import distributed_dataset, together
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
    """

    algorithm: Algorithm
    config: RunConfig
    run: Path
    model: Any
    batches: Batches
    monitor: Monitor
    progress: Progress

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
    strategy: tf.distribute.Strategy | None = None,
) -> None:
    """Train to the last step; the run folder then holds the selected weights (``BEST``).

    Args:
        algorithm: how events are learned.
        config: resolved configuration.
        run: run folder, with configuration and schema.
        data: open events, divided into training and held-out events.
        resume: continue from the last checkpoint.
        initial: released weights to start from; None: random weights.
        strategy: several devices (``distribution.make_strategy``); None: one device.

    Raises:
        RunFailure: NaN or collapse, where the recipe says stop.
        KeyboardInterrupt: after saving a checkpoint.
    """
    fitted = algorithm.fit(config, data)
    algorithm.write_fitted(run, fitted)
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = algorithm.build(config, data.schema, fitted)
    if resume:
        load_weights(model, run / LAST)
    else:
        if initial is not None:
            algorithm.warm_start(model, initial, fitted)
        save_weights(model, run / LAST)
    evaluator = algorithm.evaluator(model, config, data.schema, fitted)
    reference = algorithm.kind.reference(data, config.training.evaluate_events)
    monitor = Monitor(algorithm.kind, config, run, reference, evaluator, int(model.step))
    batches = algorithm.batches(config, data, fitted)
    progress = Progress(int(model.step), algorithm.stages(config)[-1][1])
    training = Training(algorithm, config, run, model, batches, monitor, progress)
    try:
        # An interrupt between two intervals leaves a checkpoint that was not evaluated; where it
        # was, the same evaluation is repeated.
        step = training.step
        due = next_checkpoint(step - 1, training) == step if step else bool(config.training.init)
        if due:
            checkpoint(training)
        with together(strategy, run):
            train_intervals(training, strategy)
    except KeyboardInterrupt:
        print(f"\nInterrupted; {run} holds a checkpoint, and --resume goes on from it.")
        raise
    finally:
        progress.close()
        monitor.close()


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


def train_intervals(training: Training, strategy: tf.distribute.Strategy) -> None:
    """Evaluation intervals up to the last step.

    An interrupt during the steps saves them; an interrupt during an evaluation goes back to the
    checkpoint before.
    """
    model, step_function, current = training.model, None, ""
    while (step := training.step) < training.last_step:
        stage, begin = stage_of(step, training)
        if stage != current or step == begin:  # a rollback may lead to the start of a stage
            training.algorithm.begin_stage(model, stage, training.batches, step == begin)
            step_function, current = None, stage
            training.progress.begin_stage()
        steps = next_checkpoint(step, training) - step
        dataset = distributed_dataset(strategy, training.batches, step, steps)
        step_function = step_function or compiled_step(model, strategy, dataset.element_spec)
        try:
            failure = train_steps(training, step_function, dataset, step, steps)
        except KeyboardInterrupt:
            save_weights(model, training.run / LAST)
            raise
        checkpoint(training, failure)


def compiled_step(
    model: Any, strategy: tf.distribute.Strategy, batch_spec: Any
) -> Callable[[Any], Any]:
    """``model.train_step`` as a graph, on every replica; the terms are means over replicas.

    Args:
        model: a ``TrainableModel``.
        strategy: its devices.
        batch_spec: types and shapes of a batch, some of them unknown: the graph is made once.
    """

    # Steps have no control flow on tensors, so AutoGraph would only take time.
    @tf.function(input_signature=[batch_spec], autograph=False)
    def step(batch: Any) -> dict[str, Any]:
        terms = strategy.run(model.train_step, args=(batch,))
        mean = tf.distribute.ReduceOp.MEAN
        return {name: strategy.reduce(mean, x, axis=None) for name, x in terms.items()}

    return step


def train_steps(
    training: Training, step_function: Any, dataset: Any, start: int, steps: int
) -> str:
    """One evaluation interval; why it ended early, or nothing."""
    for step, batch in zip(range(start + 1, start + steps + 1), dataset, strict=True):
        terms = step_function(batch)
        training.progress.advance()
        if step % LOG_EVERY == 0 or step == start + steps:
            values = {name: float(value) for name, value in terms.items()}
            training.monitor.log_terms(step, values, training.model.optimizers)
            training.progress.show(values)
            if not all(map(math.isfinite, values.values())):
                return "a loss is not a number, try a lower learning rate"
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
        failure, improved = monitor.evaluate(step)
        if improved and not failure:
            save_weights(monitor.evaluator.network, run / BEST)
    if not failure:
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


def is_finite(model: Any) -> bool:
    """Whether every weight of a model is a number."""
    return all(np.isfinite(np.asarray(tf.reduce_sum(tf.abs(w.value)))) for w in floats(model))


def floats(model: Any) -> list[Any]:
    """The weights of a model that are no whole numbers."""
    return [w for w in model.weights if "float" in str(w.dtype)]
