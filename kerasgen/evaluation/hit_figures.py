"""Figures of pixel hits, real beside generated, for reports and TensorBoard.

``candidates`` are summaries by name, as {"uncalibrated": ..., "calibrated": ...}; the reference is
grey. Error bars and bands are standard errors over events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, to_dense
from kerasgen.evaluation.figure_style import COLOURS, GREY, styled
from kerasgen.metrics.summary import Summary, histogram_edges, layer_index

WIDTH = 7.0  # inches of a figure
PLOT_BINS = 50  # of a spectrum, at most
SPOTS = 75  # spots per inch of a hit map, at most


@styled
def hit_maps(
    real: Hits, generated: Hits, geometry: Geometry, name: str = "generated", layers: int = 2
) -> Figure:
    """Hit maps of whole sensors and a part of each, real beside generated; dark is high charge.

    Shows the first image of the sensor in the middle of each layer. Each spot of a whole sensor is
    the highest charge of a square of pixels, so that lone hits are visible; the part below shows
    single pixels.

    Args:
        real, generated: hits with at least one image of each of those sensors.
        geometry: the detector.
        name: title of the generated column.
        layers: number of layers shown, if there are so many.
    """
    rows = [[("real, ", real, k), (f"{name}, ", generated, k)] for k in _shown(geometry, layers)]
    return _maps(rows, geometry)


@styled
def event_maps(hits: Hits, geometry: Geometry) -> Figure:
    """Hit maps of the first event; see ``hit_maps``."""
    return _maps([[("", hits, sensor) for sensor in _shown(geometry, 2)]], geometry)


def _shown(geometry: Geometry, most: int) -> list[int]:
    """The sensor in the middle of each of the first layers."""
    layers = layer_index(geometry)
    found = [np.flatnonzero(layers == k) for k in range(min(most, int(layers.max()) + 1))]
    return [int(s[len(s) // 2]) for s in found]


def _maps(rows: list[list[tuple[str, Hits, int]]], geometry: Geometry) -> Figure:
    """Hit maps of whole sensors, and a part of each below.

    Args:
        rows: of (beginning of the title, hits, sensor), of which the first image is shown.
        geometry: the detector.
    """
    boxes = _whole(geometry), _middle(geometry)
    width = (WIDTH - 0.4) / len(rows[0]) - 0.8  # inches of a panel, without its labels
    heights = [width * (box[1] - box[0]) / (box[3] - box[2]) for box in boxes] * len(rows)
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.95 * len(heights) + 1.0))
    grid = np.asarray(
        figure.subplots(len(heights), len(rows[0]), squeeze=False, height_ratios=heights)
    )
    images = [
        [to_dense(hits.take(np.flatnonzero(hits.sensor == k)[:1]), geometry)[0] for _, hits, k in r]
        for r in rows
    ]
    highest = max(int(image.max()) for line in images for image in line)
    norm = LogNorm(geometry.threshold, max(geometry.threshold + 1, highest))
    colours = mpl.colormaps["magma_r"].with_extremes(bad=(1, 1, 1, 0))
    for k, row in enumerate(rows):
        for column, (of, _, sensor) in enumerate(row):
            image = images[k][column]
            for part, box, what in zip((0, 1), boxes, ("sensor", "part of"), strict=True):
                ax = grid[2 * k + part, column]
                _show_part(ax, image, box, width, norm, colours)
                top, bottom, left, right = box
                fired = np.mean(image[top:bottom, left:right] > 0)
                named = f"{of}{what} {geometry.names[sensor]}\n{100 * fired:.2f} % fired"
                ax.set_title(named, loc="left", fontsize=11)
                if column == 0:
                    ax.set_ylabel("row (u)")
            _frame(grid[2 * k, column], boxes[1])
    for ax in grid[-1]:
        ax.set_xlabel("column (v)")
    bar = figure.colorbar(
        mpl.cm.ScalarMappable(norm, colours), ax=grid, label="charge (ADU)",
        location="bottom", aspect=50, pad=0.01,
    )  # fmt: skip
    bar.ax.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    bar.ax.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%d"))
    bar.ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    return figure


def _whole(geometry: Geometry) -> tuple[int, int, int, int]:
    """Row and column ranges of the sensor."""
    return 0, geometry.rows, 0, geometry.cols


def _middle(geometry: Geometry) -> tuple[int, int, int, int]:
    """Row and column ranges (first, end) of the enlarged part, at most 80 x 90 pixels."""
    rows, cols = max(1, min(80, geometry.rows // 3)), max(1, min(90, geometry.cols // 4))
    row, col = (geometry.rows - rows) // 2, (geometry.cols - cols) // 2
    return row, row + rows, col, col + cols


def _show_part(
    ax: Axes,
    image: NDArray[Any],
    box: tuple[int, int, int, int],
    width: float,
    norm: LogNorm,
    colours: Colormap,
) -> None:
    """Show the pixels of a box (first and end row, first and end column) with their charge.

    Args:
        ax: of the panel.
        image: charges [rows, cols], 0 where nothing fired.
        box: what is shown.
        width: of the panel, inches.
        norm, colours: of the charge.
    """
    top, bottom, left, right = box
    part = image[top:bottom, left:right]
    side = -(-part.shape[1] // int(width * SPOTS))
    high, wide = (-(-n // side) for n in part.shape)
    padding = (0, high * side - part.shape[0]), (0, wide * side - part.shape[1])
    spots = np.pad(part, padding).reshape(high, side, wide, side).max(axis=(1, 3))
    extent = (left - 0.5, left + wide * side - 0.5, top - 0.5, top + high * side - 0.5)
    ax.imshow(
        np.ma.masked_equal(spots, 0), norm=norm, cmap=colours, origin="lower", extent=extent,
        interpolation="none",
    )  # fmt: skip
    ax.set_xlim(left - 0.5, right - 0.5)
    ax.set_ylim(top - 0.5, bottom - 0.5)
    ax.tick_params(which="both", direction="out", top=False, right=False)  # ticks hide no hit


def _frame(ax: Axes, box: tuple[int, int, int, int]) -> None:
    """Draw the border of a box."""
    top, bottom, left, right = box
    x = np.array([left, right, right, left, left]) - 0.5
    y = np.array([top, top, bottom, bottom, top]) - 0.5
    ax.plot(x, y, color=COLOURS[0], linewidth=1.2, zorder=-1)  # hides no hit


@styled
def adu_spectrum(reference: Summary, candidates: dict[str, Summary]) -> Figure:
    """Charge spectrum of fired pixels; the ratio to the reference is below."""
    figure = Figure(figsize=(WIDTH, 5.7))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _spectrum(upper, lower, reference, candidates, "adu")
    upper.set_ylabel("fraction of fired pixels / ADU")
    lower.set_xlabel("charge of a fired pixel (ADU)")
    upper.legend(loc="upper right")
    return figure


@styled
def cluster_sizes(reference: Summary, candidates: dict[str, Summary]) -> Figure:
    """Distribution of the number of pixels of a cluster; the ratio to the reference is below."""
    figure = Figure(figsize=(WIDTH, 5.7))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _spectrum(upper, lower, reference, candidates, "size")
    upper.set_ylabel("fraction of clusters / pixel")
    lower.set_xlabel("cluster size (pixels)")
    upper.legend(loc="upper right")
    return figure


@styled
def cluster_distributions(reference: Summary, candidates: dict[str, Summary]) -> Figure:
    """Size, charge and extent in u and v of clusters, with ratios to the reference."""
    panels = {
        "size": "cluster size (pixels)",
        "charge": "cluster charge (ADU)",
        "size_u": "cluster extent in u (pixels)",
        "size_v": "cluster extent in v (pixels)",
    }
    figure = Figure(figsize=(14, 11))
    grid = np.asarray(figure.subplots(4, 2, height_ratios=[3, 1, 3, 1]))
    for i, (name, label) in enumerate(panels.items()):
        upper, lower = grid[2 * (i // 2), i % 2], grid[2 * (i // 2) + 1, i % 2]
        lower.sharex(upper)
        _spectrum(upper, lower, reference, candidates, name)
        upper.tick_params(labelbottom=False)
        upper.set_ylabel("fraction / " + ("ADU" if name == "charge" else "pixel"))
        lower.set_xlabel(label)
    grid[0, 0].legend(loc="upper right")
    return figure


@styled
def sensor_occupancies(reference: Summary, candidates: dict[str, Summary]) -> Figure:
    """Mean occupancy of each sensor, by layer, and its ratio to the reference."""
    geometry = reference.geometry
    x = np.arange(len(geometry.sensors))
    layers = layer_index(geometry)
    figure = Figure(figsize=(WIDTH, 5.7))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    mean, error = _mean_and_error(reference.occupancy)
    upper.stairs(100 * mean, np.append(x - 0.5, x[-1] + 0.5), fill=True, color=GREY, label="real")
    lower.axhline(1, color="black", linewidth=0.8)
    max_deviation = 0.0
    for (name, sample), colour, shift in _shifted(candidates, 0.12):
        m, e = _mean_and_error(sample.occupancy)
        upper.errorbar(x + shift, 100 * m, 100 * e, fmt="o", color=colour, label=name)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = m / mean
            ratio_error = np.nan_to_num(ratio * np.hypot(e / m, error / mean))
        lower.errorbar(x + shift, ratio, ratio_error, fmt="o", color=colour)
        max_deviation = max(max_deviation, np.abs(ratio[np.isfinite(ratio)] - 1).max(initial=0))
    for k in range(1, int(layers.max()) + 1):
        for ax in (upper, lower):
            ax.axvline(np.argmax(layers == k) - 0.5, color="black", linewidth=1, linestyle=":")
    upper.set_ylabel("mean occupancy (%)")
    upper.set_ylim(0, 1.2 * upper.get_ylim()[1])
    upper.set_xlim(-1, len(x))
    upper.legend(loc="upper right", ncols=3)
    ratio_axis(lower, max_deviation)
    step = -(-len(x) // 40)  # of many sensors only some are named
    lower.set_xticks(x[::step], geometry.names[::step], rotation=90, fontsize=9)
    lower.minorticks_off()
    lower.set_xlabel("sensor")
    return figure


@styled
def occupancy_distribution(reference: Summary, candidates: dict[str, Summary]) -> Figure:
    """Distribution of the occupancy of images, one panel per layer."""
    layers = layer_index(reference.geometry)
    panels = int(layers.max()) + 1
    figure = Figure(figsize=(6.5 * panels + 1, 5))
    for k, ax in enumerate(np.atleast_1d(figure.subplots(1, panels))):
        values = {
            name: 100 * s.occupancy[:, layers == k].ravel()
            for name, s in {"real": reference, **candidates}.items()
        }
        low, high = np.percentile(np.concatenate(list(values.values())), [0, 99.9])
        bins = np.linspace(low, max(high, low + 1e-3), 41)
        for i, (name, v) in enumerate(values.items()):
            density = np.histogram(v, bins)[0] / len(v) / np.diff(bins)
            style = {"fill": True, "color": GREY} if i == 0 else {"color": COLOURS[(i - 1) % 4]}
            ax.stairs(density, bins, label=name, linewidth=1.5, **style)
        layer = sorted({s.layer for s in reference.geometry.sensors})[k]
        ax.set_title(f"layer {layer}", loc="left")
        ax.set_xlabel("occupancy of an image (%)")
        ax.set_ylabel("fraction of images / %")
        ax.legend(loc="upper right")
    return figure


def _shifted(
    candidates: dict[str, Summary], step: float
) -> Iterator[tuple[tuple[str, Summary], str, float]]:
    """Candidates with their colours and small shifts along x, so that none hides another."""
    middle = (len(candidates) - 1) / 2
    for i, item in enumerate(candidates.items()):
        yield item, COLOURS[i % len(COLOURS)], step * (i - middle)


def _spectrum(
    upper: Axes,
    lower: Axes,
    reference: Summary,
    candidates: dict[str, Summary],
    name: str,
) -> None:
    """Plot densities above and ratios below; the grey band is the error of the reference."""
    bins = _plot_bins([reference, *candidates.values()], name)
    density, error = _density(reference, name, bins)
    upper.stairs(density, bins, fill=True, color=GREY, label="real")
    with np.errstate(divide="ignore", invalid="ignore"):
        band = np.nan_to_num(error / density)
    lower.stairs(1 + band, bins, baseline=1 - band, fill=True, color=GREY)
    lower.axhline(1, color="black", linewidth=0.8)
    max_deviation = 0.0
    centre = (bins[:-1] + bins[1:] - 1) / 2
    for (label, sample), colour, _ in _shifted(candidates, 0.0):
        d, e = _density(sample, name, bins)
        upper.stairs(d, bins, color=colour, label=label, linewidth=1.5)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio, ratio_error = d / density, e / density
        known = np.isfinite(ratio) & (ratio > 0)
        sure = known & (np.hypot(ratio_error, band) < 0.1 * ratio)
        max_deviation = max(max_deviation, np.abs(ratio[sure] - 1).max(initial=0))
        lower.errorbar(centre[known], ratio[known], ratio_error[known], fmt=".", color=colour)
    lit = density[density > 0]
    upper.set_yscale("log")
    if len(lit):
        upper.set_ylim(lit.min() / 3, lit.max() * 5)
    if bins[-1] > 1000:
        upper.set_xscale("log")
    upper.set_xlim(bins[0], bins[-1])
    ratio_axis(lower, max_deviation)


def ratio_axis(ax: Axes, max_deviation: float) -> None:
    """Label and scale the axis of a ratio to 1 ± 1.15 times the largest deviation.

    Args:
        ax: the axis.
        max_deviation: largest deviation of a well-measured ratio from 1; the range is at least
            20 % and at most 100 %.
    """
    half = min(1.0, max(0.2, 1.15 * max_deviation))
    ax.set_ylabel("ratio")
    ax.set_ylim(1 - half, 1 + half)


def _plot_bins(samples: list[Summary], name: str) -> NDArray[np.int64]:
    """Bin edges for a figure: of the summaries' edges, without the last 1e-4 of the entries."""
    all_edges = histogram_edges(samples[0].geometry)[name]
    first, last = len(all_edges) - 2, 1
    for counts in (s.histograms[name].sum(axis=(0, 1), dtype=np.int64) for s in samples):
        if counts.any():
            first = min(first, int(np.argmax(counts > 0)))
            last = max(last, int((counts.cumsum() < 0.9999 * counts.sum()).sum()))
    used = all_edges[min(first, last) : last + 2]
    if len(used) <= PLOT_BINS:
        return used
    wanted = np.geomspace(max(1, used[0]), used[-1], PLOT_BINS + 1)
    return used[np.unique(np.searchsorted(used, wanted).clip(0, len(used) - 1))]


def _density(
    sample: Summary, name: str, bins: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fraction of entries per axis unit, and its standard error over events."""
    counts = sample.histograms[name].sum(axis=1)  # [n, bins of the summary]
    below = np.pad(counts.cumsum(axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    total = below[:, -1]
    counts = np.diff(
        below[:, np.searchsorted(histogram_edges(sample.geometry)[name], bins)], axis=1
    )
    entries = max(total.sum(), 1.0)
    fraction = counts.sum(axis=0) / entries
    residual = counts - fraction * total[:, None]
    error = np.sqrt((residual**2).sum(axis=0)) / entries
    return fraction / np.diff(bins), error / np.diff(bins)


def _mean_and_error(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of [n, S] over events and its standard error (0 with a single event)."""
    if len(values) < 2:
        return values.mean(axis=0), np.zeros(values.shape[1])
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
