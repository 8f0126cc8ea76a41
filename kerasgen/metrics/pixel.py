"""Metrics of pixel-hit events: how far a candidate sample is from a reference sample.

Each metric takes two pools (reference first) and returns one number that is 0 for equal samples and
grows with their difference; NaN where it is not defined, such as the charge without hits. W1 is the
1-Wasserstein distance (Vallender 1974, doi:10.1137/1118101); clusters are connected components
(Rosenfeld and Pfaltz 1966, doi:10.1145/321356.321357).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kerasgen.metrics import structure
from kerasgen.metrics.binning import bin_centres, wasserstein
from kerasgen.metrics.pool import Pool, pool
from kerasgen.metrics.summary import Summary, check_same_geometry, histogram_edges


def adu_w1(reference: Pool, candidate: Pool) -> float:
    """W1 between the charge spectra of fired pixels, ADU (arXiv:2303.08046)."""
    return _spectrum_w1(reference, candidate, "adu")


def adu_mean(reference: Pool, candidate: Pool) -> float:
    """|mean charge of fired pixels / that of the reference - 1| (arXiv:2303.08046)."""
    return _relative(_per_hit(reference), _per_hit(candidate))


def occupancy_mean(reference: Pool, candidate: Pool) -> float:
    """|mean occupancy / that of the reference - 1|, over all images (arXiv:2303.08046)."""
    return _relative(reference.fired_mean.mean(), candidate.fired_mean.mean())


def occupancy_per_sensor(reference: Pool, candidate: Pool) -> float:
    """Mean over sensors of |mean occupancy / that of the reference - 1|.

    This is the per-sensor occupancy error of 11.7 % quoted here for IEA-GAN (recomputed from the
    evaluation of arXiv:2303.08046). Sensors empty in the reference are left out.
    """
    lit = reference.fired_mean > 0
    if not lit.any():
        return float("nan")
    return float(np.abs(candidate.fired_mean[lit] / reference.fired_mean[lit] - 1).mean())


def occupancy_w1(reference: Pool, candidate: Pool) -> float:
    """W1 between the distributions of occupancy over all images, as a fraction of the pixels.

    Occupancy is the fraction of fired pixels of an image (arXiv:2303.08046).
    """
    bins = max(len(reference.fired_counts), len(candidate.fired_counts))
    a, b = (np.pad(p.fired_counts, (0, bins - len(p.fired_counts))) for p in (reference, candidate))
    return wasserstein(a, b, np.arange(bins) / reference.geometry.pixels)


def occupancy_width(reference: Pool, candidate: Pool) -> float:
    """|sd / sd of the reference - 1| of the occupancy from event to event within a sensor.

    sd is the square root of the variance averaged over sensors; the width of the occupancy in
    arXiv:2303.08046.
    """
    return _relative(
        np.sqrt(reference.fired_variance.mean()), np.sqrt(candidate.fired_variance.mean())
    )


def variance_over_mean(reference: Pool, candidate: Pool) -> float:
    """|variance / mean of fired pixels over that of the reference - 1|, averaged over layers.

    The index of dispersion (Fano 1947, doi:10.1103/PhysRev.72.26). For independent clusters of n
    pixels it is E[n^2] / E[n], a measure of their size.
    """
    return float(np.mean(_relative_array(layer_ratio(reference), layer_ratio(candidate))))


def layer_ratio(sample: Pool) -> NDArray[np.float64]:
    """float64 [L], variance / mean of fired pixels per image, averaged over sensors of a layer."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = sample.fired_variance / sample.fired_mean
    lit = sample.fired_mean > 0
    layers = range(int(sample.layer.max()) + 1)
    chosen = [ratio[lit & (sample.layer == layer)] for layer in layers]
    return np.array([r.mean() if len(r) else np.nan for r in chosen])


def cluster_size(reference: Pool, candidate: Pool) -> float:
    """|difference of the mean cluster size|, pixels (doi:10.1145/321356.321357)."""
    return abs(
        _ratio(candidate.fired, candidate.clusters) - _ratio(reference.fired, reference.clusters)
    )


