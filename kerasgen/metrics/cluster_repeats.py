"""Clusters whose exact pattern of pixels another cluster of the same sensor has too.

A generator that keeps clusters of its training events and draws them again and again repeats large
patterns more often than real events do. Small patterns are repeated by chance, and the share of
repeated clusters grows with the number of clusters. Both samples are therefore compared at the
same number of events and, in each sensor and class of sizes, at the same number of clusters: the
smaller of the two numbers. For the sample with more clusters the share is its mean over all random
subsets of that size (rarefaction, Hurlbert 1971, doi:10.2307/1934145), which has a closed form.

A bootstrap of events repeats clusters itself. The error is therefore that of a delete-one jackknife
over at most ``BLOCKS`` blocks of events, at a number of clusters that each of its samples has, plus
the share of one pair of clusters. A jackknife does not underestimate on average (Efron and Stein
1981, doi:10.1214/aos/1176345462): real PXD samples of 10 to 40 events have pulls of 0.6 to 1.2, and
less where a sample has hardly a repeat. The floor is the mean absolute difference of two real
samples, which follows from the error of the real one, taken as normally distributed.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from kerasgen.metrics.bias import MIN_BIAS_SIGMAS, finite_or_none
from kerasgen.metrics.cluster_samples import ClusterSample
from kerasgen.metrics.verdict import add_metric, judged_metric

SIZES = {
    "cluster_repeats_6_8": (6, 8),
    "cluster_repeats_9_11": (9, 11),
    "cluster_repeats_12_15": (12, 15),
    "cluster_repeats_16_24": (16, 24),
    "cluster_repeats_25": (25, 10**9),
}
ABOUT = {
    name: f"Difference of the share of clusters of {low} {'or more' if high > 99 else f'to {high}'}"
    " pixels whose exact pattern another cluster of the sensor has."
    for name, (low, high) in SIZES.items()
}
BLOCKS = 20  # of events, for the jackknife
MIN_EVENTS = 10  # of a side; the error from fewer blocks says little
MIN_CLUSTERS = 50  # of a class; fewer are not judged
Floats = NDArray[np.float64]


class Patterns(NamedTuple):
    """Clusters of one class of sizes.

    Attributes:
        clusters: int64 [S, B], clusters of each sensor and block of events.
        sensor: int64 [patterns], of each pattern that occurs more than once.
        times: int64 [patterns, B], how often it occurs in each block.
    """

    clusters: NDArray[np.int64]
    sensor: NDArray[np.int64]
    times: NDArray[np.int64]


def find_patterns(sample: ClusterSample, sizes: tuple[int, int], sensors: int) -> Patterns:
    """Count the patterns of a class of sizes.

    Args:
        sample: the clusters of at least one event.
        sizes: smallest and largest number of pixels.
        sensors: of the geometry.
    """
    rows = (sample.size >= sizes[0]) & (sample.size <= sizes[1])
    sensor, pattern = sample.sensor[rows].astype(np.int64), sample.pattern[rows]
    blocks = min(BLOCKS, sample.events)
    block = sample.event[rows].astype(np.int64) * blocks // sample.events
    clusters = np.bincount(sensor * blocks + block, minlength=sensors * blocks)
    order = np.lexsort((pattern, sensor))
    sensor, pattern, block = sensor[order], pattern[order], block[order]
    new = np.ones(len(pattern), bool)
    new[1:] = (pattern[1:] != pattern[:-1]) | (sensor[1:] != sensor[:-1])
    number = np.cumsum(new) - 1
    repeated = np.bincount(number) > 1 if len(number) else np.zeros(0, bool)
    place = np.cumsum(repeated) - 1
    kept = repeated[number]
    cell = place[number[kept]] * blocks + block[kept]
    times = np.bincount(cell, minlength=int(repeated.sum()) * blocks).reshape(-1, blocks)
    return Patterns(clusters.reshape(sensors, blocks), sensor[new][repeated], times)


def repeated_share(
    times: NDArray[Any], sensor: NDArray[Any], there: Floats, wanted: Floats
) -> float:
    """Share of repeated clusters, its mean over random subsets of the clusters of each sensor.

    Args:
        times: [patterns], occurrences of each pattern.
        sensor: [patterns].
        there: [S], all clusters of a sensor.
        wanted: [S], clusters of the subsets, at most ``there``.

    Returns:
        Share over all sensors, each with the weight ``wanted``; NaN without clusters.
    """
    total = wanted.sum()
    if not total > 0:
        return math.nan
    n, m, c = there[sensor], wanted[sensor], times.astype(np.float64)
    use = (c > 1) & (m > 1)
    n, m, c = n[use], m[use], c[use]
    rest = n - c - m + 1  # of the others, those that the subset may leave out
    # Probability that a cluster of the subset has none of the c - 1 others of its pattern in it.
    alone = np.exp(
        gammaln(n - c + 1) + gammaln(n - m + 1) - gammaln(n) - gammaln(np.maximum(rest, 0) + 1)
    )
    alone = np.where(rest >= 0, alone, 0.0)
    return float((c * m / n * (1 - alone)).sum() / total)


def share_and_error(found: Patterns, wanted: Floats) -> tuple[float, float]:
    """Share of repeated clusters at a number of clusters per sensor, and its error.

    Args:
        found: of the sample.
        wanted: [S], clusters of each sensor, at most those that are there.
    """
    clusters = found.clusters.sum(axis=1).astype(np.float64)
    repeats, n = found.times.sum(axis=1), found.clusters.shape[1]
    share = repeated_share(repeats, found.sensor, clusters, wanted)
    # The same number for all samples of the jackknife: otherwise it is the number that varies.
    fewer = np.minimum(wanted, clusters - found.clusters.max(axis=1))
    without = np.array([
        repeated_share(repeats - found.times[:, k], found.sensor,
                       clusters - found.clusters[:, k], fewer)
        for k in range(n)
    ])  # fmt: skip
    variance = (n - 1) / n * float(((without - without.mean()) ** 2).sum())
    return share, math.sqrt(variance + (2 / max(wanted.sum(), 1)) ** 2)


def compare_repeats(
    reference: ClusterSample, candidate: ClusterSample, sensors: int
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Compare the shares of repeated clusters of each class of ``SIZES``.

    Args:
        reference, candidate: clusters; as many events of each as the smaller sample has are used.
        sensors: of the geometry.

    Returns:
        {name: (metric of ``judged_metric``, quantity with the fields of ``compare_quantity``)}.
        A class with fewer than ``MIN_CLUSTERS`` comparable clusters or ``MIN_EVENTS`` events, or
        whose clusters lie in one block of events of a side, is not judged. The share
        depends on the number of events, so the quantity has no number of events from which on a
        bias matters.
    """
    n = min(reference.events, candidate.events)
    samples = [s.first(n) for s in (reference, candidate)]
    found = {}
    for name, sizes in SIZES.items():
        patterns = [find_patterns(s, sizes, sensors) for s in samples]
        wanted = np.min([p.clusters.sum(axis=1) for p in patterns], axis=0).astype(np.float64)
        (a, a_error), (b, b_error) = (math.nan, math.nan), (math.nan, math.nan)
        if wanted.sum() >= MIN_CLUSTERS and n >= MIN_EVENTS:
            (a, a_error), (b, b_error) = (share_and_error(p, wanted) for p in patterns)
        error = math.hypot(a_error, b_error)
        # Mean and deviation of |x| for the difference x of two real samples, which is normal.
        known = a_error if math.isfinite(error) else math.nan  # no error of a side: no judgement
        floor, floor_error = (known * math.sqrt(2 * k) for k in (2 / math.pi, 1 - 2 / math.pi))
        metric = judged_metric(abs(b - a), error, floor, floor_error, "fraction", n)
        found[name] = metric, {
            "reference": finite_or_none(a), "candidate": finite_or_none(b),
            "reference_error": finite_or_none(a_error), "candidate_error": finite_or_none(b_error),
            "difference_error": finite_or_none(error), "unit": "fraction", "events": None,
            "seen": bool(abs(b - a) > MIN_BIAS_SIGMAS * error) if math.isfinite(error) else None,
        }  # fmt: skip
    return found


def add_repeats(
    found: dict[str, Any], reference: ClusterSample, candidate: ClusterSample, sensors: int
) -> None:
    """Add metrics and quantities to a comparison of ``compare``, changed in place."""
    for name, (metric, quantity) in compare_repeats(reference, candidate, sensors).items():
        add_metric(found, name, metric)
        found["quantities"][name] = quantity
