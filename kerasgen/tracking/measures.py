"""Resolution, efficiency and wrong hits of tracks under a background, and metrics of them.

The floor of a metric is the real background against itself, combined with other signal events.
Errors are standard deviations over bootstrap samples of background events. All backgrounds use the
same samples, as their signal is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from kerasgen.data.simulation.detector import Floats
from kerasgen.metrics.bias import compare_quantity, finite_or_none
from kerasgen.metrics.bootstrap import RESAMPLES, bootstrap_rows, mean_and_deviation
from kerasgen.metrics.distance import frechet_distance, moments
from kerasgen.metrics.verdict import judged_metric
from kerasgen.tracking.signal import PT_GEV
from kerasgen.tracking.study import Records, half_width

PT_EDGES = (PT_GEV[0], 0.3, 0.5, 0.8, 1.2, PT_GEV[1])  # GeV/c


@dataclass(frozen=True)
class Measures:
    """Performance of tracks.

    Attributes:
        d0, z0: [bins of pT], um, half width of the residuals.
        efficiency: [pixel layers], fraction of the crossings whose right cluster is attached.
        wrong: [pixel layers], fraction of the attached clusters that are not of the track.
        moments: mean [2] and covariance [2, 2] of the (d0, z0) residuals, mm.
    """

    d0: Floats
    z0: Floats
    efficiency: Floats
    wrong: Floats
    moments: tuple[Floats, Floats]


# Measures of the tracks, followed by those of each bootstrap sample.
BootstrapMeasures = list[Measures]


def measure_tracks(records: Records) -> Measures:
    """Measure the performance of tracks, in any order."""
    at = np.digitize(records.pt, PT_EDGES) - 1

    def widths(values: Floats) -> Floats:
        return np.array([1000 * half_width(values[at == k]) for k in range(len(PT_EDGES) - 1)])

    attached, crossings = (records.found | records.wrong).sum(0), records.expected.sum(0)
    right = (records.found & records.expected).sum(0)
    return Measures(
        widths(records.d0),
        widths(records.z0),
        np.divide(right, crossings, out=np.full(len(right), np.nan), where=crossings > 0),
        records.wrong.sum(0) / np.maximum(attached, 1),
        moments(np.stack([records.d0, records.z0], 1)),
    )


def bootstrap_measures(cases: list[Records], seed: int) -> list[BootstrapMeasures]:
    """Measures of every case and of the same bootstrap samples of background events.

    Args:
        cases: records of the same signal under different backgrounds, sorted by event.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    found = [[measure_tracks(records)] for records in cases]
    for _ in range(RESAMPLES):
        rows = bootstrap_rows(cases[0].event, rng)
        for measures, records in zip(found, cases, strict=True):
            measures.append(measure_tracks(records.take(rows)))
    return found


def d0_resolution(reference: Measures, candidate: Measures) -> float:
    """Relative difference of the 68 % half width of d0 residuals, mean over bins of pT."""
    return _relative_difference(reference.d0, candidate.d0)


def z0_resolution(reference: Measures, candidate: Measures) -> float:
    """Relative difference of the 68 % half width of z0 residuals, mean over bins of pT."""
    return _relative_difference(reference.z0, candidate.z0)


def _relative_difference(reference: Floats, candidate: Floats) -> float:
    """Mean of |candidate / reference - 1| over the bins in which it is defined; NaN without one."""
    defined = np.isfinite(candidate) & (reference > 0)
    return _mean(np.abs(candidate[defined] / reference[defined] - 1))


