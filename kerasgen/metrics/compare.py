"""Metrics with their error, and with the floor that real against real reaches.

error: standard deviation over bootstrap samples, events of both samples drawn with replacement
(Efron 1979, doi:10.1214/aos/1176344552). Events, not images: sensors of an event are correlated.

floor: the same metric between disjoint random parts of the reference, mean over the splits, with
``floor_error`` their standard deviation. A part has min(n_candidate, n_reference / 2) events, the
other the rest. Parts a and b fluctuate by sqrt(1/a + 1/b), the samples compared by
sqrt(1/n_reference + 1/n_candidate); the floor is scaled by the ratio of the two, which is exact to
leading order for absolute differences and W1 and at most a few per cent from 1 if the reference
has many times the events of the candidate. Re-firing and diversity count pairs of events, of which
the parts hold fewer: their floor comes out higher (1.7 times in the tests' toy events), which lets
the smallest excesses pass.

verdict: of 30 metrics one or another passes 3 sigma by chance, and their floors are no normal
distributions. So the largest of all (value - floor) / sqrt(error^2 + floor_error^2) is held against
the largest that any split of the reference has (the maximum over metrics, which keeps their
correlations; Westfall and Young 1993, ISBN 0-471-55761-7), and at least against 3.
"""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.errors import InputError
from kerasgen.metrics import pixel
from kerasgen.metrics.bias import finite, quantity
from kerasgen.metrics.pool import Pool, pool, pools
from kerasgen.metrics.summary import Summary, check_same_geometry

RESAMPLES = 50
LEAST_EVENTS = 4  # two halves of two events: the fewest that have a variance
SIGMAS = 3.0


def compare(reference: Summary, candidate: Summary, seed: int = 0) -> dict[str, Any]:
    """Every metric with error, floor and judgement.

    Args:
        reference: real events.
        candidate: generated events, same geometry.
        seed: of the resampling.

    Returns:
        ``metrics`` {name: {value, error, floor, floor_error, unit, n, within}}, ``verdict``
        ("within floor" or "outside floor"), ``outside`` [names] and ``quantities`` {name: see
        ``bias.quantity``}, what the two samples have, and ``sigmas``, what the largest excess of
        all metrics may be for the verdict. ``within``: value - floor <=
        3 sqrt(error^2 + floor_error^2); None (null) where the reference itself has no floor.
        A value that is not defined for the candidate is None and outside.

    Raises:
        InputError: different geometries or fewer than 4 events on one side.
    """
    check_same_geometry(reference.geometry, candidate.geometry)
    for name, sample in (("reference", reference), ("candidate", candidate)):
        check_enough(name, len(sample))
    rng = np.random.default_rng(seed)
    n_r, n_c = len(reference), len(candidate)
    whole = pool(reference), pool(candidate)
    drawn_r, drawn_c, chosen, scale = resampling(n_r, n_c, rng)
    drawn = list(zip(pools(reference, drawn_r), pools(candidate, drawn_c), strict=True))
    split = list(zip(pools(reference, ~chosen), pools(reference, chosen), strict=True))
    metrics = {}
    chance = np.zeros(RESAMPLES)  # the largest excess of all metrics, in sigma, of each split
    for name, (metric, unit) in pixel.METRICS.items():
        value = metric(*whole)
        error = spread(np.array([metric(a, b) for a, b in drawn]))[1]
        parts = scale * np.array([metric(a, b) for a, b in split])
        floor, floor_error = spread(parts)
        metrics[name] = entry(value, error, floor, floor_error, unit, n_c)
        excess = [sigmas_above(metrics[name] | {"value": v}) for v in parts]
        chance = np.fmax(chance, excess)
    limit = max(SIGMAS, float(chance.max()))
    outside = [name for name, m in metrics.items() if m["within"] is False]
    beyond = [name for name in outside if sigmas_above(metrics[name]) > limit]
    return {
        "metrics": metrics,
        "verdict": "outside floor" if beyond else "within floor",
        "outside": outside,
        "sigmas": limit,
        "quantities": quantities(whole, drawn, n_r),
    }


def add_metric(result: dict[str, Any], name: str, metric: dict[str, Any]) -> None:
    """Add a metric to a result of ``compare``, and to its verdict if it is beyond."""
    result["metrics"][name] = metric
    if metric["within"] is False:
        result["outside"].append(name)
        if sigmas_above(metric) > result["sigmas"]:
            result["verdict"] = "outside floor"


def check_enough(name: str, events: int) -> None:
    """Raise InputError if a sample has too few events for an error and a floor."""
    if events < LEAST_EVENTS:
        raise InputError(
            f"{name} has {events} events; at least {LEAST_EVENTS} are needed for errors and floors"
        )


