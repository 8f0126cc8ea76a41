"""What tracks say of a background: resolution, efficiency, wrong hits, and how far two differ.

The floor of a metric is the real background against itself in another coincidence with the signal.
Errors are standard deviations over bootstrap samples of background events, drawn for all
backgrounds alike: their signal is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from kerasgen.data.simulation.detector import Floats, Ints
from kerasgen.metrics.bias import finite, quantity
from kerasgen.metrics.compare import RESAMPLES, entry
from kerasgen.metrics.distance import frechet_distance, moments
from kerasgen.tracking.signal import PT_GEV
from kerasgen.tracking.study import Records, half_width

PT_EDGES = (PT_GEV[0], 0.3, 0.5, 0.8, 1.2, PT_GEV[1])  # GeV/c


def resolution(records: Records, name: str) -> Floats:
    """[bins of pT], half width of the residuals of "d0" or "z0", mm."""
    at = np.digitize(records.pt, PT_EDGES) - 1
    values = getattr(records, name)
    return np.array([half_width(values[at == k]) for k in range(len(PT_EDGES) - 1)])


def efficiency(records: Records) -> Floats:
    """[pixel layers], share of the crossings whose right cluster is on the track."""
    return (records.found & records.expected).sum(0) / records.expected.sum(0)


def wrong_rate(records: Records) -> Floats:
    """[pixel layers], share of the attached clusters that are not of the track."""
    attached = (records.found | records.wrong).sum(0)
    return records.wrong.sum(0) / np.maximum(attached, 1)


def _relative_resolution(name: str, reference: Records, candidate: Records) -> float:
    ratio = resolution(candidate, name) / resolution(reference, name)
    return float(np.nanmean(np.abs(ratio - 1)))


def d0_resolution(reference: Records, candidate: Records) -> float:
    """Relative difference of the 68 % half width of d0 residuals, mean over bins of pT."""
    return _relative_resolution("d0", reference, candidate)


def z0_resolution(reference: Records, candidate: Records) -> float:
    """Relative difference of the 68 % half width of z0 residuals, mean over bins of pT."""
    return _relative_resolution("z0", reference, candidate)


def hit_efficiency(reference: Records, candidate: Records) -> float:
    """Difference of the share of crossings whose right cluster is attached, mean over layers."""
    return float(np.abs(efficiency(candidate) - efficiency(reference)).mean())


def wrong_hits(reference: Records, candidate: Records) -> float:
    """Difference of the share of attached clusters that are of no track, mean over layers."""
    return float(np.abs(wrong_rate(candidate) - wrong_rate(reference)).mean())


def residual_frechet(reference: Records, candidate: Records) -> float:
    """Frechet distance W2^2 of the (d0, z0) residuals, taken as normal laws."""
    both = (np.stack([r.d0, r.z0], 1) for r in (reference, candidate))
    a, b = (moments(x) for x in both)
    return frechet_distance(a, b)


METRICS = {
    "tracking_d0": (d0_resolution, "relative"),
    "tracking_z0": (z0_resolution, "relative"),
    "tracking_efficiency": (hit_efficiency, "probability"),
    "tracking_wrong_hits": (wrong_hits, "probability"),
    "tracking_frechet": (residual_frechet, "mm^2"),
}


def tracking_metrics(
    reference: Records, rotated: Records, candidate: Records, seed: int
) -> dict[str, dict[str, Any]]:
    """Metrics of the candidate's tracks, in the form of ``compare``.

    Args:
        reference: under real background.
        rotated: under the same background in another coincidence with the signal: the floor.
        candidate: under generated background.
        seed: of the bootstrap over background events.
    """
    rng = np.random.default_rng(seed)
    drawn = [_rows(reference, rng) for _ in range(RESAMPLES)]
    found = {}
    for name, (metric, unit) in METRICS.items():
        value, floor = metric(reference, candidate), metric(reference, rotated)
        error, floor_error = (
            float(np.std([metric(reference.take(r), other.take(r)) for r in drawn], ddof=1))
            for other in (candidate, rotated)
        )
        found[name] = entry(value, error, floor, floor_error, unit, len(candidate))
    return found


def _rows(records: Records, rng: np.random.Generator) -> Ints:
    """Tracks of background events drawn with replacement."""
    n = int(records.event[-1]) + 1
    per_event = len(records) // n
    events = rng.integers(n, size=n)
    return (events[:, None] * per_event + np.arange(per_event)).ravel()


QUANTITIES: dict[str, tuple[Callable[[Records], float], str]] = {
    "d0_resolution": (lambda r: float(1000 * np.nanmean(resolution(r, "d0"))), "um"),
    "z0_resolution": (lambda r: float(1000 * np.nanmean(resolution(r, "z0"))), "um"),
    "hit_efficiency": (lambda r: float(efficiency(r).mean()), "probability"),
    "wrong_hit_rate": (lambda r: float(wrong_rate(r).mean()), "probability"),
}

BINNED: dict[str, Callable[[Records], Floats]] = {
    "d0": lambda r: 1000 * resolution(r, "d0"),
    "z0": lambda r: 1000 * resolution(r, "z0"),
    "efficiency": efficiency,
    "wrong": wrong_rate,
}


def table(cases: dict[str, Records], seed: int) -> dict[str, Any]:
    """What each background does to tracks: numbers with bootstrap errors, for the report.

    Args:
        cases: records of the same signal by the name of their background.
        seed: of the bootstrap over background events.

    Returns:
        ``pt_edges`` (GeV/c); ``cases`` {case: ``tracks``, and ``d0``, ``z0`` (um, by bin of pT),
        ``efficiency`` and ``wrong`` (by layer), each a list of [value, error]}; ``frechet``, a
        list of [case, case, W2^2 in mm^2, error] of their (d0, z0) residuals; ``residuals``
        {"d0", "z0": {"edges": mm, case: density}}.
    """
    rng = np.random.default_rng(seed)
    rows = [_rows(next(iter(cases.values())), rng) for _ in range(RESAMPLES)]
    numbers: dict[str, list] = {case: [] for case in cases}
    distances: list[list[float]] = []
    for drawn in [np.arange(len(next(iter(cases.values())))), *rows]:
        taken = {case: records.take(drawn) for case, records in cases.items()}
        for case, records in taken.items():
            numbers[case].append({name: of(records) for name, of in BINNED.items()})
        distances.append([residual_frechet(a, b) for a, b in combinations(taken.values(), 2)])
    spread = np.std(distances[1:], axis=0, ddof=1)
    return {
        "pt_edges": list(PT_EDGES),
        "cases": {
            case: {"tracks": len(cases[case])} | {k: _with_errors(found, k) for k in BINNED}
            for case, found in numbers.items()
        },
        "frechet": [
            [a, b, finite(value), finite(error)]
            for (a, b), value, error in zip(
                combinations(cases, 2), distances[0], spread, strict=True
            )
        ],
        "residuals": {name: _residuals(cases, name) for name in ("d0", "z0")},
    }


def _with_errors(found: list[dict[str, Floats]], name: str) -> list[list[float | None]]:
    """[value, error] of each bin, from the sample itself and its bootstrap samples after it."""
    errors = np.std([f[name] for f in found[1:]], axis=0, ddof=1)
    return [[finite(v), finite(e)] for v, e in zip(found[0][name], errors, strict=True)]


def _residuals(cases: dict[str, Records], name: str) -> dict[str, list[float]]:
    """Density of residuals of each case, 1/mm, over six half widths of the first to both sides."""
    reach = 6 * half_width(getattr(next(iter(cases.values())), name))
    edges = np.linspace(-reach, reach, 49)
    out = {"edges": edges.tolist()}
    for case, records in cases.items():
        values = getattr(records, name)
        density = np.histogram(values, edges)[0] / len(values) / np.diff(edges)
        out[case] = density.tolist()
    return out


def tracking_quantities(
    reference: Records, candidate: Records, seed: int
) -> dict[str, dict[str, Any]]:
    """Averages over bins of pT or layers, in the form of ``compare.quantities``.

    Their differences are the systematic uncertainty of replacing real by generated background.

    Args:
        reference, candidate: the same signal under both backgrounds.
        seed: of the bootstrap over background events.
    """
    rng = np.random.default_rng(seed)
    drawn = [_rows(reference, rng) for _ in range(RESAMPLES)]
    pairs = [(reference, candidate), *((reference.take(r), candidate.take(r)) for r in drawn)]
    events = int(reference.event[-1]) + 1
    return {
        name: quantity(np.array([[of(a), of(b)] for a, b in pairs]), events, unit, paired=True)
        for name, (of, unit) in QUANTITIES.items()
    }
