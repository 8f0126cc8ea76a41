"""Many clusters grow side by side in a fixed number of lanes.

A lane whose cluster is finished takes the next one, so that all lanes work until the last clusters,
which go on in fewer lanes. Numbers of lanes are fixed because the bits of a matrix product may
depend on its rows: so the bits of a cluster do not depend on how many others are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from kerasgen.models.cluster_growth.growth import LINKS, NO_LINK, NOTHING, OFFSETS
from kerasgen.models.cluster_growth.network import (
    IMPOSSIBLE,
    ClusterNetwork,
    head_pixel,
    sum_terms,
)
from kerasgen.models.cluster_growth.plan import (
    COLUMNS,
    PARTS,
    PIXELS,
    ROWS,
    SIZES,
    TILT,
    TYPE,
    class_of_number,
    number_of_class,
    planned_pixels,
    tilts_that_fit,
)
from kerasgen.models.cluster_growth.statistics import CLASSES
from kerasgen.models.cluster_growth.surroundings import State

LANES = (512, 64)  # at first, and of the last clusters
FIRST_ROWS = 2048  # clusters whose plans and first charges are drawn together
ADDED = 5  # numbers of an added pixel, see ``grow``
NUMBERS = 3  # random numbers of a step: token, class of the charge, place within the class
# Attempts of a cluster to have its planned rows, columns and pixels; step up to which one begins: a
# long cluster in a single lane would double the time of an event.
ATTEMPTS, LAST_BEGIN = 3, 64
BEGIN_STEPS = 4  # steps whose random numbers a plan and a first charge take, as follows
CLASS_NUMBERS = (0, 1, 2, 3, 4)  # of the parts of a plan
PLACE_NUMBERS = (5, 6, 7, 8)  # of the number within its class
FIRST_CHARGE = 8  # of a step of NUMBERS whose first one is not used
# By token: row and column of the pixel from the head.
STEPS = np.concatenate([np.tile(OFFSETS, (2, 1)), [[0, 0]]]).astype(np.int32)


def beginnings(network: ClusterNetwork, clusters: State, numbers: Any) -> tuple[Any, Any]:
    """Plans int32 [FIRST_ROWS, PARTS + SIZES], and charge levels of first pixels, [FIRST_ROWS].

    Args:
        network: that grows.
        clusters: FIRST_ROWS of them, as in ``first_lanes``, without ``plan`` and ``level``, with
            ``kind``, index of the type.
        numbers: [FIRST_ROWS, BEGIN_STEPS * NUMBERS], uniform on [0, 1).
    """
    begin = network.begin(clusters)
    classes: list[Any] = []
    sizes: list[Any] = []
    for part in range(TYPE):
        logits = network.plan_logits(begin, part)
        if part == TILT:
            fits = tilts_that_fit(sizes[0], clusters["first"][:, 0], network.size[0])
            logits = ops.where(fits, logits, IMPOSSIBLE)
        classes.append(sampled(logits, numbers[:, CLASS_NUMBERS[part]]))
        if part < SIZES:
            number = numbers[:, PLACE_NUMBERS[part]]
            sizes.append(number_of_class(part, classes[-1], logits, number))
            if part == PIXELS - PARTS:
                sizes[part] = planned_pixels(*sizes)
            elif part == COLUMNS - PARTS:
                there = network.size[1] - clusters["first"][:, 1]
                sizes[part] = ops.minimum(sizes[part], there)  # the sensor cuts tracks
                classes[part] = class_of_number(part, sizes[part])
        begin = network.with_plan(begin, part, classes[-1])
    level = level_of(network.first_charge_logits(begin), numbers[:, FIRST_CHARGE:])
    return ops.stack([*classes, clusters["kind"], *sizes], 1), level


def drawn_types(network: ClusterNetwork, clusters: State, number: Any) -> Any:
    """Types of clusters, indices of those of the model, int32 [FIRST_ROWS].

    Args:
        network: that grows.
        clusters: FIRST_ROWS of them, ``sensor`` and ``first`` as in ``first_lanes``.
        number: [FIRST_ROWS], uniform on [0, 1).
    """
    return sampled(network.type_logits(clusters), number)


def first_lanes(network: ClusterNetwork, clusters: State, lanes: int = LANES[0]) -> State:
    """Lanes with the first clusters.

    Args:
        network: that grows.
        lanes: L, their number.
        clusters: of more than one pixel: ``sensor`` [n + 1]; ``activity`` [n + 1, ACTIVITY];
            ``first`` [n + 1, 2], row and column of the first pixel, int32; ``level`` [n + 1], its
            charge level; ``plan`` [n + 1, PARTS + SIZES]; the last one is that of lanes without a
            cluster.
    """
    number = ops.arange(lanes, dtype="int32")
    pixels = ops.zeros((lanes, 3, network.recent), "float32")
    begin = start_of(clusters, number)
    every = number >= 0
    pixels = with_pixel(pixels, every, begin["first"], begin.pop("level"))
    return begin | {"pixels": pixels, "taken": number[-1] + 1}


def start_of(clusters: State, number: Any) -> State:
    """States of clusters with their first pixel, but for ``pixels``.

    Args:
        clusters: as in ``first_lanes``.
        number: of the clusters, [L].
    """
    at = ops.minimum(number, ops.shape(clusters["sensor"])[0] - 1)
    names = "sensor", "activity", "first", "level", "plan"
    sensor, activity, first, level, plan = (ops.take(clusters[x], at, axis=0) for x in names)
    zero, place = ops.zeros_like(number), ops.cast(first, "float32")
    return {
        "cluster": number, "sensor": sensor, "activity": activity, "plan": plan,
        "step": zero + BEGIN_STEPS,
        "first": first, "head": first, "last": zero + NO_LINK, "known": zero + 1, "done": zero,
        "attempt": zero, "gaps": zero, "low": first, "high": first, "level": level,
        "sums": sum_terms(ops, 0 * place, level),
    }  # fmt: skip


def grow(network: ClusterNetwork, clusters: State, lanes: State, numbers: Any) -> tuple[State, Any]:
    """One token of every lane.

    Args:
        network: that grows.
        clusters: as in ``first_lanes``.
        lanes: state of the clusters that grow; ``cluster``, their numbers; ``attempt``, how often
            each began again; ``step``, how many tokens; ``taken``, how many clusters have begun.
        numbers: [L, NUMBERS], uniform on [0, 1).

    Returns:
        The lanes after the token, and the added pixels, float32 [L, ADDED]: number of the cluster
        (-1: none), row, column, charge level, attempt.
    """
    token, place, level = next_pixels(network, lanes, numbers)
    busy = lanes["cluster"] < ops.shape(clusters["sensor"])[0] - 1
    cluster = ops.where(busy & (token != NOTHING), lanes["cluster"], -1)
    columns = cluster[:, None], place, level[:, None], lanes["attempt"][:, None]
    return (
        after_token(lanes, clusters, token, place, level, ATTEMPTS),
        ops.concatenate([ops.cast(x, "float32") for x in columns], 1),
    )


def next_pixels(network: ClusterNetwork, lanes: State, numbers: Any) -> tuple[Any, Any, Any]:
    """Tokens [L], and place [L, 2] and charge level [L] of the pixels that they add.

    Args: as in ``grow``.
    """
    logits, hidden = network(lanes)
    token = sampled(logits / network.temperature, numbers[:, 0])
    level = level_of(network.charge_logits(hidden, token), numbers)
    return token, place_of(lanes, token), level


def fewer(lanes: State, number: int) -> State:
    """The lanes with the lowest clusters."""
    chosen = ops.argsort(lanes["cluster"])[:number]
    return {name: ops.take(x, chosen, axis=0) if x.ndim else x for name, x in lanes.items()}


def place_of(lanes: State, token: Any) -> Any:
    """Row and column of the pixels that tokens add, [L, 2]."""
    return lanes["head"] + ops.take(ops.convert_to_tensor(STEPS), token, axis=0)


def level_of(logits: Any, numbers: Any) -> Any:
    """Charge levels [L] from logits of their classes [L, CLASSES] and ``numbers`` of ``grow``."""
    charge = sampled(logits, numbers[:, 1])
    return (ops.cast(charge, "float32") + numbers[:, 2]) / CLASSES


def sampled(logits: Any, number: Any) -> Any:
    """Classes with these logits [B, K], by numbers [B] uniform on [0, 1); int32 [B]."""
    classes = logits.shape[-1]
    weight = ops.exp(logits - ops.max(logits, -1, keepdims=True))
    total = ops.matmul(weight, np.tri(classes, dtype=np.float32).T)  # faster than a cumulative sum
    below = total <= number[:, None] * total[:, -1:]
    return ops.minimum(ops.sum(ops.cast(below, "int32"), -1), classes - 1)


def after_token(
    lanes: State, clusters: State, token: Any, place: Any, level: Any, attempts: int = 1
) -> State:
    """The lanes after a token of each.

    Where a cluster is finished, the next one has begun, or the same one again if it is smaller than
    planned.

    Args:
        lanes, clusters: as in ``grow``.
        token: [L].
        place, level: of the pixel that it adds, [L, 2] and [L].
        attempts: how often a cluster begins at most.
    """
    adds, ends = token != NOTHING, token >= LINKS
    known = lanes["known"] + ops.cast(adds, "int32")
    finished = (known >= lanes["plan"][:, PIXELS]) | (ends & (lanes["done"] + 1 == known))
    here, first = adds[:, None], finished[:, None]
    low = ops.where(here, ops.minimum(place, lanes["low"]), lanes["low"])
    high = ops.where(here, ops.maximum(place, lanes["high"]), lanes["high"])
    smaller = (known < lanes["plan"][:, PIXELS]) | ops.any(
        high - low + 1 < lanes["plan"][:, ROWS : COLUMNS + 1], -1
    )
    again = finished & smaller & (lanes["attempt"] + 1 < attempts) & (lanes["step"] < LAST_BEGIN)
    waiting = lanes["taken"] - 1 + ops.cumsum(ops.cast(finished & ~again, "int32"))
    begin = start_of(clusters, ops.where(finished & ~again, waiting, lanes["cluster"]))
    begin["attempt"] = ops.where(again, lanes["attempt"] + 1, 0)
    begin["step"] = ops.where(again, lanes["step"] + 1, begin["step"])
    gap = adds & ~has_neighbour(lanes, place)
    from_first = ops.cast(place - lanes["first"], "float32")
    pixels = with_pixel(
        lanes["pixels"], adds | finished, ops.where(first, begin["first"], place),
        ops.where(finished, begin["level"], level),
    )  # fmt: skip
    # A pixel that is not among the latest any more is no head.
    done = ops.where(ends, ops.maximum(lanes["done"] + 1, known - pixels.shape[2]), lanes["done"])
    on = {
        "step": lanes["step"] + 1, "attempt": lanes["attempt"], "known": known, "done": done,
        "gaps": lanes["gaps"] + ops.cast(gap, "int32"),
        "last": ops.where(ends, NO_LINK, token),
        "low": low, "high": high,
        "sums": lanes["sums"] + ops.where(here, sum_terms(ops, from_first, level), 0.0),
    }  # fmt: skip
    on = {
        name: ops.where(first if x.ndim > 1 else finished, begin[name], x) for name, x in on.items()
    }
    on |= {name: begin[name] for name in ("cluster", "sensor", "activity", "first", "plan")}
    on |= {"pixels": pixels, "taken": waiting[-1] + 1}
    head = ops.cast(head_pixel(on)[:, :2], "int32")
    return on | {"head": ops.where(ends[:, None], head, lanes["head"])}


def has_neighbour(lanes: State, place: Any) -> Any:
    """Whether places [L, 2] are beside one of the latest pixels of their clusters, bool [L]."""
    away = ops.abs(lanes["pixels"][:, :2] - ops.cast(place, "float32")[:, :, None])
    there = np.arange(away.shape[2]) < lanes["known"][:, None]
    return ops.any((ops.max(away, 1) <= 1) & there, -1)


def with_pixel(pixels: Any, adds: Any, place: Any, level: Any) -> Any:
    """Latest pixels [L, 3, R] after some lanes (``adds``) have one more, [L, 2] and [L]."""
    new = ops.concatenate([ops.cast(place, "float32"), level[:, None]], 1)[:, :, None]
    return ops.where(adds[:, None, None], ops.concatenate([new, pixels[:, :, :-1]], 2), pixels)