def cluster_size_u(reference: Pool, candidate: Pool) -> float:
    """|difference of the mean extent of clusters along u (rows)|, pixels.

    Clusters as in doi:10.1145/321356.321357.
    """
    return _mean_difference(reference, candidate, "size_u")


def cluster_size_v(reference: Pool, candidate: Pool) -> float:
    """|difference of the mean extent of clusters along v (columns)|, pixels.

    Clusters as in doi:10.1145/321356.321357.
    """
    return _mean_difference(reference, candidate, "size_v")


def cluster_size_w1(reference: Pool, candidate: Pool) -> float:
    """W1 between the distributions of cluster size, pixels (doi:10.1137/1118101)."""
    return _spectrum_w1(reference, candidate, "size")


def cluster_charge_w1(reference: Pool, candidate: Pool) -> float:
    """W1 between the distributions of cluster charge, in units of the reference's mean charge.

    W1: doi:10.1137/1118101; clusters: doi:10.1145/321356.321357.
    """
    return _ratio(
        _spectrum_w1(reference, candidate, "charge"),
        _ratio(reference.adu_sum, reference.clusters),
    )


def cluster_seed_w1(reference: Pool, candidate: Pool) -> float:
    """W1 between the distributions of the highest pixel charge of a cluster, ADU.

    W1: doi:10.1137/1118101; clusters: doi:10.1145/321356.321357.
    """
    return _spectrum_w1(reference, candidate, "seed")


def refired(reference: Pool, candidate: Pool) -> float:
    """|difference of the probability that a fired pixel fires again in another event|.

    For independent events it is about the occupancy; it is higher for a generator with few patterns
    or with one pattern in all events. It is the second moment of the pixel's rate over events
    (Ripley 1977, doi:10.1111/j.2517-6161.1977.tb01615.x), between events instead of within one.
    """
    return abs(refire_probability(candidate) - refire_probability(reference))


def refire_excess(reference: Pool, candidate: Pool) -> float:
    """|difference of the re-fired pixels over their number by chance|.

    Chance: the hits of each sensor of each event are uniform at random, so that a wrong mean
    occupancy does not count. The ratio is 1 for independent and uniform hits, and above 1 for a
    constant pattern. It is the pair statistic of ``refired``
    (doi:10.1111/j.2517-6161.1977.tb01615.x) over that of a Poisson process.
    """
    return abs(refire_ratio(candidate) - refire_ratio(reference))


def diversity(reference: Pool, candidate: Pool) -> float:
    """|difference of the mean Jaccard distance between two events|.

    The distance is 1 - |A and B| / |A or B| with A, B the fired pixels of all sensors (Jaccard
    1912, doi:10.1111/j.1469-8137.1912.tb05611.x): near 1 for independent events, 0 for a generator
    that always generates the same event.
    """
    return abs(jaccard_distance(candidate) - jaccard_distance(reference))


def refire_probability(sample: Pool) -> float:
    """Probability that a fired pixel fires again in another event."""
    return _ratio(sample.pairs["both"], sample.pairs["fired"])


def refire_ratio(sample: Pool) -> float:
    """Re-fired pixels over their number by chance."""
    return _ratio(sample.pairs["both"], sample.pairs["chance"])


def jaccard_distance(sample: Pool) -> float:
    """Mean Jaccard distance between two events."""
    return 1 - _ratio(sample.pairs["jaccard"], sample.pairs["pairs"])


Metric = Callable[[Pool, Pool], float]

# What to cite for the metrics of pixel hits: profiles and comparisons of sensors of the published
# model, networks as judges, scores of a sensor classifier.
METRIC_PAPERS = (
    "hashemi2023", "lopezpaz2016", "krause2024", "salimans2016", "heusel2017", "binkowski2018",
)  # fmt: skip

