"""What is around the head of a cluster that grows, and which tokens can follow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.backend.engine import sum_at
from kerasgen.models.cluster_growth.growth import LINKS, OFFSETS, REACH
from kerasgen.models.cluster_growth.plan import COLUMNS, GAPS, PIXELS, ROWS

VIEW = 5  # pixels that the network sees on every side of the head
SIDE = 2 * VIEW + 1
# Index in the view of every linked pixel of the head.
LINKED = (OFFSETS[:, 0] + VIEW) * SIDE + OFFSETS[:, 1] + VIEW
# The inner part of the view, whose pixels are looked at for the next head.
NEAR = VIEW - 1
NEAR_SIDE = 2 * NEAR + 1
_PLACES = np.argwhere(np.ones((SIDE, SIDE))) - VIEW
INNER = np.flatnonzero(abs(_PLACES).max(-1) <= NEAR)  # its indices in the view
HEAD = SIDE**2 // 2  # index of the head in the view
CLOSE = np.flatnonzero(abs(_PLACES).max(-1) <= REACH)  # all their links are in INNER


def _within(pixels: NDArray[Any], others: NDArray[Any], reach: int) -> NDArray[np.float32]:
    """Whether pixels are at most ``reach`` from others, [pixels, others]."""
    away = abs(_PLACES[pixels][:, None] - _PLACES[others]).max(-1)
    return (away <= reach).astype(np.float32)


_ALL = np.arange(SIDE**2)
ALL_LINKED, ALL_BESIDE = (_within(_ALL, INNER, reach) for reach in (REACH, 1))
CLOSE_LINKED = _within(CLOSE, INNER, REACH)
INNER_LINKED, INNER_BESIDE = (_within(INNER, LINKED, reach) for reach in (REACH, 1))
HEAD_LINKED = _within(np.array([HEAD]), INNER, REACH)
IN_ORDER = (CLOSE[:, None] == LINKED).astype(np.float32)
State = dict[str, Any]  # see ``ClusterNetwork``


def surroundings(state: State) -> Any:
    """The pixels around the head, [B, SIDE^2].

    The number is 0 where the cluster has no pixel, else 0.5 + charge level, with the opposite sign
    if the pixel was head before.
    """
    pixels, rows = state["pixels"], state["pixels"].shape[0]
    place = ops.cast(pixels[:, :2], "int32") - (state["head"] - VIEW)[:, :, None]
    row, col = place[:, 0], place[:, 1]
    age = np.arange(pixels.shape[2], dtype=np.int32)
    seen = (age < state["known"][:, None]) & (row >= 0) & (row < SIDE) & (col >= 0) & (col < SIDE)
    value = 0.5 + pixels[:, 2]
    value = ops.where(age >= (state["known"] - state["done"])[:, None], -value, value)
    cell = row * SIDE + col + ops.arange(rows, dtype="int32")[:, None] * SIDE**2
    return ops.reshape(sum_at(seen, cell, value[..., None], rows * SIDE**2), (rows, SIDE**2))


def earlier_heads(view: Any) -> Any:
    """How many earlier heads had the choice to add each pixel of INNER, [B, INNER]."""
    return ops.matmul(ops.cast(view < 0, "float32"), ALL_LINKED)


def middle(square: Any, reach: int) -> Any:
    """The pixels at most ``reach`` from the middle of a square, [B, (2 reach + 1)^2]."""
    side = math.isqrt(square.shape[1])
    part = slice(side // 2 - reach, side // 2 + reach + 1)
    return ops.reshape(
        ops.reshape(square, (-1, side, side))[:, part, part], (-1, (2 * reach + 1) ** 2)
    )


def linked_pixels(inner: Any) -> Any:
    """The numbers of INNER, [B, INNER], at the linked pixels of the head, float32 [B, LINKS]."""
    return ops.matmul(ops.cast(middle(inner, REACH), "float32"), IN_ORDER)


def possible_tokens(state: State, view: Any, earlier: Any, size: tuple[int, int]) -> Any:
    """Whether a token can be the next, bool [B, TOKENS].

    A pixel is added where none is and no earlier head has left it out, inside the sensor, after
    those of the same head with lower links, never before the first pixel of the cluster, and within
    the planned rows, columns and gaps. A cluster ends with its planned pixels, unless there is no
    place for more, and no head ends where the next pixel would be beyond a gap that is not planned.

    Args:
        state: of clusters.
        view: of ``surroundings``.
        earlier: of ``earlier_heads``.
        size: rows and columns of a sensor.
    """
    free = (middle(view, NEAR) == 0) & (earlier == 0) & allowed_places(state, size)
    beside = ops.matmul(ops.cast(view != 0, "float32"), ALL_BESIDE) > 0
    beyond_gap = linked_pixels(beside) == 0
    gaps = (state["plan"][:, GAPS] - 1 - state["gaps"])[:, None]  # that are left
    ascending = np.arange(LINKS) > state["last"][:, None]
    possible = ascending & (linked_pixels(free) > 0) & (~beyond_gap | (gaps > 0))
    some = ops.any(possible, -1, keepdims=True)
    left = (state["plan"][:, PIXELS] - state["known"])[:, None]
    goes_on, with_new = next_places(state, view, free & (HEAD_LINKED == 0), beside)
    ends = goes_on | with_new | (left == 1) | (gaps > ops.cast(beyond_gap, "int32"))
    # Where no end would do, any pixel may be the last one.
    ends = possible & (ends | ~ops.any(possible & (ends | (left > 1)), -1, keepdims=True))
    last_head = (state["done"] + 1 == state["known"])[:, None]
    none = ~some | (~last_head & (goes_on | (gaps > 0)))
    return ops.concatenate([possible & (left > 1), ends, none], -1)


def allowed_places(state: State, size: tuple[int, int]) -> Any:
    """Whether pixels of INNER are on the sensor, not before the first one, and within the plan.

    Args:
        state: of clusters.
        size: rows and columns of a sensor.
    """
    steps = np.arange(-NEAR, NEAR + 1, dtype=np.int32)
    row, col = (state["head"][:, k : k + 1] + steps for k in range(2))
    first_row, first_col = state["first"][:, :1], state["first"][:, 1:]
    extent = ops.maximum(state["high"][:, :1], row) - ops.minimum(state["low"][:, :1], row)
    rows = (row >= 0) & (row < size[0]) & (extent < state["plan"][:, ROWS : ROWS + 1])
    most = state["plan"][:, COLUMNS : COLUMNS + 1]
    columns = (col >= first_col) & (col < size[1]) & (col - first_col < most)
    later = (col > first_col)[:, None] | (row > first_row)[:, :, None]
    return ops.reshape(rows[:, :, None] & columns[:, None] & later, (-1, NEAR_SIDE**2))


def next_places(state: State, view: Any, free: Any, beside: Any) -> tuple[Any, Any]:
    """Whether a later head has a place without a gap, if the head ends.

    Args:
        state, view: as in ``possible_tokens``.
        free: pixels of INNER that are then still free.
        beside: those that have a neighbour in the cluster.

    Returns:
        [B, 1] with the pixels so far, true too where a later head is not CLOSE; and [B, LINKS] if
        the head adds each of its linked pixels before.
    """
    waiting = (middle(view, REACH) > 0) & (CLOSE != HEAD)
    unseen = state["known"] - state["done"] - 1 > ops.sum(ops.cast(waiting, "int32"), -1)
    linked = ops.matmul(ops.cast(waiting, "float32"), CLOSE_LINKED) > 0
    goes_on = ops.any(free & beside & linked, -1, keepdims=True) | unseen[:, None]
    by_link = ops.matmul(ops.cast(free & beside, "float32"), INNER_LINKED)
    by_neighbour = ops.matmul(ops.cast(free, "float32"), INNER_BESIDE)
    return goes_on, by_link + by_neighbour > 0
