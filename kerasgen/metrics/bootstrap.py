"""Resampling of events: bootstrap samples for errors, random splits of the reference for floors.

Bootstrap samples draw as many events as there are, with replacement (Efron 1979,
doi:10.1214/aos/1176344552). Events are drawn, not images, tracks or pixels: those of one event are
correlated. A sample is given by weights, for metrics of weighted sums over events, or by rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 50


class Resampling(NamedTuple):
    """Random events for errors and floors of a comparison.

    Attributes:
        reference: int64 [RESAMPLES, n_reference], weights of the bootstrap samples.
        candidate: int64 [RESAMPLES, n_candidate], weights of the bootstrap samples.
        part: bool [RESAMPLES, n_reference], the smaller part of each split of the reference.
        scale: factor on the floor, square root of ``variance_ratio``.
    """

    reference: NDArray[np.int64]
    candidate: NDArray[np.int64]
    part: NDArray[np.bool_]
    scale: float


def resample_events(n_reference: int, n_candidate: int, rng: np.random.Generator) -> Resampling:
    """Draw bootstrap samples of two samples of events, and splits of the reference.

    The smaller part of a split has min(n_candidate, n_reference / 2) events.

    Args:
        n_reference, n_candidate: number of events.
        rng: draws the reference, then the candidate, then the splits.
    """
    reference, candidate = (bootstrap_weights(n, rng) for n in (n_reference, n_candidate))
    size = min(n_candidate, n_reference // 2)
    part = np.array([rng.permutation(n_reference) < size for _ in range(RESAMPLES)])
    scale = float(np.sqrt(variance_ratio(n_reference, n_candidate, size)))
    return Resampling(reference, candidate, part, scale)


def bootstrap_weights(events: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """int64 [RESAMPLES, events]: how often each event is drawn in each bootstrap sample."""
    return rng.multinomial(events, np.full(events, 1 / events), size=RESAMPLES)


def bootstrap_rows(event: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of one bootstrap sample of events.

    Args:
        event: [rows], the event of each row, from 0; the rows of an event follow each other.
        rng: draws the events.

    Returns:
        int64 [drawn rows], all rows of each drawn event.
    """
    start = np.flatnonzero(np.diff(event, prepend=-1))
    length = np.diff(start, append=len(event))
    drawn = rng.integers(len(start), size=len(start))
    stop = np.cumsum(length[drawn])
    return np.arange(stop[-1]) + np.repeat(start[drawn] - stop + length[drawn], length[drawn])


def variance_ratio(n_reference: int, n_candidate: int, part: int) -> float:
    """Variance of the difference of two samples over that of two parts of the reference.

    (1 / n_reference + 1 / n_candidate) / (1 / part + 1 / (n_reference - part)), for the mean of a
    number over independent events.

    Args:
        n_reference, n_candidate: events of the samples.
        part: events of one part; the other part has the rest of the reference.
    """
    return (1 / n_reference + 1 / n_candidate) / (1 / part + 1 / (n_reference - part))


def mean_and_deviation(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of the finite values; NaN with fewer than two."""
    defined = values[np.isfinite(values)]
    if len(defined) < 2:
        return float("nan"), float("nan")
    return float(defined.mean()), float(defined.std(ddof=1))
