"""What the clusters of an event share: random fields by which they are more or less frequent.

Particles come in showers and cross several sensors, so clusters of an event lie near each other, on
a sensor and on others, more often than those of different events. Their first pixels are a
log-Gaussian Cox process (Moller, Syversveen and Waagepetersen 1998, doi:10.1111/1467-9469.00115),
whose intensity at x is that of the sensor times exp(f(x) - C(x, x) / 2). f is a Gaussian field, new
in every event, with the covariance

C(x, y) = sum_k a_k(x) a_k(y) exp(-|(x - y) / l_k|^2 / 2).

Each background type has a field of its own, because the particles of an event do not know of those
of other types.

Pairs of an event are then exp(C(x, y)) times as frequent as pairs of different events, from which
the lengths l_k and, for each layer, the amplitudes a_k are fitted; the amplitudes of a sensor are
those of its layer, scaled to the variance of its number of clusters.

Where the geometry places sensors, x are (x / r, y / r, z / r, layer) of the laboratory, r the
distance of the sensor from the beam axis: lines from the beam spot are points. Else they are
(row, 0, column) in units of the sensor, and sensors share nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from kerasgen.data.geometry import Geometry
from kerasgen.data.simulation.detector import build_detector, column_centre, to_laboratory
from kerasgen.errors import InputError

FIELDS = 6  # k
COORDINATES = 4
BINS = (256, 384)  # of the pair histograms
EXCLUDED = 8  # pixels from a cluster, where hardly another can be
APART = 1000.0  # fourth coordinate between sensors that share nothing
# Edges of the cells of the fit, in bins of distance along both axes.
CELLS = (
    (0, 1, 2, 3, 5, 8, 12, 18, 28, 44, 70, 128),
    (0, 1, 2, 3, 5, 8, 12, 18, 28, 44, 70, 128),
)
MAX_EVALUATIONS = 300  # of the fit; 52 suffice for 64 events of the PXD
FIT_ERROR = 2e-4  # of a pair ratio beside its statistical error
START = np.geomspace(0.05, 3, FIELDS)  # lengths
SHORTEST, LONGEST = 0.02, 20.0  # lengths; shorter ones lie within the excluded pixels
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class EventField:
    """The field of one background type, K = FIELDS.

    Attributes:
        amplitude: [S, K], a_k.
        length: [K, COORDINATES], l_k.
    """

    amplitude: Floats
    length: Floats


@dataclass(frozen=True)
class FirstPixels:
    """First pixels of clusters, [n] each, sorted by event; events are numbered from 0."""

    event: Ints
    sensor: Ints
    row: Ints
    col: Ints


@dataclass(frozen=True)
class SensorPlaces:
    """Where the pixels of sensors are, by the geometry.

    Attributes:
        place: [S, 3, COORDINATES], coordinates of the first pixel of a sensor, and their change by
            a row and by a column of mean pitch.
        pitch: [S, 3], column at which the pitch changes; pitches before and after it over the mean.
        radius: [S], mm from the beam axis to the middle of the sensor.
        placed: whether the coordinates are those of the laboratory.
    """

    place: Floats
    pitch: Floats
    radius: Floats
    placed: bool


def sensor_places(geometry: Geometry) -> SensorPlaces:
    """Find the places of all sensors."""
    count = len(geometry.sensors)
    place, pitch = np.zeros((count, 3, COORDINATES)), np.ones((count, 3))
    try:
        detector = build_detector(geometry)
    except InputError:
        place[:, 0, 3] = APART * np.arange(count)
        place[:, 1, 0], place[:, 2, 2] = 1 / geometry.rows, 1 / geometry.cols
        return SensorPlaces(place, pitch, np.ones(count), False)
    sensor, none = np.arange(count), np.zeros(count)
    rows, cols = geometry.rows, geometry.cols
    low, right, up, middle = (
        to_laboratory(
            detector, sensor, none + u * detector.pitch_u,
            column_centre(detector, sensor, none + v), none,
        )
        for u, v in ((0, 0), (0, cols), (rows, 0), (rows / 2, cols / 2))
    )  # fmt: skip
    radius = np.hypot(middle[:, 0], middle[:, 1])
    place[:, 0, :3], place[:, 1, :3], place[:, 2, :3] = (
        x / radius[:, None] for x in (low, (up - low) / rows, (right - low) / cols)
    )
    place[:, 0, 3] = np.unique([s.layer for s in geometry.sensors], return_inverse=True)[1]
    mean = column_centre(detector, sensor, none + cols) / cols
    pitch[:, 0] = detector.split / detector.pitch_outer
    pitch[:, 1:] = np.stack([detector.pitch_outer, detector.pitch_inner], 1) / mean[:, None]
    return SensorPlaces(place, pitch, radius, True)


def coordinates(places: Any, first: FirstPixels) -> Floats:
    """Coordinates of first pixels, [n, COORDINATES].

    Args:
        places: with ``place`` and ``pitch`` of ``SensorPlaces``.
        first: the pixels.
    """
    begin, by_row, by_col = np.asarray(places.place, float).transpose(1, 0, 2)
    s = first.sensor
    col = even_column(np, np.asarray(places.pitch, float), s, first.col)
    return begin[s] + first.row[:, None] * by_row[s] + col[:, None] * by_col[s]


def even_column(xp: Any, pitch: Any, sensor: Any, col: Any) -> Any:
    """Distance from the first column in columns of mean pitch, float64 [n].

    Args:
        xp: functions, see ``frequency``; or numpy.
        pitch: see ``SensorPlaces``, float64.
        sensor, col: [n], float64 columns.
    """
    split, before, after = (xp.take(pitch[:, k], sensor) for k in range(3))
    return xp.minimum(col, split) * before + xp.maximum(col - split, 0.0) * after


def column_of_even(xp: Any, pitch: Any, sensor: Any, even: Any) -> Any:
    """Columns at distances from the first one, float64 [n]; inverse of ``even_column``."""
    split, before, after = (xp.take(pitch[:, k], sensor) for k in range(3))
    beyond = xp.maximum(even - split * before, 0.0)
    return xp.minimum(even / before, split) + beyond / after


def covariance(a: Floats, b: Floats, square: Floats, length: Floats) -> Floats:
    """C of pairs [n] with amplitudes [n, K] and squared coordinate differences [n, COORDINATES]."""
    return (a * b * np.exp(-0.5 * square @ length.T**-2.0)).sum(-1)


def fit_field(
    first: FirstPixels, excess: Floats, places: SensorPlaces
) -> tuple[EventField, Floats]:
    """Fit the field to the first pixels of training events.

    Args:
        first: of at least two events.
        excess: [S], variance of the number of clusters of an image beyond Poisson / mean^2.
        places: of the sensors.

    Returns:
        The field, and how much of ``excess`` it explains, [S].
    """
    sensors = len(places.place)
    if not len(first.event):
        none = np.zeros((sensors, FIELDS))
        return EventField(none, np.ones((FIELDS, COORDINATES))), np.zeros(sensors)
    x = coordinates(places, first)
    group = places.place[:, 0, 3].astype(np.int64) * places.placed
    unit = first.event if places.placed else first.event * sensors + first.sensor
    ratios = pair_ratios(x, unit, group[first.sensor], places)
    amplitude, length = fitted(ratios, int(group.max()) + 1)
    implied = own_covariance(x, first.sensor, amplitude[group], length)
    scale = np.sqrt(np.clip(excess, 0, None) / np.maximum(implied, 1e-9))
    scale = np.where(implied > 1e-9, np.clip(scale, 0.5, 1.5), 1.0)
    field = EventField(amplitude[group] * scale[:, None], length)
    return field, implied * scale**2


def own_covariance(x: Floats, sensor: Ints, amplitude: Floats, length: Floats) -> Floats:
    """Mean C of pairs of clusters of a sensor, [S]."""
    rng = np.random.default_rng(0)
    found = np.zeros(len(amplitude))
    order = np.argsort(sensor, kind="stable")
    ends = np.searchsorted(sensor[order], np.arange(len(amplitude) + 1))
    for s, (start, stop) in enumerate(pairwise(ends)):
        if stop > start:
            i, j = order[rng.integers(start, stop, (2, 4000))]
            a = amplitude[s]
            found[s] = covariance(a, a, (x[i] - x[j]) ** 2, length).mean()
    return found


@dataclass(frozen=True)
class PairRatios:
    """Pairs of a unit over pairs of different units, less 1, by cell, [n] each.

    Attributes:
        first, second: groups of the clusters.
        square: [n, COORDINATES], of the differences.
        value, error: of the ratio - 1.
    """

    first: Ints
    second: Ints
    square: Floats
    value: Floats
    error: Floats


def pair_ratios(x: Floats, unit: Ints, group: Ints, places: SensorPlaces) -> PairRatios:
    """Pairs of first pixels of a unit over those of different units, by distance.

    Args:
        x: [n, COORDINATES].
        unit: [n], event or image, sorted.
        group: [n], layer.
        places: of the sensors.
    """
    place, placed = places.place, places.placed
    axes = np.stack([np.arctan2(x[:, 1], x[:, 0]) if placed else x[:, 0], x[:, 2]])
    low = axes.min(1)
    width = np.maximum(axes.max(1) - low, 1e-9) * (1 + 1e-9) / BINS
    cell = np.floor((axes - low[:, None]) / width[:, None]).astype(np.int64)
    own, mixed = pair_counts(cell, unit, group)
    by_pixel = np.linalg.norm(place[:, 1:, :3], axis=-1).mean(0)
    excluded = np.ceil(EXCLUDED * by_pixel / width)
    found = []
    for a, b in combinations_with_replacement(range(len(own)), 2):
        for rows, columns in product(*(pairwise(c) for c in CELLS)):
            near = rows[0] < excluded[0] and columns[0] < excluded[1]
            n, m = (folded(count[a, b], rows, columns) for count in (own, mixed))
            if m < 1 or (a == b and near):
                continue
            du, dv = ((sum(e) - 1) / 2 * w for e, w in zip((rows, columns), width, strict=True))
            du = 2 * np.sin(du / 2) if placed else du
            square = du**2, 0.0, dv**2, float(b - a) ** 2
            found.append((a, b, *square, n / m - 1, np.sqrt(max(n, 1) / m**2 + 1 / m)))
    table = np.array(found).reshape(-1, COORDINATES + 4)
    first, second = table[:, :2].astype(np.int64).T
    return PairRatios(first, second, table[:, 2:-2], table[:, -2], table[:, -1])


def pair_counts(cell: Ints, unit: Ints, group: Ints) -> tuple[Floats, Floats]:
    """Numbers of all pairs of a unit, and of different ones, [G, G, 2 BINS[0], 2 BINS[1]].

    By differences of the cells of the second and the first, negative ones from the end. They are
    correlations of histograms, by Fourier transforms; the other unit is the one before.

    Args:
        cell: [2, n], within BINS.
        unit, group: [n], units sorted.
    """
    groups = int(group.max()) + 1
    flat = np.ravel_multi_index((group, *cell), (groups, *BINS))
    starts = np.flatnonzero(np.diff(unit, prepend=-1))
    shape = [2 * n for n in BINS]
    own = np.zeros((groups, groups, shape[0], BINS[1] + 1), complex)
    mixed, before = np.zeros_like(own), None
    for start, stop in zip(starts, [*starts[1:], len(unit)], strict=True):
        count = np.bincount(flat[start:stop], minlength=groups * BINS[0] * BINS[1])
        now = np.fft.rfft2(count.reshape(groups, *BINS).astype(float), shape)
        own += now[:, None].conj() * now[None]
        if before is not None:
            mixed += now[:, None].conj() * before[None]
        before = now
    pairs, others = (np.fft.irfft2(c, shape) for c in (own, mixed))
    themselves = np.bincount(group, minlength=groups)
    pairs[np.arange(groups), np.arange(groups), 0, 0] -= themselves
    return pairs, others * len(starts) / max(len(starts) - 1, 1)


def folded(count: Floats, a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """Pairs at distances a[0] to a[1] - 1 and b[0] to b[1] - 1, of either sign."""
    total = 0.0
    for rows in {(a[0], a[1]), (1 - a[1], 1 - a[0])}:
        for columns in {(b[0], b[1]), (1 - b[1], 1 - b[0])}:
            u, v = np.arange(*rows), np.arange(*columns)
            total += count[np.ix_(u, v)].sum()
    return float(total)


def fitted(ratios: PairRatios, groups: int) -> tuple[Floats, Floats]:
    """Amplitudes [groups, K] and lengths [K, COORDINATES] by least squares."""
    if not len(ratios.value):
        return np.zeros((groups, FIELDS)), np.ones((FIELDS, COORDINATES))
    error = np.hypot(ratios.error, FIT_ERROR)
    rows = np.arange(len(error))
    between = np.geomspace(0.5, 5, FIELDS)
    start = np.concatenate(
        [np.full(groups * FIELDS, 0.05), np.log([START, START, between]).ravel()]
    )

    def parts(values: Floats) -> tuple[Floats, Floats]:
        length = np.exp(values[groups * FIELDS :].reshape(3, FIELDS))
        return values[: groups * FIELDS].reshape(groups, FIELDS), length[[0, 0, 1, 2]].T

    def residuals(values: Floats) -> Floats:
        amplitude, length = parts(values)
        a, b = amplitude[ratios.first], amplitude[ratios.second]
        return (np.expm1(covariance(a, b, ratios.square, length)) - ratios.value) / error

    def derivatives(values: Floats) -> Floats:
        amplitude, length = parts(values)
        a, b = amplitude[ratios.first], amplitude[ratios.second]
        near = np.exp(-0.5 * ratios.square @ length.T**-2.0)
        by_amplitude = np.zeros((len(near), groups, FIELDS))
        np.add.at(by_amplitude, (rows, ratios.first), b * near)
        np.add.at(by_amplitude, (rows, ratios.second), a * near)
        by_length = ratios.square[:, :, None] * length.T**-2.0 * (a * b * near)[:, None]
        by_length = np.concatenate([by_length[:, :1] + by_length[:, 1:2], by_length[:, 2:]], axis=1)
        slope = np.exp((a * b * near).sum(-1)) / error
        both = [x.reshape(len(near), -1) for x in (by_amplitude, by_length)]
        return np.concatenate(both, axis=1) * slope[:, None]

    bounds = np.concatenate([np.full(groups * FIELDS, 0.5), np.log(np.full(3 * FIELDS, LONGEST))])
    low = np.concatenate([np.full(groups * FIELDS, -0.5), np.log(np.full(3 * FIELDS, SHORTEST))])
    result = least_squares(
        residuals, start, derivatives, (low, bounds), x_scale="jac", loss="soft_l1",
        max_nfev=MAX_EVALUATIONS,
    )  # fmt: skip
    return parts(result.x)