def metrics_document(
    comparison: dict[str, Any], config: dict[str, Any] | None, data: dict[str, str]
) -> dict[str, Any]:
    """The content of ``metrics.json``: a comparison with what it was made from and with.

    Args:
        comparison: from ``compare``.
        config: resolved configuration of the run, None without one.
        data: checksums of the data, by file name.
    """
    return {**comparison, "config": config, "data": data, "versions": versions()}


def versions() -> dict[str, str]:
    """Versions of the packages the numbers depend on."""
    found = {}
    for name in ("kerasgen", "numpy", "scipy", "tensorflow", "keras"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def quantities(
    whole: tuple[Pool, Pool], drawn: list[tuple[Pool, Pool]], events: int
) -> dict[str, dict[str, Any]]:
    """{name: see ``bias.quantity``}: the plain numbers behind the metrics, with sign.

    Args:
        whole: reference and candidate.
        drawn: their bootstrap samples.
        events: of the reference.
    """
    found = [[_numbers(p) for p in pair] for pair in (whole, *drawn)]
    return {
        name: quantity(np.array([[p[name][0] for p in pair] for pair in found]), events, unit)
        for name, (_, unit) in found[0][0].items()
    }


def _numbers(p: Pool) -> dict[str, tuple[float, str]]:
    """{name: (value, unit)} of one sample."""
    rows = {
        "occupancy": (float(p.fired_mean.mean()) / p.geometry.pixels, "fraction"),
        "fired_per_event": (float(p.fired_mean.sum()), "pixels"),
        "adu_mean": (_over(p.adu_sum, p.fired), "ADU"),
    }
    layers = sorted({s.layer for s in p.geometry.sensors})
    for layer, ratio in zip(layers, pixel.layer_ratio(p), strict=True):
        rows[f"variance_over_mean_layer_{layer}"] = (float(ratio), "pixels")
    return rows | {
        "cluster_size": (_over(p.fired, p.clusters), "pixels"),
        "cluster_size_u": (_over(p.sums["size_u"], p.clusters), "pixels"),
        "cluster_size_v": (_over(p.sums["size_v"], p.clusters), "pixels"),
        "cluster_charge": (_over(p.adu_sum, p.clusters), "ADU"),
        "cluster_seed": (_over(p.sums["seed"], p.clusters), "ADU"),
        "refired": (pixel.refire_probability(p), "probability"),
        "refired_over_chance": (pixel.refire_ratio(p), "ratio"),
        "jaccard_distance": (pixel.jaccard_distance(p), ""),
    }


def entry(
    value: float, error: float, floor: float, floor_error: float, unit: str, n: int
) -> dict[str, Any]:
    within: bool | None = None
    if math.isfinite(floor):
        limit = SIGMAS * math.sqrt(np.nan_to_num(error) ** 2 + floor_error**2)
        within = bool(value - floor <= limit) if math.isfinite(value) else False
    return {
        "value": finite(value),
        "error": finite(error),
        "floor": finite(floor),
        "floor_error": finite(floor_error),
        "unit": unit,
        "n": n,
        "within": within,
    }


def sigmas_above(found: dict[str, Any]) -> float:
    """(value - floor) / sqrt(error^2 + floor_error^2) of one metric.

    Infinite for a value above the floor without any spread, and for one that is not defined where
    the floor is; 0 where there is no floor.
    """
    if found["floor"] is None:
        return 0.0
    if found["value"] is None:
        return float("inf")
    above = found["value"] - found["floor"]
    width = math.hypot(found["error"] or 0.0, found["floor_error"] or 0.0)
    if width > 0:
        return float(above / width)
    return float("inf") if above > 1e-12 else 0.0


def resampling(
    n_r: int, n_c: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], float]:
    """How errors and floors of samples of n_r and n_c events are drawn.

    Returns:
        How often each event is drawn for the bootstrap of the reference [RESAMPLES, n_r] and of the
        candidate [RESAMPLES, n_c]; which events of the reference are the smaller part of a split
        [RESAMPLES, n_r]; and the scale of the floor, see the module.
    """
    drawn = [rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) for n in (n_r, n_c)]
    part = min(n_c, n_r // 2)
    chosen = np.array([rng.permutation(n_r) < part for _ in range(RESAMPLES)])
    scale = math.sqrt((1 / n_r + 1 / n_c) / (1 / part + 1 / (n_r - part)))
    return drawn[0], drawn[1], chosen, scale


def spread(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of the defined values; NaN with fewer than two."""
    defined = values[np.isfinite(values)]
    if len(defined) < 2:
        return float("nan"), float("nan")
    return float(defined.mean()), float(defined.std(ddof=1))


def _over(a: float, b: float) -> float:
    return a / b if b > 0 else float("nan")
