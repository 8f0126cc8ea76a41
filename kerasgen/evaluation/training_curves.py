"""Training curves of a run, from its logs: losses and held-out metrics by step, and hours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kerasgen.evaluation.figure_style import COLOURS, styled
from kerasgen.run_folder import read_metrics

LOSS = "loss"  # last part of the tag of a loss in TensorBoard
# Held-out metrics of the figure, where a run has them.
SHOWN = (
    "adu_w1", "occupancy_per_sensor", "cluster_size_w1", "cluster_charge_w1", "variance_over_mean",
    "reconstruction", "kl", "flow", "w1_points", "w1_mass",
)  # fmt: skip

Curve = dict[int, float]  # value by step


@dataclass(frozen=True)
class TrainingLog:
    """Curves of a run.

    Attributes:
        losses: by name.
        held_out: metrics of the evaluations during training, by name.
        hours: wall-clock time with evaluations, without pauses between the parts of a run.
    """

    losses: dict[str, Curve]
    held_out: dict[str, Curve]
    hours: float


def read_log(run: Path) -> TrainingLog:
    """Read ``logs/`` and ``metrics.jsonl`` of a run folder."""
    losses: dict[str, Curve] = {}
    seconds = 0.0
    for path in sorted((run / "logs").glob("events.out.tfevents.*")):
        first = last = 0.0
        for time, step, tag, value in _scalars(path):
            first, last = first or time, time
            if tag.rpartition("/")[2] == LOSS:
                losses.setdefault(tag.replace("/", " "), {})[step] = value
        seconds += last - first
    held_out: dict[str, Curve] = {}
    for line in read_metrics(run):
        if "verdict" not in line:  # the evaluation at the end has a table of its own
            for name in SHOWN:
                if line["metrics"].get(name) is not None:
                    held_out.setdefault(name, {})[line["step"]] = line["metrics"][name]
    return TrainingLog(losses, held_out, seconds / 3600)


def _scalars(path: Path) -> Iterator[tuple[float, int, str, float]]:
    """Yield (time, step, tag, value) of the scalars of a TensorBoard file; tag "" for the rest."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    for event in EventFileLoader(str(path)).Load():
        yield event.wall_time, event.step, "", 0.0
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "scalars":
                yield event.wall_time, event.step, value.tag, float(make_ndarray(value.tensor))


@styled
def training_curves(log: TrainingLog) -> Figure:
    """Losses, and held-out metrics, by step; one panel each."""
    panels: dict[str, dict[str, Curve]] = {"loss": log.losses} if log.losses else {}
    panels |= {name.replace("_", " "): {"held out": curve} for name, curve in log.held_out.items()}
    rows = (len(panels) + 2) // 3
    figure = Figure(figsize=(13.0, 3.6 * max(rows, 1)))
    grid = np.asarray(figure.subplots(max(rows, 1), 3, squeeze=False)).ravel()
    for axes, (name, curves) in zip(grid, panels.items(), strict=False):
        for colour, (label, curve) in zip(COLOURS, sorted(curves.items()), strict=False):
            steps, values = np.array(sorted(curve.items())).T
            few = len(steps) < 50
            axes.plot(steps, values, color=colour, label=label, marker="o" if few else None)
        axes.set(xlabel="step", ylabel=name)
        if len(curves) > 1:
            axes.legend()
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return figure
