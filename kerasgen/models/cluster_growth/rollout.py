"""Clusters that a network grows within a training step, and every state that they pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from kerasgen.backend.engine import sum_at
from kerasgen.models.cluster_growth.growth import NOTHING
from kerasgen.models.cluster_growth.lanes import after_token, first_lanes, next_pixels
from kerasgen.models.cluster_growth.network import ClusterNetwork
from kerasgen.models.cluster_growth.statistics import CLASSES
from kerasgen.models.cluster_growth.surroundings import State

CHOSEN = "token", "place", "level"  # by the network, in every state


def rollout(network: ClusterNetwork, real: State, numbers: Any) -> tuple[State, State]:
    """Grow M clusters that begin as real ones: with their first pixel and charge, and their plan.

    Args:
        network: that grows.
        real: of ``GrowthBatches``, ``clusters``, the largest first.
        numbers: [T, L, NUMBERS], uniform on [0, 1): T tokens in L lanes.

    Returns:
        ``clusters`` as ``real``, and ``whole`` [M], whether they are finished after T tokens.
        The T L states before the tokens, as in ``ClusterNetwork``, with ``cluster``, ``token``
        and ``charge_class``; ``cluster`` is M and above where a lane had none.
    """
    names = "sensor", "activity", "first", "plan"
    begin = {name: with_idle(real[name]) for name in names}
    begin["level"] = with_idle(real["pixels"][:, 0, 2])
    lanes = first_lanes(network, begin, numbers.shape[1])

    def grow(lanes: State, numbers: Any) -> tuple[State, State]:
        state = {name: x for name, x in lanes.items() if name not in CHOSEN}
        token, place, level = next_pixels(network, state, numbers)
        chosen = {"token": token, "place": place, "level": level}
        return after_token(state, begin, token, place, level) | chosen, state | chosen

    # Before the first token anything: a scan gives what it carries.
    level = lanes["activity"][:, 0]
    nothing = dict(zip(CHOSEN, (lanes["last"], lanes["head"], level), strict=True))
    last, states = ops.scan(grow, lanes | nothing, numbers)
    del states["taken"]  # the only one without a row of every lane
    states = {name: ops.reshape(x, (-1, *x.shape[2:])) for name, x in states.items()}
    states["charge_class"] = ops.minimum(ops.cast(states["level"] * CLASSES, "int32"), CLASSES - 1)
    clusters = {name: real[name] for name in names} | grown_pixels(real["pixels"], states)
    size = real["sensor"].shape[0]
    there = ops.ones_like(last["level"])[:, None]
    unfinished = sum_at(last["cluster"] < size, last["cluster"], there, size)[:, 0] > 0
    begun = np.arange(size, dtype=np.int32) < last["taken"]
    return clusters | {"whole": begun & ~unfinished}, states


def with_idle(x: Any) -> Any:
    """[M, ..] -> [M + 1, ..]: the last row is that of lanes without a cluster."""
    return ops.concatenate([x, x[-1:]])


def grown_pixels(real: Any, states: State) -> State:
    """Pixels [M, K, 3] of clusters in the order of growth, and their ``count`` [M].

    Args:
        real: pixels of the real clusters, [M, K, 3], of which the first are shared.
        states: of ``rollout``.
    """
    size, most, _ = real.shape
    token, cluster, known = states["token"], states["cluster"], states["known"]
    adds = (token != NOTHING) & (cluster < size) & (known < most)
    values = ops.concatenate([ops.cast(states["place"], "float32"), states["level"][:, None]], 1)
    pixels = sum_at(adds, cluster * most + known, values, size * most)
    pixels = ops.reshape(pixels, (size, most, 3))
    one = ops.ones_like(states["level"])[:, None]
    count = 1 + ops.cast(sum_at(adds, cluster, one, size)[:, 0], "int32")
    return {"pixels": ops.concatenate([real[:, :1], pixels[:, 1:]], 1), "count": count}
