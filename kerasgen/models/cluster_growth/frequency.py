"""How many clusters images have and where these begin; in numpy or in a graph of TensorFlow.

``xp`` is a module of the few functions that numpy and TensorFlow name differently:
``numpy_functions`` or ``tensor_functions``. Both make the same clusters of a seed, to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from kerasgen.models.cluster_growth.activity import activity_of
from kerasgen.models.cluster_growth.field import even_column
from kerasgen.models.cluster_growth.growth import REACH
from kerasgen.models.cluster_growth.links import LEAST, Links, linked_clusters, unlinked_share
from kerasgen.models.cluster_growth.places import COL, ROW, numbered, places_at, poisson

# Random numbers of an image, and of a cluster beside those of its place and of its growth, which
# are 0 and above; those of the field of an event are 0 and above too.
COUNT, NORMAL_RADIUS, NORMAL_ANGLE = -1, -2, -3
KEPT, TYPE_NUMBER = -3, 11  # the numbers from 0 to 10 are those of plan and first charge
EVENT = -2  # in place of a sensor in the key that the images of an event share
WAVES = 16  # of each part of the field of an event
SIGMAS = 3.0  # of the field, above which clusters are not more frequent
LOW_LEVEL = 0.05  # below it relative fluctuations grow no more: SIGMAS would cut their tail
ROOM = (2 * REACH + 1) ** 2  # of an image for each cluster, at least


@dataclass(frozen=True)
class Clusters:
    """Clusters of some images, n in all.

    Attributes:
        image: [n], index of the image.
        number: [n], from 0 in each image.
        key: [n], of its random numbers.
        sensor, row, col: [n], sensor and first pixel.
        kind: [n], background type, as an index of those of the model.
        activity: [n, ACTIVITY], of the type around the cluster; see ``activity``.
    """

    image: Any
    number: Any
    key: Any
    sensor: Any
    row: Any
    col: Any
    kind: Any
    activity: Any


@dataclass(frozen=True)
class Frequency:
    """How frequent clusters are in N images.

    Attributes:
        rate: [N], mean number of clusters.
        spread: [N], standard deviation of the logarithm of a factor of the image.
        amplitude: [N, T, K], of the fields of T types of the event.
        usual: [N, T], mean numbers of clusters of types that the activity is relative to.
        level: [N], of the background.
        tried: [N], mean number of linked pairs of the event that are tried, see ``links``.
    """

    rate: Any
    spread: Any
    amplitude: Any
    usual: Any
    level: Any
    tried: Any = None


def frequency_of(
    xp: Any, network: Any, rate: Any, sensor: Any, level: Any = None, links: Links | None = None
) -> Frequency:
    """Frequency of the clusters of images.

    Args:
        xp: functions.
        network: with the statistics of the sensors.
        rate: mean number of clusters of the sensors, [S].
        sensor: of the images, [N].
        level: of the images, on (0, 1], float32 [N]: independent sources are as much less frequent,
            and relative fluctuations grow as those of a smaller number; None: 1.
        links: pairs of which some clusters are; None: there are none.
    """
    found = (xp.take(x, sensor) for x in (rate, network.spread, network.amplitude))
    rate, spread, amplitude = found
    usual = xp.take(network.rate, sensor)[:, None] * xp.take(network.share, sensor)
    tried, one = None, xp.ones_like(rate)
    if links is not None:
        # The others vary more, so that all together vary as much as without pairs.
        wider = 1 / xp.maximum(1 - xp.take(links.share, sensor), LEAST)
        spread, amplitude = spread * wider, amplitude * wider[:, None, None]
        tried = xp.total(xp.flat(links.tried)) * one
    if level is not None:
        apart = 1 + network.merged[0] * rate * (1 - level)  # fewer of them merge
        rate, usual = rate * level * apart, usual * level[:, None]
        tried = None if tried is None else tried * level
        spread, amplitude = widened(xp, spread, level), widened(xp, amplitude, level[:, None, None])
    return Frequency(rate, spread, amplitude, usual, one if level is None else level, tried)


def widened(xp: Any, width: Any, level: Any) -> Any:
    """Standard deviation of the logarithm of a log-normal factor at a level.

    The relative variance exp(width^2) - 1 grows as 1 / level, down to LOW_LEVEL.

    Args:
        xp: functions.
        width: at level 1, which level 1 leaves as it is; its sign is kept.
        level: in a shape that fits.
    """
    excess = (xp.exp(xp.float64(width) ** 2) - 1) / xp.float64(xp.maximum(level, LOW_LEVEL))
    wide = xp.float32(xp.sqrt(xp.log(1 + excess)))
    return xp.where(level < 1, xp.where(width < 0, -wide, wide), width)


def cluster_counts(
    xp: Any, rate: Any, spread: Any, factor: Any, limit: int, known: Any, key: Any
) -> Any:
    """Number of candidates for clusters of every image, int32 [N].

    A Poisson distribution whose mean is ``factor`` times that of the clusters, which is log-normal
    around ``rate``, at most ``limit``.

    Args:
        xp: functions.
        rate, spread: of the images, [N]; see ``Frequency``.
        factor: of the images, [N].
        limit: of the mean; clusters that are not linked cannot be more.
        known, key: of the images, [N]; those that are not known have no clusters.
    """
    rate, spread, factor = (xp.float64(x) for x in (rate, spread, factor))
    most = xp.highest_of(xp.minimum(rate * xp.exp(6 * spread), float(limit)) * factor)
    radius, angle, number = (
        xp.float64(xp.uniform_at(key, place)) for place in (NORMAL_RADIUS, NORMAL_ANGLE, COUNT)
    )
    normal = xp.sqrt(-2 * xp.log(1 - radius)) * xp.cos(2 * math.pi * angle)
    mean = xp.minimum(rate * xp.exp(spread * normal - 0.5 * spread**2), float(limit)) * factor
    return poisson(xp, xp.where(known, mean, xp.zeros_like(mean)), most, number)


def first_pixels(
    xp: Any, network: Any, frequency: Frequency, sensor: Any, known: Any, key: Any, event_key: Any,
    kinds: Any, links: Links | None = None,
) -> Clusters:  # fmt: skip
    """Clusters with their first pixels and types.

    Candidates as frequent as clusters can be are kept by the field that the event has for their
    type. Those of linked pairs come last; the two of a pair share the random number of the type.

    Args:
        xp: functions.
        network: with the statistics of the sensors.
        frequency: of the clusters of N images.
        sensor, known, key: of the images, [N]; those that are not known have no clusters.
        event_key: of the random numbers that the images of an event share, [N].
        kinds: function of sensor, row, column and random number, [n] each, that draws the types.
        links: as of ``frequency_of``.
    """
    limit = network.size[0] * network.size[1] // ROOM
    highest = highest_frequency(xp, frequency.amplitude)
    most, types = xp.highest(highest), highest.shape[1]
    count = cluster_counts(xp, frequency.rate, frequency.spread, most, limit, known, key)
    image, number = numbered(xp, count)
    keys = xp.key_at(xp.take(key, image), xp.int64(number))
    of = xp.take(sensor, image)
    levels = (xp.uniform_at(keys, place) for place in (ROW, COL))
    row, col = places_at(xp, network, of, levels)
    kind = kinds(of, row, col, xp.uniform_at(keys, TYPE_NUMBER))
    # Of a type whose field varies little few can be kept: only of those one asks how high it is.
    number = xp.float64(xp.uniform_at(keys, KEPT)) * xp.float64(xp.take(most, image))
    may = xp.indices(number < xp.float64(xp.take(xp.flat(highest), image * types + kind)))
    found = image, keys, of, row, col, kind, number
    image, keys, of, row, col, kind, number = (xp.take(x, may) for x in found)
    here = frequencies(xp, network, frequency.amplitude, event_key, image, of, row, col, kind)
    if links is not None:
        here *= unlinked_share(xp, network, links, of, row, col)
    kept = xp.indices(number < here)
    image, keys, of, row, col, kind = (xp.take(x, kept) for x in (image, keys, of, row, col, kind))
    count = xp.counts(image, xp.size(sensor))
    number = numbered(xp, count)[1]
    if links is not None:
        first = image, number, keys, of, row, col, kind
        image, keys, pair, row, col = linked_clusters(
            xp, network, links.tried, frequency.tried, sensor, known, event_key
        )
        more = xp.counts(image, xp.size(sensor))
        number = numbered(xp, more)[1] + xp.take(count, image)
        of = xp.take(sensor, image)
        kind = kinds(of, row, col, xp.uniform_at(pair, TYPE_NUMBER))
        second = image, number, keys, of, row, col, kind
        image, number, keys, of, row, col, kind = (
            xp.concat(x, 0) for x in zip(first, second, strict=True)
        )
    usual, level = xp.flat(frequency.usual), xp.repeat(frequency.level, types)
    which = image * types + kind
    activity = activity_of(xp, network, network.size, which, of, row, col, usual, level)
    return Clusters(image, number, keys, of, row, col, kind, activity)


def highest_frequency(xp: Any, amplitude: Any) -> Any:
    """Highest frequency of clusters over their mean, [N, T], of amplitudes [N, T, K]."""
    variance = xp.total(amplitude**2)
    return xp.exp(SIGMAS * xp.sqrt(variance) - 0.5 * variance)


def frequencies(
    xp: Any, network: Any, amplitude: Any, event_key: Any, image: Any, sensor: Any, row: Any,
    col: Any, kind: Any,
) -> Any:  # fmt: skip
    """How frequent clusters are in their events, over the mean, float64 [n]; see ``field``.

    The field of a type is a sum of WAVES plane waves for each length, whose directions are drawn
    from the spectrum of its covariance (Rahimi and Recht 2007, random features for kernel
    machines).

    Args:
        xp: functions.
        network: with ``place`` and ``pitch`` of the sensors, and ``length`` of the fields.
        amplitude: of the images, [N, T, K].
        event_key: of the images, [N].
        image, sensor, row, col, kind: of first pixels, [n].
    """
    types, fields, axes = network.length.shape
    waves = types * fields * WAVES
    # Two uniform numbers make a normal one; the last ones are the phases.
    numbers = xp.float64(
        xp.uniform_at(event_key[:, None], xp.int64(xp.arange(waves * (2 * axes + 1))))
    )
    radius, angle = (numbers[:, k * waves * axes : (k + 1) * waves * axes] for k in (0, 1))
    normal = xp.sqrt(-2 * xp.log(1 - radius)) * xp.cos(2 * math.pi * angle)
    # Types, then lengths, then waves.
    by_wave = xp.repeat(xp.flat(1 / xp.float64(network.length)), WAVES)
    wave = normal * by_wave[None]
    which = image * types + kind

    def of_type(x: Any, size: int) -> Any:
        return xp.take(xp.reshape(x, (-1, size)), which)

    phase = of_type(2 * math.pi * numbers[:, 2 * waves * axes :], fields * WAVES)
    place = xp.reshape(xp.float64(network.place), (-1, 3 * axes))
    row, col = xp.float64(row), even_column(xp, xp.float64(network.pitch), sensor, xp.float64(col))
    for axis in range(axes):
        begin, by_row, by_col = (xp.take(place[:, k * axes + axis], sensor) for k in range(3))
        at = (begin + row * by_row + col * by_col)[:, None]
        along = xp.reshape(wave, (-1, types * fields, axes, WAVES))[:, :, axis]
        phase += at * of_type(along, fields * WAVES)
    amplitude = of_type(xp.float64(amplitude), fields)
    size = xp.size(row)
    sums = xp.total(xp.reshape(xp.cos(phase), (size, fields, WAVES)))
    field = xp.total(amplitude * sums) * math.sqrt(2 / WAVES)
    return xp.exp(field - 0.5 * xp.total(amplitude**2))