def _mean(values: Floats) -> float:
    """Mean of the finite values; NaN without one."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def hit_efficiency(reference: Measures, candidate: Measures) -> float:
    """Difference of the fraction of crossings with the right cluster, mean over layers."""
    return _mean(np.abs(candidate.efficiency - reference.efficiency))


def wrong_hits(reference: Measures, candidate: Measures) -> float:
    """Difference of the fraction of attached clusters not of the track, mean over layers."""
    return float(np.abs(candidate.wrong - reference.wrong).mean())


def residual_frechet(reference: Measures, candidate: Measures) -> float:
    """Frechet distance W2^2 of the (d0, z0) residuals, taken as normally distributed."""
    return frechet_distance(reference.moments, candidate.moments)


METRICS: dict[str, tuple[Callable[[Measures, Measures], float], str]] = {
    "tracking_d0": (d0_resolution, "relative"),
    "tracking_z0": (z0_resolution, "relative"),
    "tracking_efficiency": (hit_efficiency, "probability"),
    "tracking_wrong_hits": (wrong_hits, "probability"),
    "tracking_frechet": (residual_frechet, "mm^2"),
}


def tracking_metrics(
    reference: BootstrapMeasures,
    rotated: BootstrapMeasures,
    candidate: BootstrapMeasures,
    tracks: int,
) -> dict[str, dict[str, Any]]:
    """Metrics of the candidate's tracks from ``judged_metric``, by name.

    Args:
        reference: tracks under real background.
        rotated: tracks under the same background combined with other signal, for the floor.
        candidate: tracks under generated background.
        tracks: number of tracks of the candidate.
    """
    found = {}
    for name, (metric, unit) in METRICS.items():
        value, error = metric_and_error(metric, reference, candidate)
        floor, floor_error = metric_and_error(metric, reference, rotated)
        found[name] = judged_metric(value, error, floor, floor_error, unit, tracks)
    return found


def metric_and_error(
    metric: Callable[[Measures, Measures], float], a: BootstrapMeasures, b: BootstrapMeasures
) -> tuple[float, float]:
    """A metric and its error from the bootstrap samples in which it is defined."""
    values = np.array([metric(x, y) for x, y in zip(a, b, strict=True)])
    return float(values[0]), mean_and_deviation(values[1:])[1]


QUANTITIES: dict[str, tuple[Callable[[Measures], float], str]] = {
    "d0_resolution": (lambda m: _mean(m.d0), "um"),
    "z0_resolution": (lambda m: _mean(m.z0), "um"),
    "hit_efficiency": (lambda m: _mean(m.efficiency), "probability"),
    "wrong_hit_rate": (lambda m: float(m.wrong.mean()), "probability"),
}


def tracking_quantities(
    reference: BootstrapMeasures, candidate: BootstrapMeasures, events: int
) -> dict[str, dict[str, Any]]:
    """Averages over bins of pT or layers: {name: see ``bias.compare_quantity``}.

    The differences are the systematic uncertainty of replacing real by generated background.

    Args:
        reference, candidate: measures of the same signal under both backgrounds.
        events: number of background events.
    """
    pairs = list(zip(reference, candidate, strict=True))
    return {
        name: compare_quantity(
            np.array([[average(a), average(b)] for a, b in pairs]), events, unit, paired=True
        )
        for name, (average, unit) in QUANTITIES.items()
    }


def tracking_table(
    cases: dict[str, Records], found: dict[str, BootstrapMeasures]
) -> dict[str, Any]:
    """Performance of tracks under each background with bootstrap errors, for the report.

    Args:
        cases: records of the same signal by the name of the background.
        found: measures of the cases.

    Returns:
        ``pt_edges`` (GeV/c); ``cases`` {case: ``tracks``, and ``d0``, ``z0`` (um, by bin of pT),
        ``efficiency`` and ``wrong`` (by layer), each a list of [value, error]}; ``frechet``, a
        list of [case, case, W2^2 in mm^2, error] of their (d0, z0) residuals; ``residuals``
        {"d0", "z0": {"edges": mm, case: density}}.
    """
    distances = {
        (a, b): metric_and_error(residual_frechet, found[a], found[b])
        for a, b in combinations(cases, 2)
    }
    return {
        "pt_edges": list(PT_EDGES),
        "cases": {
            case: {"tracks": len(records)}
            | {k: _with_errors(found[case], k) for k in ("d0", "z0", "efficiency", "wrong")}
            for case, records in cases.items()
        },
        "frechet": [[a, b, *map(finite_or_none, value)] for (a, b), value in distances.items()],
        "residuals": {name: _residuals(cases, name) for name in ("d0", "z0")},
    }


def _with_errors(found: BootstrapMeasures, name: str) -> list[list[float | None]]:
    """[value, error] of each bin."""
    values = np.array([getattr(m, name) for m in found])
    errors = [mean_and_deviation(x)[1] for x in values[1:].T]
    return [[finite_or_none(v), finite_or_none(e)] for v, e in zip(values[0], errors, strict=True)]


def _residuals(cases: dict[str, Records], name: str) -> dict[str, list[float]]:
    """Density of residuals of each case, 1/mm, within +-6 half widths of the first case."""
    reach = 6 * half_width(getattr(next(iter(cases.values())), name))
    edges = np.linspace(-reach, reach, 49)
    out = {"edges": edges.tolist()}
    for case, records in cases.items():
        values = getattr(records, name)
        density = np.histogram(values, edges)[0] / len(values) / np.diff(edges)
        out[case] = density.tolist()
    return out
