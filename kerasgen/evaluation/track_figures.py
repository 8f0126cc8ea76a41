"""Figures of tracks under no, real and generated background."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from kerasgen.evaluation.figure_style import COLOURS, styled
from kerasgen.evaluation.hit_figures import ratio_axis


@styled
def track_resolution(tracking: dict[str, Any]) -> Figure:
    """Resolution of d0 and z0 by transverse momentum, and its ratio to real background.

    Args:
        tracking: from ``kerasgen.tracking.measures.tracking_table``.
    """
    edges = np.array(tracking["pt_edges"])
    centre = np.sqrt(edges[1:] * edges[:-1])
    half = np.stack([centre - edges[:-1], edges[1:] - centre])
    figure = Figure(figsize=(14, 6.5))
    grid = np.asarray(figure.subplots(2, 2, sharex=True, height_ratios=[3, 1]))
    for column, name in enumerate(("d0", "z0")):
        upper, lower = grid[:, column]
        cases = {k: np.array(c[name], float).T for k, c in tracking["cases"].items()}
        real, _ = cases["real background"]
        max_deviation = 0.0
        for i, (case, (value, error)) in enumerate(cases.items()):
            colour = "black" if i == 0 else COLOURS[(i - 1) % len(COLOURS)]
            upper.errorbar(centre, value, error, half, fmt="o", color=colour, label=case)
            lower.errorbar(centre, value / real, error / real, half, fmt="o", color=colour)
            max_deviation = max(max_deviation, float(np.abs(value / real - 1).max()))
        lower.axhline(1, color="black", linewidth=0.8)
        upper.set_ylabel(f"{name} resolution (um)")
        upper.set_ylim(0, 1.15 * upper.get_ylim()[1])
        ratio_axis(lower, max_deviation)
        lower.set_xscale("log")
        lower.set_xticks([0.2, 0.5, 1, 2], ["0.2", "0.5", "1", "2"])
        lower.xaxis.set_minor_formatter(NullFormatter())
        lower.set_xlabel("pT (GeV)")
    grid[0, 1].legend(loc="upper right")
    return figure


@styled
def track_residuals(tracking: dict[str, Any]) -> Figure:
    """Distribution of d0 and z0 residuals, and its ratio to real background.

    Args:
        tracking: from ``kerasgen.tracking.measures.tracking_table``.
    """
    figure = Figure(figsize=(14, 6.5))
    grid = np.asarray(figure.subplots(2, 2, height_ratios=[3, 1]))
    for column, (name, found) in enumerate(tracking["residuals"].items()):
        upper, lower = grid[:, column]
        lower.sharex(upper)
        edges = 1000 * np.array(found["edges"])
        real = np.array(found["real background"])
        for i, case in enumerate(k for k in found if k != "edges"):
            colour = "black" if i == 0 else COLOURS[(i - 1) % len(COLOURS)]
            density = np.array(found[case]) / 1000
            upper.stairs(density, edges, color=colour, label=case)
            ratio = np.divide(1000 * density, real, out=np.ones_like(real), where=real > 0)
            lower.stairs(ratio, edges, color=colour)
        lower.axhline(1, color="black", linewidth=0.8)
        ratio_axis(lower, 0.5)
        upper.set_yscale("log")
        upper.tick_params(labelbottom=False)
        upper.set_ylabel("fraction of tracks / um")
        lower.set_xlabel(f"{name}, fitted minus true (um)")
    grid[0, 1].legend(loc="upper right")
    return figure
