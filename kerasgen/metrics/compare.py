"""Metrics with their error, and with the floor that real against real reaches.

error: standard deviation over bootstrap samples of the events of both samples, see
``kerasgen.metrics.bootstrap``.

floor: the same metric between disjoint random parts of the reference, mean over the splits;
``floor_error`` is the standard deviation over the splits. One part has min(n_candidate,
n_reference / 2) events, the other the rest. Parts a and b fluctuate by sqrt(1/a + 1/b), the samples
compared by sqrt(1/n_reference + 1/n_candidate). The floor is scaled by the ratio of the two, which
is exact to leading order for absolute differences and W1, and within a few per cent of 1 if the
reference has many times the events of the candidate. Re-firing and diversity count pairs of events,
and the parts hold fewer pairs: their floor is higher (1.7 times in the toy events of the tests), so
the smallest excesses pass.

verdict: see ``kerasgen.metrics.verdict``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations
from typing import Any

import numpy as np

from kerasgen.errors import InputError
from kerasgen.metrics import pixel
from kerasgen.metrics.bias import compare_quantity
from kerasgen.metrics.bootstrap import mean_and_deviation, resample_events
from kerasgen.metrics.pool import Pool, pool, pools
from kerasgen.metrics.summary import Summary, check_same_geometry
from kerasgen.metrics.verdict import add_metric as add_metric
from kerasgen.metrics.verdict import judged_metric, verdict_of_metrics

MIN_EVENTS = 4  # two halves of two events: the fewest that have a variance


def compare(reference: Summary, candidate: Summary, seed: int = 0) -> dict[str, Any]:
    """Compare generated with real events in every metric of ``pixel.METRICS``.

    Args:
        reference: real events.
        candidate: generated events, same geometry.
        seed: of the resampling.

    Returns:
        ``metrics`` {name: {value, error, floor, floor_error, unit, n, within}}; ``verdict``,
        ``outside`` and ``sigmas`` as in ``verdict_of_metrics``; ``quantities`` {name: see
        ``bias.compare_quantity``} of the two samples. ``within`` is None (null) where the reference
        has no floor. A value that is not defined for the candidate is None and outside.

    Raises:
        InputError: different geometries or fewer than 4 events on one side.
    """
    check_same_geometry(reference.geometry, candidate.geometry)
    for name, sample in (("reference", reference), ("candidate", candidate)):
        check_enough(name, len(sample))
    n_r, n_c = len(reference), len(candidate)
    resampling = resample_events(n_r, n_c, np.random.default_rng(seed))
    samples = pool(reference), pool(candidate)
    both = pools(reference, resampling.reference), pools(candidate, resampling.candidate)
    bootstraps = list(zip(*both, strict=True))
    both = pools(reference, ~resampling.part), pools(reference, resampling.part)
    parts = list(zip(*both, strict=True))
    metrics, splits = {}, {}
    for name, (metric, unit) in pixel.METRICS.items():
        value = metric(*samples)
        error = mean_and_deviation(np.array([metric(a, b) for a, b in bootstraps]))[1]
        splits[name] = resampling.scale * np.array([metric(a, b) for a, b in parts])
        floor, floor_error = mean_and_deviation(splits[name])
        metrics[name] = judged_metric(value, error, floor, floor_error, unit, n_c)
    return verdict_of_metrics(metrics, splits) | {
        "quantities": quantities(samples, bootstraps, n_r)
    }


def check_enough(name: str, events: int) -> None:
    """Raise InputError if a sample has too few events for an error and a floor."""
    if events < MIN_EVENTS:
        raise InputError(
            f"{name} has {events} events; at least {MIN_EVENTS} are needed for errors and floors"
        )


def metrics_document(
    comparison: dict[str, Any],
    config: dict[str, Any] | None,
    data: dict[str, str],
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """The content of ``metrics.json``: a comparison with its configuration, data and versions.

    Args:
        comparison: from ``compare`` or ``point_sets.compare_sets``.
        config: resolved configuration of the run, None without one.
        data: checksums of the data, by file name.
        remarks: sentences on what a reader must know of the samples.
    """
    return {
        **comparison,
        "remarks": list(remarks),
        "config": config,
        "data": data,
        "versions": package_versions(),
    }


def same_events(files: dict[str, tuple[str, str]]) -> list[str]:
    """A sentence for each two samples of a comparison that are the same events.

    Args:
        files: {sample: (path, checksum)}, as {"candidate": ("a.h5", "00ff")}.
    """
    remarks = []
    for (a, (path, content)), (b, (other, content_b)) in combinations(files.items(), 2):
        if content == content_b:
            names = path if path == other else f"{path} and {other}"
            remarks.append(f"{a.capitalize()} and {b} are the same events: {names}.")
    return remarks


def package_versions(*more: str) -> dict[str, str]:
    """Versions of the packages that the numbers depend on; of the backends, the one in use.

    Args:
        more: further packages.
    """
    keras = sys.modules.get("keras")
    backend = [keras.config.backend()] if keras else []
    found = {}
    for name in ("kerasgen", "numpy", "scipy", *backend, "keras", *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def quantities(
    samples: tuple[Pool, Pool], bootstraps: list[tuple[Pool, Pool]], events: int
) -> dict[str, dict[str, Any]]:
    """Plain numbers of both samples, with sign: {name: see ``bias.compare_quantity``}.

    Args:
        samples: reference and candidate.
        bootstraps: their bootstrap samples.
        events: of the reference.
    """
    numbers = [[_numbers(p) for p in pair] for pair in (samples, *bootstraps)]
    return {
        name: compare_quantity(
            np.array([[p[name][0] for p in pair] for pair in numbers]), events, unit
        )
        for name, (_, unit) in numbers[0][0].items()
    }


def _numbers(p: Pool) -> dict[str, tuple[float, str]]:
    """{name: (value, unit)} of one sample."""
    rows = {
        "occupancy": (float(p.fired_mean.mean()) / p.geometry.pixels, "fraction"),
        "fired_per_event": (float(p.fired_mean.sum()), "pixels"),
        "adu_mean": (_ratio(p.adu_sum, p.fired), "ADU"),
    }
    layers = sorted({s.layer for s in p.geometry.sensors})
    for layer, ratio in zip(layers, pixel.layer_ratio(p), strict=True):
        rows[f"variance_over_mean_layer_{layer}"] = (float(ratio), "pixels")
    return rows | {
        "cluster_size": (_ratio(p.fired, p.clusters), "pixels"),
        "cluster_size_u": (_ratio(p.sums["size_u"], p.clusters), "pixels"),
        "cluster_size_v": (_ratio(p.sums["size_v"], p.clusters), "pixels"),
        "cluster_charge": (_ratio(p.adu_sum, p.clusters), "ADU"),
        "cluster_seed": (_ratio(p.sums["seed"], p.clusters), "ADU"),
        "refired": (pixel.refire_probability(p), "probability"),
        "refired_over_chance": (pixel.refire_ratio(p), "ratio"),
        "jaccard_distance": (pixel.jaccard_distance(p), ""),
    }


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else float("nan")
