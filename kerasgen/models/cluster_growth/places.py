"""How many clusters there are, and where on a sensor, by random numbers; see ``frequency``."""

from __future__ import annotations

from typing import Any

from kerasgen.models.cluster_growth.statistics import KNOTS_U, KNOTS_V

ROW, COL = -1, -2  # random numbers of the place of a cluster


def poisson(xp: Any, mean: Any, most: Any, number: Any) -> Any:
    """Numbers of Poisson distributions, int32 [N].

    Args:
        xp: functions.
        mean: float64 [N].
        most: float64, the highest mean that there can be.
        number: random, float64 [N] on [0, 1).
    """
    k = xp.float64(xp.arange(xp.int32(most + 7 * xp.sqrt(most) + 20)))  # hardly ever more (1e-9)
    mean = xp.maximum(mean, 1e-30)[:, None]
    below = xp.cumsum(xp.exp(k * xp.log(mean) - mean - xp.lgamma(k + 1)))
    return xp.sum(xp.int32(below < number[:, None]))


def numbered(xp: Any, count: Any) -> tuple[Any, Any]:
    """Index i of each of count[i] elements, and their numbers from 0 on, int32 each."""
    index = xp.repeat(xp.arange(xp.size(count)), count)
    return index, xp.arange(xp.size(index)) - xp.take(xp.cumsum(count) - count, index)


def places_at(xp: Any, network: Any, sensor: Any, levels: Any) -> list[Any]:
    """Row and column of first pixels, int32 [n] each, at levels of their distributions [n]."""
    tables, knots = (network.along_u, network.along_v), (KNOTS_U, KNOTS_V)
    values = (quantile(xp, *x[:2], sensor, x[2]) for x in zip(tables, knots, levels, strict=True))
    return [xp.minimum(xp.int32(x), n - 1) for x, n in zip(values, network.size, strict=True)]


def quantile(xp: Any, table: Any, knots: int, sensor: Any, level: Any) -> Any:
    """Linear interpolation at levels on [0, 1], [n], in the row of a sensor of a table [S, K]."""
    place = level * (knots - 1)
    knot = xp.minimum(xp.int32(place), knots - 2)
    flat = xp.flat(table)
    below, above = (xp.take(flat, sensor * knots + knot + k) for k in (0, 1))
    return below + (place - xp.float32(knot)) * (above - below)
