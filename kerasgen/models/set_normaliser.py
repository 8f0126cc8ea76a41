"""Coordinates, scale and condition of the networks, from stored point sets and back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.data.jets import to_coordinates
from kerasgen.data.points import PointSets
from kerasgen.errors import InputError
from kerasgen.models.set_summary import CENTRES, SUMMARY_CENTRES, SUMMARY_PLACES, set_summary

TOTAL_QUANTILES = 1001  # of the summed intensity
POINT_QUANTILES = 2001  # of each coordinate
MAX_ERF = 1.0 - 1e-5  # bounds the normal quantile of a sum
KNOWN_LOG_VARIANCE = -14.0  # of a number of the latent vector that is not inferred


@dataclass(frozen=True)
class Normaliser:
    """Standardised coordinates and the condition of the networks.

    Attributes:
        coordinates: "image" for superpixels; for jets "relative", "polar" or "cartesian".
        log_intensity: the third coordinate is standardised on a log scale.
        center, deviation: mean and standard deviation of the three coordinates.
        classes: labels that occur, in order.
        pt: mean and standard deviation of log(pT / GeV); empty: not part of the condition.
        size: P, largest number of points of a set.
        low, high: range of the three coordinates, normalised.
        totals: quantiles of the summed intensity, at equal steps; empty: the sum is not part of
            the latent vector.
        quantiles: of each coordinate, at equal steps. Each coordinate is then mapped to the normal
            quantile of its rank instead of being standardised; empty: it is standardised.
        summaries: quantiles of each number of ``set_summary``, with ``quantiles``.
    """

    coordinates: str
    log_intensity: bool
    center: tuple[float, ...]
    deviation: tuple[float, ...]
    classes: tuple[int, ...]
    pt: tuple[float, ...]
    size: int
    low: tuple[float, ...] = (-math.inf,) * 3
    high: tuple[float, ...] = (math.inf,) * 3
    totals: tuple[float, ...] = ()
    quantiles: tuple[tuple[float, ...], ...] = ()
    summaries: tuple[tuple[float, ...], ...] = ()

    def to_network(self, points: Any) -> Any:
        """Normalise points [B, P, 3] in physical coordinates; padding is any finite number."""
        if self.quantiles:
            return normal_scores(points, self.quantiles)
        if self.log_intensity:
            tiny = np.finfo(np.float32).tiny
            intensity = ops.log(ops.maximum(points[..., 2:], tiny))
            points = ops.concatenate([points[..., :2], intensity], axis=-1)
        center, deviation = (np.array(x, np.float32) for x in (self.center, self.deviation))
        return (points - center) / deviation

    def to_physical(self, points: Any) -> Any:
        """Inverse of ``to_network``; intensities are never negative."""
        if self.quantiles:
            tables = np.array(self.quantiles, np.float32)
            return ops.stack([value_at(points[..., k], tables[k]) for k in range(3)], axis=-1)
        center, deviation = (np.array(x, np.float32) for x in (self.center, self.deviation))
        points = points * deviation + center
        intensity = points[..., 2:]
        if self.log_intensity:
            intensity = ops.exp(intensity)
        elif self.coordinates != "cartesian":
            intensity = ops.maximum(intensity, 0.0)
        return ops.concatenate([points[..., :2], intensity], axis=-1)

    def summary(self, points: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Normal scores of ``set_summary`` of points as ``to_network`` takes them: [B, K]."""
        found = set_summary(points, mask, np.asarray(self.to_network(points)))
        return np.asarray(normal_scores(found, self.summaries))

    def centres(self, summary: Any) -> Any:
        """Normalised places of the centres of normalised summaries: [B, K] -> [B, CENTRES, 2]."""
        columns = []
        for k in range(SUMMARY_CENTRES, SUMMARY_CENTRES + 2 * CENTRES):
            place = value_at(summary[:, k], np.array(self.summaries[k], np.float32))
            table = np.array(self.quantiles[(k - SUMMARY_CENTRES) % 2], np.float32)
            columns.append(normal_score(place, table))
        return ops.reshape(ops.stack(columns, axis=-1), (-1, CENTRES, 2))

    def condition(self, label: Any, count: Any, pt: Any) -> Any:
        """The condition of the networks, [B, C] float32.

        Args:
            label: [B] int, class.
            count: [B] int, points of the set.
            pt: [B], GeV; used with ``network.pt``.
        """
        parts = [ops.cast(count, "float32")[:, None] * np.float32(2 / self.size) - 1.0]
        if len(self.classes) > 1:
            known = np.array(self.classes, np.int32)
            parts.append(ops.cast(ops.cast(label, "int32")[:, None] == known, "float32"))
        if self.pt:
            mean, deviation = (np.float32(x) for x in self.pt)
            parts.append((ops.log(ops.cast(pt, "float32"))[:, None] - mean) / deviation)
        return ops.concatenate(parts, axis=-1)

    @property
    def condition_size(self) -> int:
        """C, numbers of the condition."""
        return 1 + (len(self.classes) if len(self.classes) > 1 else 0) + bool(self.pt)

    def with_total(self, posterior: tuple[Any, Any], points: Any, mask: Any) -> tuple[Any, Any]:
        """With ``network.total``, replace the last latent by the summed intensity.

        The sum is known, not inferred. It enters as the normal quantile of its rank among the
        training sets, which is standard normal.

        Args:
            posterior: mean and log variance of the encoder, both [B, L].
            points: [B, P, 3], physical coordinates.
            mask: [B, P].
        """
        if not self.totals:
            return posterior
        total = ops.sum(ops.where(mask, points[..., 2], 0.0), axis=-1)
        quantile = normal_score(total, np.array(self.totals, np.float32))
        known = quantile[:, None], ops.full_like(quantile[:, None], KNOWN_LOG_VARIANCE)
        mean, log_variance = (
            ops.concatenate([x[:, :-1], last], axis=-1)
            for x, last in zip(posterior, known, strict=True)
        )
        return mean, log_variance

    def total_of(self, latent: Any) -> Any:
        """The summed intensity of latent vectors [..., L], inverse of ``with_total``: [...]."""
        return value_at(latent[..., -1], np.array(self.totals, np.float32))

    def to_json(self) -> str:
        """Inverse of ``normaliser_from_json``."""
        return json.dumps(asdict(self))


