"""Metrics of positions of hits: layers, profiles, pairs of pixels, correlation of sensors, copies.

As in ``pixel``, a metric takes two pools, reference first, and returns one number that is 0 for
equal samples. Layers without hits in the reference are left out. For W1 and clusters see ``pixel``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kerasgen.metrics.binning import bin_centres, wasserstein
from kerasgen.metrics.pool import Pool
from kerasgen.metrics.summary import histogram_edges


def occupancy_per_layer(reference: Pool, candidate: Pool) -> float:
    """Mean over layers of |mean occupancy / that of the reference - 1| (arXiv:2303.08046)."""
    return _mean_over_layers(
        reference,
        lambda k: abs(fired_per_layer(candidate)[k] / fired_per_layer(reference)[k] - 1),
    )


def profile_u(reference: Pool, candidate: Pool) -> float:
    """W1 between the distributions of hits over rows (u), mean over layers, pixels.

    W1: doi:10.1137/1118101.
    """
    return _layer_w1(reference, candidate, "row")


def profile_v(reference: Pool, candidate: Pool) -> float:
    """W1 between the distributions of hits over columns (v), mean over layers, pixels.

    W1: doi:10.1137/1118101.
    """
    return _layer_w1(reference, candidate, "col")


def layer_size_u(reference: Pool, candidate: Pool) -> float:
    """W1 between the distributions of cluster extent along u, mean over layers, pixels.

    W1: doi:10.1137/1118101; clusters: doi:10.1145/321356.321357.
    """
    return _layer_w1(reference, candidate, "size_u")


def layer_size_v(reference: Pool, candidate: Pool) -> float:
    """W1 between the distributions of cluster extent along v, mean over layers, pixels.

    W1: doi:10.1137/1118101; clusters: doi:10.1145/321356.321357.
    """
    return _layer_w1(reference, candidate, "size_v")


def layer_charge(reference: Pool, candidate: Pool) -> float:
    """W1 between the distributions of cluster charge, mean over layers, ADU.

    W1: doi:10.1137/1118101; clusters: doi:10.1145/321356.321357.
    """
    return _layer_w1(reference, candidate, "charge")


def layer_seed(reference: Pool, candidate: Pool) -> float:
    """W1 between the distributions of the highest charge of a cluster, mean over layers, ADU.

    W1: doi:10.1137/1118101; clusters: doi:10.1145/321356.321357.
    """
    return _layer_w1(reference, candidate, "seed")


def pairs_u(reference: Pool, candidate: Pool) -> float:
    """Sum over distances up to 32 pixels along u of |difference of the pair probability|, pixels.

    Pair probability: the probability that the pixel at this distance of a fired pixel fired too
    (two-point correlation function, Ripley 1977, doi:10.1111/j.2517-6161.1977.tb01615.x; its
    cosine transform is the power spectrum). Mean over layers.
    """
    return _pair_difference(reference, candidate, "pairs_u")


def pairs_v(reference: Pool, candidate: Pool) -> float:
    """Sum over distances up to 32 pixels along v of |difference of the pair probability|, pixels.

    As ``pairs_u`` (doi:10.1111/j.2517-6161.1977.tb01615.x), within rows.
    """
    return _pair_difference(reference, candidate, "pairs_v")


def sensor_correlation(reference: Pool, candidate: Pool) -> float:
    """Root mean square difference of the sensor-to-sensor correlations of fired pixel counts.

    Over the elements of Pearson's correlation matrices for different sensors (Pearson 1895,
    doi:10.1098/rspl.1895.0041). Each element fluctuates by about n^-1/2 for n events, so the floor
    is high; ``sensor_common`` is more sensitive to fluctuations common to all sensors.
    """
    varies = np.diag(reference.covariance) > 0
    above = np.triu(np.ones((varies.sum(), varies.sum()), bool), 1)
    if not above.any():
        return 0.0
    gap = (correlation(reference) - correlation(candidate))[np.ix_(varies, varies)]
    return float(np.sqrt(np.mean(gap[above] ** 2)))


def sensor_common(reference: Pool, candidate: Pool) -> float:
    """|difference of the ratio of event-to-event variances, of all hits over single sensors|.

    The ratio is the variance of the fired pixels of an event over the sum of the variances of its
    sensors: 1 if sensors are independent, S if S sensors of equal variance are fully correlated.
    Cronbach's alpha (1951, doi:10.1007/BF02310555) is computed from it.
    """
    return abs(common_ratio(candidate) - common_ratio(reference))


def refired_next(reference: Pool, candidate: Pool) -> float:
    """|difference of the probability that a fired pixel fires again in the next event|.

    Events are in the order of the file. For independent events it is about the occupancy. It is the
    autocorrelation at lag one of a point process (doi:10.1111/j.2517-6161.1977.tb01615.x).
    """
    return abs(next_probability(candidate) - next_probability(reference))


def copies(reference: Pool, candidate: Pool) -> float:
    """|difference of the fraction of images that have a near-copy in another event|.

    Signatures of near-copies agree in half of their slots (``copies.signatures``, one permutation
    hashing, arXiv:1208.1259).
    """
    return abs(candidate.copies - reference.copies)


def correlation(sample: Pool) -> NDArray[np.float64]:
    """float64 [S, S], correlation of the fired pixels of sensors; 0 where a sensor is constant."""
    sd = np.sqrt(np.maximum(np.diag(sample.covariance), 0))
    scale = np.outer(sd, sd)
    return np.divide(sample.covariance, scale, out=np.zeros_like(scale), where=scale > 0)


def common_ratio(sample: Pool) -> float:
    """Variance of the fired pixels of an event over the sum of the variances of its sensors."""
    total = np.trace(sample.covariance)
    return float(sample.covariance.sum() / total) if total > 0 else float("nan")


def next_probability(sample: Pool) -> float:
    """Probability that a fired pixel fires again in the next event."""
    fired = sample.pairs["next_fired"]
    return sample.pairs["next_both"] / fired if fired > 0 else float("nan")


def pair_probability(sample: Pool, name: str) -> NDArray[np.float64]:
    """float64 [L, REACH]: probability that the pixel at distance 1.. fired; NaN without hits."""
    fired = sample.histograms["adu"].sum(axis=1)[:, None]
    pairs = sample.histograms[name]
    return np.divide(pairs, fired, out=np.full(pairs.shape, np.nan), where=fired > 0)


def fired_per_layer(sample: Pool) -> NDArray[np.float64]:
    """float64 [L], mean number of fired pixels of the images of a layer."""
    return np.bincount(sample.layer, sample.fired_mean) / np.bincount(sample.layer)


def _mean_over_layers(reference: Pool, of_layer: Callable[[int], float]) -> float:
    layers = np.flatnonzero(fired_per_layer(reference) > 0)
    return float(np.mean([of_layer(int(k)) for k in layers])) if len(layers) else float("nan")


def _layer_w1(reference: Pool, candidate: Pool, name: str) -> float:
    a, b = reference.histograms[name], candidate.histograms[name]
    if name in ("row", "col"):
        positions = np.arange(a.shape[1], dtype=np.float64)
    else:
        positions = bin_centres(histogram_edges(reference.geometry)[name])
    return _mean_over_layers(reference, lambda k: wasserstein(a[k], b[k], positions))


def _pair_difference(reference: Pool, candidate: Pool, name: str) -> float:
    gap = np.abs(pair_probability(reference, name) - pair_probability(candidate, name)).sum(axis=1)
    return _mean_over_layers(reference, lambda k: float(gap[k]))