METRICS: dict[str, tuple[Metric, str]] = {
    "adu_w1": (adu_w1, "ADU"),
    "adu_mean": (adu_mean, "relative"),
    "occupancy_mean": (occupancy_mean, "relative"),
    "occupancy_per_sensor": (occupancy_per_sensor, "relative"),
    "occupancy_w1": (occupancy_w1, "fraction"),
    "occupancy_width": (occupancy_width, "relative"),
    "variance_over_mean": (variance_over_mean, "relative"),
    "cluster_size": (cluster_size, "pixels"),
    "cluster_size_u": (cluster_size_u, "pixels"),
    "cluster_size_v": (cluster_size_v, "pixels"),
    "cluster_size_w1": (cluster_size_w1, "pixels"),
    "cluster_charge_w1": (cluster_charge_w1, "relative"),
    "cluster_seed_w1": (cluster_seed_w1, "ADU"),
    "refired": (refired, "probability"),
    "refire_excess": (refire_excess, "ratio"),
    "diversity": (diversity, "Jaccard distance"),
    "occupancy_per_layer": (structure.occupancy_per_layer, "relative"),
    "profile_u": (structure.profile_u, "pixels"),
    "profile_v": (structure.profile_v, "pixels"),
    "layer_size_u": (structure.layer_size_u, "pixels"),
    "layer_size_v": (structure.layer_size_v, "pixels"),
    "layer_charge": (structure.layer_charge, "ADU"),
    "layer_seed": (structure.layer_seed, "ADU"),
    "pairs_u": (structure.pairs_u, "pixels"),
    "pairs_v": (structure.pairs_v, "pixels"),
    "sensor_correlation": (structure.sensor_correlation, "correlation"),
    "sensor_common": (structure.sensor_common, "ratio"),
    "refired_next": (structure.refired_next, "probability"),
    "copies": (structure.copies, "fraction"),
}

# Differences that are about equally bad: each adds 1 to the score. Published generators are quoted
# with the first three; cluster size and fluctuation keep hits in clusters; re-firing detects a
# collapse.
SELECTION_SCALES = {
    "occupancy_per_sensor": 0.05,
    "adu_w1": 1.0,
    "occupancy_w1": 5e-4,
    "cluster_size": 0.1,
    "cluster_charge_w1": 0.1,
    "variance_over_mean": 0.2,
    "refire_excess": 0.5,
}


def quick_metrics(reference: Summary, candidate: Summary) -> dict[str, float]:
    """Every metric without error and floor (milliseconds), for use during training."""
    check_same_geometry(reference.geometry, candidate.geometry)
    a, b = pool(reference), pool(candidate)
    return {name: metric(a, b) for name, (metric, _) in METRICS.items()}


def selection_score(values: dict[str, float]) -> float:
    """Sum of metric / scale over ``SELECTION_SCALES``; the checkpoint with the lowest is selected.

    Args:
        values: from ``quick_metrics``, on held-out events.

    Returns:
        The score; infinity where a metric is not defined (a generator without hits).
    """
    score = sum(values[name] / scale for name, scale in SELECTION_SCALES.items())
    return float(score) if np.isfinite(score) else float("inf")


def _per_hit(sample: Pool) -> float:
    return _ratio(sample.adu_sum, sample.fired)


def _mean_difference(reference: Pool, candidate: Pool, name: str) -> float:
    a, b = (_ratio(p.sums[name], p.clusters) for p in (reference, candidate))
    return abs(b - a)


def _spectrum_w1(reference: Pool, candidate: Pool, name: str) -> float:
    positions = bin_centres(histogram_edges(reference.geometry)[name])
    return wasserstein(
        reference.histograms[name].sum(axis=0), candidate.histograms[name].sum(axis=0), positions
    )


def _ratio(a: float, b: float) -> float:
    return float(a / b) if b > 0 else float("nan")


def _relative(reference: float, candidate: float) -> float:
    return abs(_ratio(candidate, reference) - 1)


def _relative_array(
    reference: NDArray[np.float64], candidate: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.array([_relative(a, b) for a, b in zip(reference, candidate, strict=True)])