def normal_score(x: Any, table: NDArray[np.float32]) -> Any:
    """Normal quantile of the rank of values in a table of quantiles.

    Args:
        x: [...], values.
        table: quantiles of such values at equal steps.

    Returns:
        [...], between +-4.3; standard normal for values with these quantiles.
    """
    place = ops.reshape(ops.searchsorted(table, ops.ravel(x), side="right"), ops.shape(x))
    below = ops.clip(place - 1, 0, len(table) - 2)
    first, step = ops.take(table, below), ops.take(np.diff(table), below)
    part = ops.clip((x - first) / ops.maximum(step, np.float32(1e-9)), 0.0, 1.0)
    fraction = (ops.cast(below, "float32") + part) / (len(table) - 1)
    return math.sqrt(2.0) * ops.erfinv(ops.clip(2.0 * fraction - 1.0, -MAX_ERF, MAX_ERF))


def normal_scores(x: Any, tables: tuple[tuple[float, ...], ...]) -> Any:
    """``normal_score`` of each of the K last numbers: [..., K] -> [..., K]."""
    columns = [normal_score(x[..., k], np.array(t, np.float32)) for k, t in enumerate(tables)]
    return ops.stack(columns, axis=-1)


def value_at(score: Any, table: NDArray[np.float32]) -> Any:
    """The value with a normal score, inverse of ``normal_score``: [...]."""
    rank = (len(table) - 1) * 0.5 * (1.0 + ops.erf(score * math.sqrt(0.5)))
    below = ops.clip(ops.cast(rank, "int32"), 0, len(table) - 2)
    part = rank - ops.cast(below, "float32")
    return ops.take(table, below) + part * ops.take(np.diff(table), below)


