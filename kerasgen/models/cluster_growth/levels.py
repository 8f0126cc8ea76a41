"""Images of any level of background as sums of independent ones, type by type.

``xp`` is a module of functions, see ``frequency``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasgen.data.level import MAX_LEVEL


def superposed(xp: Any, level: Any) -> tuple[Any, Any]:
    """Parts that a level is the sum of, int32 [N], and the level of each part, float32 [N].

    Args:
        xp: functions.
        level: float32 [N]; those that are none of 0 to MAX_LEVEL have no part.
    """
    good = xp.where((level >= 0) & (level <= MAX_LEVEL), level, xp.zeros_like(level))
    parts = xp.ceil(good)
    return xp.int32(parts), good / xp.maximum(parts, 1)


def passes(xp: Any, level: Any) -> tuple[Any, Any, Any]:
    """The passes in which images of T background types are made, one by one.

    Types of equal levels are made in one pass, so that they share what an event shares.

    Args:
        xp: functions.
        level: of each type, float32 [N, T].

    Returns:
        The level of each pass [T, N]; the types that it makes, bool [T, N, T]; whether it makes
        any, bool [T, N].
    """
    types = level.shape[1]
    by_pass = xp.transpose(level)
    chosen = xp.equal(by_pass[:, :, None], level[None])
    earlier = np.tri(types, k=-1, dtype=np.int32)[:, None]  # types before that of the pass
    return by_pass, chosen, xp.sum(xp.int32(chosen) * earlier) == 0


def with_more(xp: Any, code: Any, more: Any, types: int, max_charge: int) -> Any:
    """Sum of two images of codes: charges add up to at most ``max_charge``.

    A code is charge * types + index of the type. The type is that of the higher charge.
    """
    charge = xp.minimum(code // types + more // types, max_charge)
    if types == 1:
        return charge
    return charge * types + xp.where(code // types >= more // types, code, more) % types
