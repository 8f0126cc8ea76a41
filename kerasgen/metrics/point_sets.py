"""Two samples of point sets compared: every metric with its error and real-against-real floor.

The protocol is that of JetNet (arXiv:2106.11535, arXiv:2211.10295). error: standard deviation over
bootstrap samples of both sides, or what the metric itself says. floor: the same metric between
disjoint random halves of the reference. W1 falls as sqrt(1/a + 1/b) with the sizes a and b of the
samples, and the bias of a squared distance of means or covariances, as the Frechet distance is, as
1/a + 1/b; these floors are scaled to the sizes compared, as in ``kerasgen.metrics.compare``. FPD,
KPD, COV and MMD do not depend on the sizes.
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
from kerasgen.metrics.bias import finite
from kerasgen.metrics.compare import SIGMAS, check_enough, entry, spread
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

RESAMPLES = 10
SPLITS = 5
Sample = dict[str, NDArray[Any]]
Random = np.random.Generator


@dataclass(frozen=True)
class Metric:
    """One metric of two samples.

    Attributes:
        about: one line for the report.
        value: (real, generated, random numbers) -> value and own error; NaN: by bootstrap.
        unit: of its value.
        power: with which the floor falls with 1/a + 1/b, see the module.
        high: higher is better.
    """

    about: str
    value: Callable[[Sample, Sample, Random], tuple[float, float]]
    unit: str = ""
    power: float = 0.0
    high: bool = False


def take(sample: Sample, rows: NDArray[Any]) -> Sample:
    """Some sets of a sample."""
    return {name: values[rows] for name, values in sample.items()}


def w1_of(column: str) -> Callable[..., tuple[float, float]]:
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


def frechet_of(column: str) -> Callable[..., tuple[float, float]]:
    """Frechet distance of one feature vector per set, without extrapolation."""

    def value(real: Sample, generated: Sample, rng: Random) -> tuple[float, float]:
        return frechet_distance(*(moments(x[column]) for x in (real, generated))), math.nan

    return value


def coverage(distance: Callable[..., float], size: int, batches: int) -> tuple[Any, Any]:
    """COV and MMD of ``coverage_and_matching``, which finds both at once: what it found is kept."""
    known: list[tuple[Any, Any]] = []

    def both(real: Sample, generated: Sample, rng: Random) -> Any:
        pair = [(x["points"], x["mask"]) for x in (real, generated)]
        for seen, found in known:
            if all(np.array_equal(a[0], b[0]) for a, b in zip(seen, pair, strict=True)):
                return found
        known.append((pair, coverage_and_matching(pair[0], pair[1], distance, rng, size, batches)))
        return known[-1][1]

    return lambda *sample: both(*sample)[0], lambda *sample: both(*sample)[1]


def misclassified(real: Sample, generated: Sample, rng: Random) -> tuple[float, float]:
    """Share of generated sets that the classifier gives another label, and its binomial error."""
    share = float(np.mean(generated["predicted"] != generated["label"]))
    return share, math.sqrt(max(share * (1 - share), 1e-12) / len(generated["label"]))


def jet_metrics(size: int, batches: int) -> dict[str, Metric]:
    """The metrics of jets; COV and MMD of ``batches`` of ``size`` jets."""
    covered, matched = coverage(energy_movers_distance, size, batches)
    return {
        "w1m": Metric("W1M: W1 of the mass of the jet / its pT", w1_of("mass"), power=0.5),
        "w1p": Metric("W1P: mean W1 of eta_rel, phi_rel and pt_rel", w1_of_points, power=0.5),
        "w1efp": Metric("W1EFP: mean W1 of 5 EFPs with 4 edges", w1_of_efps, power=0.5),
        "w1_pt": Metric("W1 of the summed pT of the constituents", w1_of("pt"), power=0.5),
        "fpd": Metric(
            "FPD: Frechet distance of 36 EFPs, extrapolated to samples without end",
            lambda a, b, rng: physics_frechet_distance(a["efp"], b["efp"], rng),
        ),
        "kpd": Metric(
            "KPD: kernel distance of 36 EFPs",
            lambda a, b, rng: physics_kernel_distance(a["efp"], b["efp"], rng),
        ),
        "cov": Metric(
            "COV: share of real jets that are covered, best is high",
            covered, "fraction", high=True,
        ),
        "mmd": Metric(
            "MMD: EMD of real jets to the nearest generated one; 0 only for copies",
            matched,
        ),
    }  # fmt: skip


def superpixel_metrics(size: int, batches: int, judged: bool = True) -> dict[str, Metric]:
    """The metrics of superpixels; COV and MMD of ``batches`` of ``size`` sets.

    ``judged``: with those of a classifier, which needs more than one class.
    """
    covered, matched = coverage(chamfer_distance, size, batches)
    judgements = {
        "misclassified": Metric(
            "digits that a classifier trained on real ones takes for another than asked for",
            misclassified,
            "fraction",
        ),
        "frechet": Metric(
            "Frechet distance of that classifier's features", frechet_of("seen"), power=1.0
        ),
    }
    return (judgements if judged else {}) | {
        "w1p": Metric("mean W1 of x, y and intensity of points", w1_of_points, power=0.5),
        "w1_total": Metric("W1 of the summed intensity", w1_of("total"), power=0.5),
        "cov": Metric(
            "COV: share of real digits that are covered, best is high",
            covered, "fraction", high=True,
        ),
        "mmd": Metric(
            "MMD: distance of real digits to the nearest generated one; 0 only for copies",
            matched,
        ),
    }  # fmt: skip


def jet_sample(sets: PointSets) -> Sample:
    """What the metrics of jets need of each jet."""
    return {
        "points": sets.points,
        "mask": sets.mask,
        "count": sets.counts,
        **jet_observables(sets.points, sets.mask),
        "efp": efp_features(sets.points, sets.mask),
        "w1efp": efps(sets.points, sets.mask, w1_graphs()),
    }


def superpixel_sample(
    sets: PointSets, classify: Callable[[PointSets], tuple[NDArray[Any], NDArray[Any]]] | None
) -> Sample:
    """What the metrics of superpixels need; ``classify`` gives label and features of sets."""
    judged = {}
    if classify is not None:
        predicted, features = classify(sets)
        judged = {"predicted": predicted, "seen": features.astype(np.float64)}
    return judged | {
        "points": sets.points,
        "mask": sets.mask,
        "count": sets.counts,
        "label": sets.label,
        "total": sets.points[..., 2].sum(axis=1, dtype=np.float64),
    }


def compare_sets(
    real: Sample, generated: Sample, metrics: dict[str, Metric], seed: int = 0
) -> dict[str, Any]:
    """Every metric with error, floor and judgement, in the form of ``metrics.compare``.

    Args:
        real, generated: samples; the real one is split for the floor.
        metrics: by name.
        seed: of resampling and batches.

    Raises:
        InputError: too few sets for an error and a floor.
    """
    n_r, n_c = len(real["points"]), len(generated["points"])
    for name, n in (("reference", n_r), ("candidate", n_c)):
        check_enough(name, n)
    half = n_r // 2
    scale = (1 / n_r + 1 / n_c) / (1 / half + 1 / (n_r - half))
    found = {}
    for name, metric in metrics.items():
        rng = np.random.default_rng(seed)
        value, error = metric.value(real, generated, rng)
        if math.isnan(error):
            error = spread(resampled(real, generated, metric, rng))[1]
            floor, width = spread(np.array([halves(real, metric, rng)[0] for _ in range(SPLITS)]))
        else:
            # The same halves for all metrics: COV and MMD are computed together.
            floor, width = halves(real, metric, np.random.default_rng(seed))
        factor, sign = scale**metric.power, -1 if metric.high else 1
        row = entry(sign * value, error, sign * factor * floor, factor * width, metric.unit, n_c)
        for key in ("value", "floor"):
            row[key] = None if row[key] is None else sign * row[key]
        found[name] = row
    outside = [name for name, m in found.items() if m["within"] is False]
    return {
        "metrics": found,
        "verdict": "outside floor" if outside else "within floor",
        "outside": outside,
        "sigmas": SIGMAS,
        "quantities": quantities(real, generated),
        "about": {name: metric.about for name, metric in metrics.items()},
    }


def resampled(real: Sample, generated: Sample, metric: Metric, rng: Random) -> NDArray[np.float64]:
    """The metric of bootstrap samples of both sides: [RESAMPLES]."""
    values = []
    for _ in range(RESAMPLES):
        sides = [take(x, rng.integers(len(x["points"]), size=len(x["points"])))
                 for x in (real, generated)]  # fmt: skip
        values.append(metric.value(sides[0], sides[1], rng)[0])
    return np.array(values)


def halves(real: Sample, metric: Metric, rng: Random) -> tuple[float, float]:
    """The metric between random halves of the real sample."""
    order = rng.permutation(len(real["points"]))
    half = len(order) // 2
    return metric.value(take(real, order[half:]), take(real, order[:half]), rng)


def quantities(real: Sample, generated: Sample) -> dict[str, dict[str, Any]]:
    """Means over the sets of what they have: {name: {reference, candidate, unit}}."""
    units = {"count": "points", "mass": "pT of the jet", "pt": "pT of the jet", "total": ""}
    return {
        name: {
            "reference": finite(float(real[name].mean())),
            "candidate": finite(float(generated[name].mean())),
            "unit": unit,
        }
        for name, unit in units.items()
        if name in real
    }
