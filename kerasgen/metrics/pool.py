"""Weighted sums over the events of a summary: the input of every metric of hits.

Weights select the events: all 1 for the sample itself, the number of times that an event was drawn
for a bootstrap sample, 1 or 0 for the parts of a split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.metrics.summary import LAGS, Summary, layer_index

BLOCK = 1000  # events per conversion of histograms to float64 (20 MB per 1000 bins)


@dataclass(frozen=True)
class Pool:
    """Weighted sums over events.

    Attributes:
        geometry: the detector.
        fired_mean, fired_variance: float64 [S], over the events, pixels per image.
        covariance: float64 [S, S], of the fired pixels of sensors, over the events.
        fired_counts: float64 [max + 1], weight of images by number of fired pixels.
        histograms: float64 [L, bins] by name, as in the summary.
        adu_sum: total charge, ADU.
        clusters: number of clusters.
        sums: sums over clusters of "size_u", "size_v" and "seed".
        pairs: sums over pairs of events: "both", pixels that fired in both; "fired", mean fired
            pixels of the two; "chance", expected "both" for hits that are uniform on each sensor;
            "jaccard", Jaccard similarity; "pairs", 1. Sums over pairs of consecutive events:
            "next_both" and "next_fired".
        copies: fraction of the images that have a near-copy in another event.
    """

    geometry: Geometry
    fired_mean: NDArray[np.float64]
    fired_variance: NDArray[np.float64]
    covariance: NDArray[np.float64]
    fired_counts: NDArray[np.float64]
    histograms: dict[str, NDArray[np.float64]]
    adu_sum: float
    clusters: float
    sums: dict[str, float]
    pairs: dict[str, float]
    copies: float

    @property
    def layer(self) -> NDArray[np.int64]:
        """int64 [S], the layer index of each sensor."""
        return layer_index(self.geometry)

    @property
    def fired(self) -> float:
        """Total fired pixels."""
        return float(self.histograms["adu"].sum())


def pool(summary: Summary) -> Pool:
    """Sums of the sample itself: every event has weight 1."""
    return pools(summary, np.ones((1, len(summary))))[0]


def pools(summary: Summary, weights: NDArray[Any]) -> list[Pool]:
    """One pool per row of weights.

    Args:
        summary: of n events with S sensors.
        weights: [samples, n].
    """
    weights = weights.astype(np.float64)
    fired = summary.fired.astype(np.float64)
    total = weights.sum(axis=1, keepdims=True)
    mean = weights @ fired / total  # [samples, S]
    centre = fired.mean(axis=0)  # subtracted first, for precision
    square = weights @ (fired - centre) ** 2 / total - (mean - centre) ** 2
    variance = square * total / np.maximum(total - 1, 1)
    histograms = {k: _weighted(weights, h) for k, h in summary.histograms.items()}
    adu_sum = weights @ summary.adu_sum.sum(axis=1).astype(np.float64)
    clusters = weights @ summary.clusters.sum(axis=1).astype(np.float64)
    sums = {k: weights @ v.sum(axis=1).astype(np.float64) for k, v in summary.sums.items()}
    pairs = _pairs(summary, weights)
    copies = _copies(summary, weights)
    counts = summary.fired.ravel()
    return [
        Pool(
            geometry=summary.geometry,
            fired_mean=mean[i],
            fired_variance=variance[i],
            covariance=_covariance(fired - centre, w),
            fired_counts=np.bincount(counts, np.repeat(w, summary.fired.shape[1])).astype(
                np.float64
            ),
            histograms={k: h[i] for k, h in histograms.items()},
            adu_sum=float(adu_sum[i]),
            clusters=float(clusters[i]),
            sums={k: float(v[i]) for k, v in sums.items()},
            pairs={k: float(v[i]) for k, v in pairs.items()},
            copies=float(copies[i]),
        )
        for i, w in enumerate(weights)
    ]


def _weighted(weights: NDArray[Any], histogram: NDArray[Any]) -> NDArray[np.float64]:
    """float64 [samples, L, bins], computed without a float64 copy of all events."""
    flat = histogram.reshape(len(histogram), -1)
    lit = np.flatnonzero(flat.any(axis=0))  # most bins of the long axes are empty
    out = np.zeros((len(weights), flat.shape[1]))
    for start in range(0, len(flat), BLOCK):
        part = flat[start : start + BLOCK, lit].astype(np.float64)
        out[:, lit] += weights[:, start : start + BLOCK] @ part
    return out.reshape(len(weights), *histogram.shape[1:])


def _pairs(summary: Summary, weights: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """float64 [samples] per name; the weight of a pair is the product of its events' weights."""
    names = ("both", "fired", "chance", "jaccard", "pairs")
    out = np.zeros((len(weights), len(names)))
    following = np.zeros((len(weights), 2))
    fired = summary.fired.astype(np.float64)
    for lag in range(1, min(LAGS + 1, len(summary))):
        known = np.flatnonzero(summary.overlap[:-lag, lag - 1] >= 0)
        if not len(known):
            continue
        both = summary.overlap[known, lag - 1].astype(np.float64)
        first, second = fired[known], fired[known + lag]
        either = np.maximum(first.sum(axis=1) + second.sum(axis=1) - both, 1)
        chance = (first * second).sum(axis=1) / summary.geometry.pixels
        rows = np.stack(
            [
                both,
                (first.sum(axis=1) + second.sum(axis=1)) / 2,
                chance,
                both / either,
                np.ones(len(known)),
            ],
            axis=1,
        )
        added = (weights[:, known] * weights[:, known + lag]) @ rows
        out += added
        if lag == 1:
            following = added[:, :2]
    sums = dict(zip(names, out.T, strict=True))
    return sums | {"next_both": following[:, 0], "next_fired": following[:, 1]}


def _covariance(centred: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [S, S], of counts [n, S] whose mean is about 0, with weights [n]."""
    total = weight.sum()
    mean = weight @ centred / total
    square = (centred * weight[:, None]).T @ centred / total - np.outer(mean, mean)
    return square * (total / max(total - 1, 1))


def _copies(summary: Summary, weights: NDArray[Any]) -> NDArray[np.float64]:
    """float64 [samples], weighted fraction of images with a near-copy in an event of weight > 0."""
    pairs = summary.near_copies
    sensor, event, other = pairs[:, 0], pairs[:, 1], pairs[:, 2]
    out = np.zeros(len(weights))
    for i in range(len(weights)):
        weight: NDArray[Any] = weights[i]
        has = np.zeros(summary.fired.shape, bool)
        there = weight[other] > 0
        has[event[there], sensor[there]] = True
        out[i] = weight @ has.mean(axis=1) / weight.sum()
    return out
