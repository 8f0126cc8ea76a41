"""Many clusters grow side by side in a fixed number of lanes.

A lane whose cluster is finished takes the next one, so that all lanes work until the last clusters,
which go on in FEW lanes. Numbers of lanes are fixed because the bits of a matrix product may depend
on its rows: so the bits of a cluster do not depend on how many others are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from kerasgen.models.cluster_growth.growth import FIRST, NO_TOKEN, OFFSETS, STOP
from kerasgen.models.cluster_growth.network import ClusterNetwork, State
from kerasgen.models.cluster_growth.statistics import CLASSES

LANES, FEW = 512, 64
NUMBERS = 3  # random numbers of a step: token, class of the charge, place within the class
MAX_PIXELS = 4000  # of a cluster: it stops there
STEPS = np.concatenate([OFFSETS, np.zeros((2, 2), int)]).astype(np.int32)  # by token


def first_lanes(network: ClusterNetwork, clusters: State) -> State:
    """Lanes with the first clusters.

    Args:
        network: that grows.
        clusters: ``sensor``, ``row`` and ``col`` of the first pixels [n + 1], int32; the last one
            is that of lanes without a cluster.
    """
    number = ops.arange(LANES, dtype="int32")
    none = ops.zeros((LANES, network.recent), "int32") - 1
    pixels = {f"pixel_{name}": none for name in ("row", "col", "number")}
    pixels["pixel_level"] = ops.cast(none, "float32")
    return start_of(clusters, number) | pixels | {"taken": number[-1] + 1}


def start_of(clusters: State, number: Any) -> State:
    """States of clusters without a pixel, but for the latest pixels.

    Args:
        clusters: as in ``first_lanes``.
        number: of the clusters, [L].
    """
    at = ops.minimum(number, ops.shape(clusters["row"])[0] - 1)
    row, col, sensor = (ops.take(clusters[name], at) for name in ("row", "col", "sensor"))
    zero, place = ops.zeros_like(row), ops.stack([row, col], 1)
    return {
        "cluster": number, "sensor": sensor, "step": zero, "first": place, "head": place,
        "last": zero + NO_TOKEN, "known": zero, "done": zero, "low_row": row, "high_row": row,
        "high_col": col, "level_sum": ops.cast(zero, "float32"),
    }  # fmt: skip


def grow(network: ClusterNetwork, clusters: State, lanes: State, numbers: Any) -> tuple[State, Any]:
    """One token of every lane.

    Args:
        network: that grows.
        clusters: as in ``first_lanes``.
        lanes: state of the clusters that grow; ``cluster``, their numbers; ``taken``, how many
            clusters have begun.
        numbers: [L, NUMBERS], uniform on [0, 1).

    Returns:
        The lanes after the token, and the added pixels, float32 [L, 4]: number of the cluster
        (-1: none), row, column, charge level.
    """
    busy = lanes["cluster"] < ops.shape(clusters["row"])[0] - 1
    logits, hidden = network(lanes)
    token = sampled(logits, numbers[:, 0])
    token = ops.where(lanes["known"] == 0, FIRST, token)
    token = ops.where(lanes["known"] >= MAX_PIXELS, STOP, token)
    adds = token != STOP
    charge = sampled(network.charge_logits(hidden, token), numbers[:, 1])
    level = (ops.cast(charge, "float32") + numbers[:, 2]) / CLASSES
    cluster = ops.where(busy & adds, lanes["cluster"], -1)
    pixel = (cluster, *place_of(lanes, token))
    added = ops.stack([*(ops.cast(x, "float32") for x in pixel), level], 1)
    lanes = after_token(lanes, token, level)
    finished = busy & ~adds & (lanes["done"] == lanes["known"])
    waiting = lanes["taken"] - 1 + ops.cumsum(ops.cast(finished, "int32"))
    lanes["taken"] = waiting[-1] + 1
    begin = start_of(clusters, ops.where(finished, waiting, lanes["cluster"]))
    for name, x in begin.items():
        lanes[name] = ops.where(finished if x.ndim == 1 else finished[:, None], x, lanes[name])
    lanes["pixel_number"] = ops.where(finished[:, None], -1, lanes["pixel_number"])
    return lanes, added


def few_lanes(lanes: State) -> State:
    """The FEW lanes with the lowest clusters."""
    chosen = ops.argsort(lanes["cluster"])[:FEW]
    return {name: ops.take(x, chosen, axis=0) if x.ndim else x for name, x in lanes.items()}


def after_token(lanes: State, token: Any, level: Any) -> State:
    """The lanes after a token of each; ``level``: charge level of the pixel that it adds."""
    adds = token != STOP
    row, col = place_of(lanes, token)
    lanes = lanes | {"step": lanes["step"] + 1, "last": ops.where(token < STOP, token, NO_TOKEN)}
    lanes = with_pixel(lanes, adds, row, col, level)
    return with_next_head(lanes, ~adds)


def place_of(lanes: State, token: Any) -> tuple[Any, Any]:
    """Row and column of the pixels that tokens add."""
    place = lanes["head"] + ops.take(ops.convert_to_tensor(STEPS), token, axis=0)
    return place[:, 0], place[:, 1]


def sampled(logits: Any, number: Any) -> Any:
    """Classes with these logits [B, K], by numbers [B] uniform on [0, 1); int32 [B]."""
    weight = ops.exp(logits - ops.max(logits, -1, keepdims=True))
    total = ops.cumsum(weight, -1)
    below = total <= number[:, None] * total[:, -1:]
    return ops.minimum(ops.sum(ops.cast(below, "int32"), -1), logits.shape[-1] - 1)


def with_pixel(lanes: State, adds: Any, row: Any, col: Any, level: Any) -> State:
    """Lanes of which some (``adds``) have one pixel more."""
    known, recent = lanes["known"], lanes["pixel_row"].shape[1]
    here = adds[:, None] & (ops.arange(recent, dtype="int32") == (known % recent)[:, None])
    new = {"row": row, "col": col, "level": level, "number": known}
    pixels = {
        f"pixel_{name}": ops.where(here, x[:, None], lanes[f"pixel_{name}"])
        for name, x in new.items()
    }
    one = ops.cast(adds, "int32")
    return lanes | pixels | {
        "known": known + one,
        "low_row": ops.where(adds, ops.minimum(row, lanes["low_row"]), lanes["low_row"]),
        "high_row": ops.where(adds, ops.maximum(row, lanes["high_row"]), lanes["high_row"]),
        "high_col": ops.where(adds, ops.maximum(col, lanes["high_col"]), lanes["high_col"]),
        "level_sum": lanes["level_sum"] + ops.where(adds, level, 0.0),
    }  # fmt: skip


def with_next_head(lanes: State, stops: Any) -> State:
    """Lanes of which some (``stops``) go on to their next pixel.

    A pixel that is not among the latest any more is no head.
    """
    forgotten = lanes["known"] - lanes["pixel_row"].shape[1]
    done = ops.where(stops, ops.maximum(lanes["done"] + 1, forgotten), lanes["done"])
    here = lanes["pixel_number"] == done[:, None]
    found = ops.any(here, -1)
    row, col = (ops.sum(ops.where(here, lanes[name], 0), -1) for name in ("pixel_row", "pixel_col"))
    moved = (stops & found)[:, None]
    head = ops.where(moved, ops.stack([row, col], 1), lanes["head"])
    return lanes | {"done": done, "head": head}
