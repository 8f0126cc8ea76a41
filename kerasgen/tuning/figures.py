"""Figures of a study."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from kerasgen.evaluation.figure_style import COLOURS, styled
from kerasgen.tuning.comparison import RECIPE, TUNED
from kerasgen.tuning.progress import value_text
from kerasgen.tuning.space import Parameter
from kerasgen.tuning.study import Study

MIN_LOG_RATIO = 10  # largest over smallest objective from which on the axis is logarithmic
FAILED_HEIGHT = 1.06  # height of failed trials, above the worst


def heights(trials: list[dict[str, Any]]) -> list[float | None]:
    """Objective of each trial on a log scale from the best (0) to the worst (1); None: failed."""
    known = [math.log(x["objective"]) for x in trials if (x["objective"] or 0) > 0]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    return [
        None
        if x["objective"] is None
        else (math.log(max(x["objective"], math.exp(low))) - low) / max(high - low, 1e-9)
        for x in trials
    ]


@styled
def parallel_coordinates(study: Study, results: dict[str, Any]) -> Figure:
    """Parallel coordinates: one line per trial, from its values to its objective.

    Args:
        study: that the trials belong to.
        results: content of ``results.json``.
    """
    figure = Figure(figsize=(max(8.0, 1.7 * (len(study.space) + 1)), 5.0), dpi=80)
    axes = figure.add_subplot()
    objective_heights = heights(results["trials"])
    rng = np.random.default_rng(0)  # lines of equal choices lie beside each other
    trials = zip(results["trials"], objective_heights, strict=True)
    best_last = sorted(trials, key=lambda x: -(x[1] or 0))
    for trial, height in best_last:
        track = [
            p.position(trial["values"][p.name]) + (rng.uniform(-0.02, 0.02) if p.choices else 0)
            for p in study.space
        ]
        colour = "#cccccc" if height is None else colormaps["viridis"](0.9 * height)
        end = FAILED_HEIGHT if height is None else height
        axes.plot([*track, end], color=colour, lw=1.0, alpha=0.8, zorder=1 - (height or 1))
    names = [p.name.split(".", 1)[1].replace("_", "\n") for p in study.space]
    axes.set_xticks(range(len(names) + 1), [*names, "objective"])
    axes.set_yticks([])
    axes.minorticks_off()
    for k, p in enumerate(study.space):
        axes.axvline(k, color="black", lw=0.8)
        for value in p.values():
            axes.annotate(value_text(value), (k, p.position(value)), xytext=(3, 3),
                          textcoords="offset points", fontsize=9)  # fmt: skip
    axes.axvline(len(names), color="black", lw=0.8)
    scores = [x["objective"] for x in results["trials"] if x["objective"] is not None]
    for height, value in ((0, min(scores)), (1, max(scores))):
        axes.annotate(f"{value:.3g}", (len(names), height), xytext=(3, 3),
                      textcoords="offset points", fontsize=9)  # fmt: skip
    if None in objective_heights:
        axes.annotate("failed", (len(names), FAILED_HEIGHT), xytext=(3, 3),
                      textcoords="offset points", fontsize=9)  # fmt: skip
    axes.set_xlim(-0.1, len(names) + 0.5)
    return figure


@styled
def objective_by_key(study: Study, results: dict[str, Any]) -> Figure:
    """Objective of the trials against the value of each searched key.

    Args:
        study, results: as in ``parallel_coordinates``.
    """
    columns = min(3, len(study.space))
    rows = math.ceil(len(study.space) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.9 * rows), dpi=80)
    for k, p in enumerate(study.space):
        axes = figure.add_subplot(rows, columns, k + 1)
        plot_objective(axes, p, results)
        if k % columns == 0:
            axes.set_ylabel("objective")
    return figure


def plot_objective(axes: Axes, p: Parameter, results: dict[str, Any]) -> None:
    """Plot the objective against one key: trials, the winner (star), the recipe's value (line)."""
    completed = [x for x in results["trials"] if x["objective"] is not None]
    values = [x["values"][p.name] for x in completed]
    best = results["best"]
    if p.choices:
        axes.set_xticks(range(len(p.choices)), [value_text(x) for x in p.choices])
        rng = np.random.default_rng(0)
        index = p.choices.index
        x = [index(v) + rng.uniform(-0.15, 0.15) for v in values]
        axes.set_xlim(-0.5, len(p.choices) - 0.5)
        default = index(p.default) if p.default in p.choices else None
        star = index(best["values"][p.name])
    else:
        x, star, default = values, best["values"][p.name], p.default
        if p.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(*margins(p))
        if not p.low <= default <= p.high:
            default = None
    axes.plot(x, [t["objective"] for t in completed], "o", color=COLOURS[0], alpha=0.7)
    axes.plot(star, best["objective"], "*", color=COLOURS[1], ms=13)
    if default is not None:
        axes.axvline(default, color="black", lw=0.8, ls="--")
    scores = [t["objective"] for t in completed]
    if min(scores) > 0 and max(scores) > MIN_LOG_RATIO * min(scores):
        axes.set_yscale("log")
    axes.set_xlabel(p.name)


def margins(p: Parameter) -> tuple[float, float]:
    """Limits of the axis of a parameter: its range and 5 % on both sides."""
    if p.log:
        edge = (p.high / p.low) ** 0.05
        return p.low / edge, p.high * edge
    edge = 0.05 * (p.high - p.low)
    return p.low - edge, p.high + edge


@styled
def comparison_figure(results: dict[str, Any]) -> Figure:
    """Objective of winner and recipe on the test events: each seed and the mean.

    Args:
        results: content of ``results.json``.
    """
    figure = Figure(figsize=(4.5, 3.6), dpi=80)
    axes = figure.add_subplot()
    for k, name in enumerate((TUNED, RECIPE)):
        side = results["comparison"][name]
        values = side["values"]
        axes.plot([k + 0.12] * len(values), values, "o", color=COLOURS[k], alpha=0.5)
        if side["mean"] is not None:
            axes.errorbar(k, side["mean"], side["error"] or 0.0, fmt="s", color=COLOURS[k],
                          capsize=4, ms=7)  # fmt: skip
    axes.set_xticks([0, 1], [TUNED, RECIPE])
    axes.set_xlim(-0.5, 1.5)
    axes.minorticks_off()
    axes.set_ylabel("objective, test")
    return figure
