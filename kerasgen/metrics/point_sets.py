"""Metrics of two samples of point sets, with errors and real-against-real floors.

The protocol is that of JetNet (arXiv:2106.11535, arXiv:2211.10295). error: standard deviation over
bootstrap samples of both sides (``kerasgen.metrics.bootstrap``), or the error that the metric
itself returns. floor: the same metric between disjoint random halves of the reference. W1 falls as
sqrt(1/a + 1/b) with the sizes a and b of the samples. The bias of a squared distance of means or
covariances, such as the Frechet distance, falls as 1/a + 1/b. These floors are scaled to the sizes
compared, as in ``kerasgen.metrics.compare``. FPD, KPD, COV and MMD do not depend on the sizes.
verdict: see ``kerasgen.metrics.verdict``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from kerasgen.data.jets import jet_observables
from kerasgen.data.points import PointSets
from kerasgen.metrics.bias import finite_or_none
from kerasgen.metrics.bootstrap import bootstrap_rows, mean_and_deviation, variance_ratio
from kerasgen.metrics.compare import check_enough
from kerasgen.metrics.distance import (
    chamfer_distance,
    coverage_and_matching,
    energy_movers_distance,
    frechet_distance,
    moments,
    physics_frechet_distance,
    physics_kernel_distance,
)
from kerasgen.metrics.efp import efp_features, efps, w1_graphs
from kerasgen.metrics.substructure import substructure
from kerasgen.metrics.verdict import judged_metric, verdict_of_metrics

RESAMPLES = 10
# The largest of n values exceeds their mean by at most (n - 1) / sqrt(n) standard deviations: 1.8
# with 5 splits, so the limit of the verdict is always 3 sigma.
# What to cite for the metrics of jets and of superpixels.
JET_PAPERS = (
    "kansal2021", "kansal2022", "komiske2017", "achlioptas2017", "thaler2010", "larkoski2014",
    "lopezpaz2016", "qu2022",
)  # fmt: skip
SUPERPIXEL_PAPERS = ("kansal2021", "heusel2017", "achlioptas2017")
SPLITS = 5
Sample = dict[str, NDArray[Any]]
Random = np.random.Generator
Value = Callable[[Sample, Sample, Random], tuple[float, float]]
Classify = Callable[[PointSets], tuple[NDArray[np.int64], NDArray[np.float32]]]


@dataclass(frozen=True)
class Metric:
    """One metric of two samples.

    Attributes:
        about: one line for the report.
        value: (real, generated, rng) -> value and its error; NaN: the error comes from a bootstrap.
        unit: of its value.
        power: the floor falls as (1/a + 1/b) to this power, see the module.
        high: higher is better.
    """

    about: str
    value: Value
    unit: str = ""
    power: float = 0.0
    high: bool = False


def take_sets(sample: Sample, rows: NDArray[Any]) -> Sample:
    """The sets of a sample in these rows."""
    return {name: values[rows] for name, values in sample.items()}


def w1_of(column: str) -> Value:
    """W1 between the distributions of one number per set."""

    def value(real: Sample, generated: Sample, rng: Random) -> tuple[float, float]:
        return float(wasserstein_distance(real[column], generated[column])), math.nan

    return value


def w1_of_points(real: Sample, generated: Sample, rng: Random) -> tuple[float, float]:
    """Mean over the coordinates of a point of W1 between their distributions."""
    a, b = (x["points"][x["mask"]] for x in (real, generated))
    return float(np.mean([wasserstein_distance(a[:, k], b[:, k]) for k in range(3)])), math.nan


def w1_of_efps(real: Sample, generated: Sample, rng: Random) -> tuple[float, float]:
    """Mean over EFPs with 4 vertices and 4 edges of W1 between their distributions."""
    columns = zip(real["w1efp"].T, generated["w1efp"].T, strict=True)
    return float(np.mean([wasserstein_distance(a, b) for a, b in columns])), math.nan


def frechet_of(column: str) -> Value:
    """Frechet distance of one feature vector per set, not extrapolated to infinite samples."""

    def value(real: Sample, generated: Sample, rng: Random) -> tuple[float, float]:
        return frechet_distance(*(moments(x[column]) for x in (real, generated))), math.nan

    return value


def coverage(distance: Callable[..., float], size: int, batches: int) -> tuple[Value, Value]:
    """COV and MMD as two metrics; ``coverage_and_matching`` runs once per pair of samples.

    Args:
        distance: of two sets.
        size, batches: sets of a batch, and number of batches.
    """
    known: list[tuple[Any, Any]] = []

    def both(real: Sample, generated: Sample, rng: Random) -> Any:
        pair = [(x["points"], x["mask"]) for x in (real, generated)]
        for other, result in known:
            if all(np.array_equal(a[0], b[0]) for a, b in zip(other, pair, strict=True)):
                return result
        known.append((pair, coverage_and_matching(pair[0], pair[1], distance, rng, size, batches)))
        return known[-1][1]

    return lambda *sample: both(*sample)[0], lambda *sample: both(*sample)[1]


def misclassified(real: Sample, generated: Sample, rng: Random) -> tuple[float, float]:
    """Fraction of generated sets with another predicted label, and its binomial error."""
    fraction = float(np.mean(generated["predicted"] != generated["label"]))
    error = math.sqrt(max(fraction * (1 - fraction), 1e-12) / len(generated["label"]))
    return fraction, error


def jet_metrics(size: int, batches: int, judged: bool = False) -> dict[str, Metric]:
    """The metrics of jets.

    Args:
        size, batches: jets of a batch of COV and MMD, and number of batches.
        judged: with the AUC of a network, which takes minutes to train.
    """
    of_judge = {}
    if judged:
        from kerasgen.metrics.jet_judge import jets_auc  # imports Keras

        of_judge["auc"] = Metric(
            "AUC of a network that tells real from generated jets by their constituents "
            "(0.5: not distinguished)",
            jets_auc,
        )
    covered, matched = coverage(energy_movers_distance, size, batches)
    return {
        "w1m": Metric("W1M: W1 of the mass of the jet / its pT", w1_of("mass"), power=0.5),
        "w1p": Metric("W1P: mean W1 of eta_rel, phi_rel and pt_rel", w1_of_points, power=0.5),
        "w1efp": Metric("W1EFP: mean W1 of 5 EFPs with 4 edges", w1_of_efps, power=0.5),
        "w1_pt": Metric("W1 of the summed pT of the constituents", w1_of("pt"), power=0.5),
        "w1_tau21": Metric(
            "W1 of tau2 / tau1 (N-subjettiness, winner-take-all kT axes, beta 1)",
            w1_of("tau21"), power=0.5,
        ),
        "w1_tau32": Metric("W1 of tau3 / tau2", w1_of("tau32"), power=0.5),
        "w1_d2": Metric("W1 of D2 (energy correlation functions, beta 1)", w1_of("d2"), power=0.5),
        "fpd": Metric(
            "FPD: Frechet distance of 36 EFPs, extrapolated to infinite samples",
            lambda a, b, rng: physics_frechet_distance(a["efp"], b["efp"], rng),
        ),
        "kpd": Metric(
            "KPD: kernel distance of 36 EFPs",
            lambda a, b, rng: physics_kernel_distance(a["efp"], b["efp"], rng),
        ),
        "cov": Metric(
            "COV: fraction of real jets that are covered; higher is better",
            covered, "fraction", high=True,
        ),
        "mmd": Metric(
            "MMD: EMD of real jets to the nearest generated one; 0 only for copies",
            matched,
        ),
        **of_judge,
    }  # fmt: skip


def superpixel_metrics(size: int, batches: int, judged: bool = True) -> dict[str, Metric]:
    """The metrics of superpixels.

    Args:
        size, batches: sets of a batch of COV and MMD, and number of batches.
        judged: with the metrics of a classifier, which needs more than one class.
    """
    covered, matched = coverage(chamfer_distance, size, batches)
    of_classifier = {
        "misclassified": Metric(
            "fraction of digits that a classifier of real digits assigns to another class",
            misclassified,
            "fraction",
        ),
        "frechet": Metric(
            "Frechet distance of the features of that classifier", frechet_of("features"), power=1.0
        ),
    }
    return (of_classifier if judged else {}) | {
        "w1p": Metric("mean W1 of x, y and intensity of points", w1_of_points, power=0.5),
        "w1_total": Metric("W1 of the summed intensity", w1_of("total"), power=0.5),
        "cov": Metric(
            "COV: fraction of real digits that are covered; higher is better",
            covered, "fraction", high=True,
        ),
        "mmd": Metric(
            "MMD: distance of real digits to the nearest generated one; 0 only for copies",
            matched,
        ),
    }  # fmt: skip


def jet_sample(sets: PointSets) -> Sample:
    """Arrays over jets from which ``jet_metrics`` are computed."""
    return {
        "points": sets.points,
        "mask": sets.mask,
        "count": sets.counts,
        "label": sets.label,
        **jet_observables(sets.points, sets.mask),
        "efp": efp_features(sets.points, sets.mask),
        "w1efp": efps(sets.points, sets.mask, w1_graphs()),
        **substructure(sets.points, sets.mask),
    }


def superpixel_sample(sets: PointSets, classify: Classify | None) -> Sample:
    """Arrays over sets from which ``superpixel_metrics`` are computed.

    Args:
        sets: superpixels.
        classify: from sets to predicted label [n] and features [n, F]; None: no classifier.
    """
    judged = {}
    if classify is not None:
        predicted, features = classify(sets)
        judged = {"predicted": predicted, "features": features.astype(np.float64)}
    return judged | {
        "points": sets.points,
        "mask": sets.mask,
        "count": sets.counts,
        "label": sets.label,
        "total": sets.points[..., 2].sum(axis=1, dtype=np.float64),
    }


@np.errstate(over="ignore", invalid="ignore")  # a value that is not finite is outside
def compare_sets(
    real: Sample, generated: Sample, metrics: dict[str, Metric], seed: int = 0
) -> dict[str, Any]:
    """Compare generated with real sets in every metric.

    Args:
        real, generated: samples; the real one is split for the floor.
        metrics: by name.
        seed: of resampling and batches.

    Returns:
        The fields of ``compare.compare``, and ``about`` {metric: one line}.

    Raises:
        InputError: too few sets for an error and a floor.
    """
    n_r, n_c = len(real["points"]), len(generated["points"])
    for name, n in (("reference", n_r), ("candidate", n_c)):
        check_enough(name, n)
    scale = variance_ratio(n_r, n_c, n_r // 2)
    judged, splits = {}, {}
    for name, metric in metrics.items():
        rng = np.random.default_rng(seed)
        value, error = metric.value(real, generated, rng)
        if math.isnan(error):
            error = mean_and_deviation(bootstrap_values(real, generated, metric, rng))[1]
            parts = np.array([compare_halves(real, metric, rng)[0] for _ in range(SPLITS)])
            floor, floor_error = mean_and_deviation(parts)
        else:
            # The same halves for all metrics: COV and MMD are computed together.
            floor, floor_error = compare_halves(real, metric, np.random.default_rng(seed))
            parts = np.array([floor])
        factor, sign = scale**metric.power, -1 if metric.high else 1
        judged[name] = judged_metric(
            sign * value, error, sign * factor * floor, factor * floor_error, metric.unit, n_c
        )
        splits[name] = sign * factor * parts
    verdict = verdict_of_metrics(judged, splits)
    for name, metric in metrics.items():
        for key in ("value", "floor") if metric.high else ():
            if judged[name][key] is not None:
                judged[name][key] *= -1
    return verdict | {
        "quantities": quantities(real, generated),
        "about": {name: metric.about for name, metric in metrics.items()},
    }


def bootstrap_values(
    real: Sample, generated: Sample, metric: Metric, rng: Random
) -> NDArray[np.float64]:
    """float64 [RESAMPLES], the metric of bootstrap samples of both sides."""
    values = []
    for _ in range(RESAMPLES):
        a, b = (
            take_sets(x, bootstrap_rows(np.arange(len(x["points"])), rng))
            for x in (real, generated)
        )
        values.append(metric.value(a, b, rng)[0])
    return np.array(values)


def compare_halves(real: Sample, metric: Metric, rng: Random) -> tuple[float, float]:
    """The metric between random halves of the real sample, and its error."""
    order = rng.permutation(len(real["points"]))
    half = len(order) // 2
    return metric.value(take_sets(real, order[half:]), take_sets(real, order[:half]), rng)


def quantities(real: Sample, generated: Sample) -> dict[str, dict[str, Any]]:
    """Means over the sets: {name: {reference, candidate, unit}}."""
    units = {"count": "points", "mass": "pT of the jet", "pt": "pT of the jet", "total": ""}
    units |= dict.fromkeys(("tau21", "tau32", "d2"), "")
    return {
        name: {
            "reference": finite_or_none(float(real[name].mean())),
            "candidate": finite_or_none(float(generated[name].mean())),
            "unit": unit,
        }
        for name, unit in units.items()
        if name in real
    }