def normaliser_from_json(text: str) -> Normaliser:
    """Inverse of ``Normaliser.to_json``."""
    table: dict[str, Any] = json.loads(text)
    values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return Normaliser(**values)


def fit_normaliser(
    sets: PointSets,
    coordinates: str,
    log_intensity: bool,
    pt: bool,
    total: bool = False,
    quantiles: bool = False,
) -> Normaliser:
    """Fit a normaliser to training sets.

    Args:
        sets: training sets.
        coordinates, log_intensity: see ``Normaliser``.
        pt: whether pT is part of the condition.
        total: whether the latent vector holds the summed intensity.
        quantiles: whether coordinates are mapped to normal quantiles instead of standardised.

    Raises:
        InputError: a logarithm of intensities that are not positive.
    """
    physical = network_points(sets, coordinates)
    points = physical[sets.mask].astype(np.float64)
    tables: tuple[tuple[float, ...], ...] = ()
    if quantiles:
        tables = quantile_tables(points, POINT_QUANTILES, (0,) if coordinates == "relative" else ())
    if log_intensity:
        if points[:, 2].min() <= 0:
            raise InputError("data.log_intensity = true: there are intensities of zero or below")
        points[:, 2] = np.log(points[:, 2])
    momentum: tuple[float, ...] = ()
    if pt:
        values = np.log(sets.features[:, 0].astype(np.float64))
        momentum = float(values.mean()), max(float(values.std()), 1e-6)
    totals: tuple[float, ...] = ()
    if total:
        sums = np.where(sets.mask, physical[..., 2], 0).sum(1, dtype=np.float64)
        totals = tuple(np.quantile(sums, np.linspace(0, 1, TOTAL_QUANTILES)).tolist())
    center, deviation = points.mean(0), np.maximum(points.std(0), 1e-6)
    low, high = points.min(0), points.max(0)
    if coordinates in ("image", "relative"):  # intensities are fractions
        high[2] = max(high[2], 0.0 if log_intensity else 1.0)
    scale = Normaliser(
        coordinates, log_intensity, tuple(center.tolist()), tuple(deviation.tolist()),
        tuple(np.unique(sets.label).tolist()), momentum, sets.points.shape[1],
        tuple(((low - center) / deviation).tolist()), tuple(((high - center) / deviation).tolist()),
        totals, tables,
    )  # fmt: skip
    if not quantiles:
        return scale
    found = set_summary(physical, sets.mask, np.asarray(scale.to_network(physical)))
    places = SUMMARY_PLACES if coordinates == "relative" else ()
    return replace(scale, summaries=quantile_tables(found, TOTAL_QUANTILES, places))


def quantile_tables(
    values: NDArray[np.floating], steps: int, mirrored: tuple[int, ...]
) -> tuple[tuple[float, ...], ...]:
    """Quantiles of K numbers at equal steps.

    Args:
        values: [n, K].
        steps: quantiles of each.
        mirrored: first columns of positions whose sign has no meaning; their quantiles become
            symmetric, so that a mirrored jet is normalised to the mirrored numbers.
    """
    columns = list(values.T)
    for place in mirrored:
        for k in (place, place + 1):
            columns[k] = np.concatenate([columns[k], -columns[k]])
    levels = np.linspace(0, 1, steps)
    return tuple(tuple(np.quantile(x, levels).tolist()) for x in columns)


def network_points(sets: PointSets, coordinates: str) -> NDArray[np.float32]:
    """Stored points in the coordinates of the networks, not normalised: [n, P, 3]."""
    if coordinates == "image":
        return sets.points
    return to_coordinates(sets.points, sets.mask, sets.features, coordinates).astype(np.float32)
