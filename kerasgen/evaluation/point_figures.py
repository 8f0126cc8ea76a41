"""Figures of point sets, real beside generated, for reports and TensorBoard."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kerasgen.data.jets import jet_observables
from kerasgen.data.points import PointSets
from kerasgen.evaluation.figure_style import COLOURS, GREY, styled

BINS = 50
SHOWN = 8  # sets of a row


def plot_set(axes: Axes, sets: PointSets, row: int, jets: bool) -> None:
    """Plot a set at its positions; intensity is the area (jets) or darkness (superpixels).

    Args:
        axes: of the set.
        sets: point sets.
        row: number of the set; the axes stay empty if there is none.
        jets: jets, not superpixels.
    """
    if row < len(sets):
        x, y, intensity = sets.points[row][sets.mask[row]].T
        if jets:
            axes.scatter(x, y, s=600 * intensity + 2, c=COLOURS[0], alpha=0.6, linewidths=0)
        else:
            axes.scatter(x, y, s=90, c=intensity, cmap="Greys", vmin=0, vmax=1, marker="s",
                         edgecolors=GREY, linewidths=0.3)  # fmt: skip
    low, high = (-0.5, 0.5) if jets else (0.0, 1.0)
    axes.set(xlim=(low, high), ylim=(low, high) if jets else (high, low), xticks=[], yticks=[])
    axes.set_aspect("equal")


@styled
def side_by_side(rows: dict[str, PointSets], columns: int, jets: bool) -> Figure:
    """A row of sets for each name, as real sets, their reconstructions and generated sets."""
    figure = Figure(figsize=(1.6 * columns, 0.1 + 1.7 * len(rows)))
    grid = np.asarray(figure.subplots(len(rows), columns, squeeze=False))
    for line, (name, sets) in zip(grid, rows.items(), strict=True):
        for row, axes in enumerate(line):
            plot_set(axes, sets, row, jets)
        line[0].set_ylabel(name)
    return figure


@styled
def sets_by_class(
    generated: PointSets, names: tuple[str, ...], jets: bool, columns: int = 8
) -> Figure:
    """Generated sets, one row for each class that occurs."""
    labels = np.unique(generated.label)
    figure = Figure(figsize=(1.3 * columns, 1.35 * len(labels) + 0.3))
    grid = np.asarray(figure.subplots(len(labels), columns, squeeze=False))
    for line, label in zip(grid, labels, strict=True):
        of_class = generated.take(generated.label == label)
        for row, axes in enumerate(line):
            plot_set(axes, of_class, row, jets)
        line[0].set_ylabel(names[label] if label < len(names) else str(label))
    return figure


@styled
def kl_bars(kl: NDArray[np.floating[Any]]) -> Figure:
    """KL divergence of each latent dimension, largest first."""
    figure = Figure()
    axes = figure.subplots()
    axes.bar(np.arange(len(kl)), np.sort(kl)[::-1], color=COLOURS[0], width=1.0)
    axes.set(xlabel="latent dimension, by KL", ylabel="KL / nat", yscale="log")
    return figure


# Of the figures beside the verdict: {file name: (axis label, caption)}.
LEADING_JETS = {
    "mass": (r"jet $m / p_T$", "Mass of the jet / its pT."),
    "summed_pt": (r"$\Sigma p_T$ / jet $p_T$", "Summed pT of the constituents / pT of the jet."),
    "constituent_pt": (r"$\log_{10} p_T^{rel}$", "pT of the constituents / pT of the jet."),
}
LEADING_SUPERPIXELS = {
    "total": ("summed intensity", "Summed intensity of an image."),
    "intensity": ("intensity", "Intensity of the points."),
    "x": ("x", "Horizontal position of the points."),
}


# Of jets: {column of ``jet_sample``: axis label}.
SUBSTRUCTURE = {"tau21": r"$\tau_{21}$", "tau32": r"$\tau_{32}$", "d2": r"$D_2$"}


def feature_values(sets: PointSets, jets: bool) -> dict[str, NDArray[np.floating[Any]]]:
    """Values of the features of points and of sets, by axis label."""
    x, y, intensity = sets.points[sets.mask].T
    if not jets:
        total = sets.points[..., 2].sum(axis=1)
        points = sets.counts.astype(np.float64)
        return {"x": x, "y": y, "intensity": intensity, "summed intensity": total, "points": points}
    observables = jet_observables(sets.points, sets.mask)
    return {
        r"$\eta_{rel}$": x,
        r"$\phi_{rel}$": y,
        r"$\log_{10} p_T^{rel}$": np.log10(np.maximum(intensity, 1e-5)),
        r"jet $m / p_T$": observables["mass"],
        r"$\Sigma p_T$ / jet $p_T$": observables["pt"],
        "leading constituent": sets.points[:, 0, 2],
    }


def _distribution(
    axes: Axes,
    label: str,
    real: NDArray[np.floating[Any]],
    candidates: dict[str, NDArray[np.floating[Any]]],
    jets: bool,
) -> None:
    """Plot the distribution of a feature, real in grey; the last bins hold the overflow."""
    low, high = np.quantile(real, [0.001, 0.999])
    edges = np.linspace(low, high + 1e-6 * (1 + abs(high)), BINS + 1)
    heights = np.histogram(np.clip(real, low, high), edges, density=True)[0]
    axes.stairs(heights, edges, fill=True, color=GREY, label="real")
    for colour, (name, values) in zip(COLOURS, candidates.items(), strict=False):
        heights = np.histogram(np.clip(values, low, high), edges, density=True)[0]
        axes.stairs(heights, edges, color=colour, label=name)
    axes.set(xlabel=label, yscale="log" if jets else "linear")


@styled
def feature_distribution(
    real: PointSets, candidates: dict[str, PointSets], jets: bool, label: str
) -> Figure:
    """Distribution of one of ``feature_values``; the last bins hold the overflow."""
    figure = Figure(figsize=(7.0, 5.7))
    axes = figure.subplots()
    others = {name: feature_values(sets, jets)[label] for name, sets in candidates.items()}
    _distribution(axes, label, feature_values(real, jets)[label], others, jets)
    axes.set_ylabel("density")
    axes.legend()
    return figure


@styled
def example_sets(real: PointSets, generated: PointSets, jets: bool) -> Figure:
    """The first six sets of each sample: real left, generated right."""
    figure = Figure(figsize=(7.0, 5.7))
    halves = np.asarray(figure.subfigures(1, 2))
    for half, name, sets in zip(halves, ("real", "generated"), (real, generated), strict=True):
        half.suptitle(name)
        for row, axes in enumerate(np.asarray(half.subplots(3, 2)).ravel()):
            plot_set(axes, sets, row, jets)
    return figure


@styled
def feature_distributions(real: PointSets, candidates: dict[str, PointSets], jets: bool) -> Figure:
    """Distributions of points and sets, real in grey; the last bins hold the overflow."""
    reference = feature_values(real, jets)
    figure = Figure(figsize=(12.0, 7.0))
    grid = np.asarray(figure.subplots(2, 3)).ravel()
    others = {name: feature_values(sets, jets) for name, sets in candidates.items()}
    for axes, (name, values) in zip(grid, reference.items(), strict=False):
        _distribution(axes, name, values, {n: x[name] for n, x in others.items()}, jets)
    grid[0].legend()
    for axes in grid[len(reference) :]:
        axes.set_visible(False)
    return figure


@styled
def substructure_distributions(
    real: dict[str, NDArray[Any]], candidates: dict[str, dict[str, NDArray[Any]]]
) -> Figure:
    """Distributions of N-subjettiness ratios and D2 of jets, from columns of ``jet_sample``."""
    figure = Figure(figsize=(12.0, 3.8))
    panels = np.asarray(figure.subplots(1, len(SUBSTRUCTURE)))
    for axes, (column, label) in zip(panels, SUBSTRUCTURE.items(), strict=True):
        others = {name: sample[column] for name, sample in candidates.items()}
        _distribution(axes, label, real[column], others, jets=True)
    panels[-1].legend()
    return figure
