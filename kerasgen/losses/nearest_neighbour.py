"""Distance of two point sets: through nearest neighbours (Chamfer distance), or in order.

With p = (x, I), position and intensity, target points p_i and output points q_j:

joint           sum_i min_j |p_i - q_j|^2 + sum_j min_i |p_i - q_j|^2
position_first  the match is made on positions alone, k(i) = argmin_j |x_i - x_j|^2 and back, and
                positions and intensities are compared on the matched pairs, both ways
                (B. Orzari et al., arXiv:2109.15197, 2203.00520)

ordered         2 sum_i |p_i - q_i|^2, the points being in the order of their intensity

All are a sum over matched pairs of squared differences, so the difference is what is matched. The
match is a constant for the gradient: the pairwise distances, P^2 of them, are needed forward only.
"""

from __future__ import annotations

from typing import Any

from keras import ops

# How many of the coordinates (position, position, intensity) are matched.
MATCHED = {"joint": 3, "position_first": 2}

FAR = 1e30  # squared distance of a point that is padding


def nearest_neighbour_loss(
    target: Any, target_mask: Any, output: Any, output_mask: Any, form: str = "joint"
) -> Any:
    """Sum over points, mean over the batch; float32, whatever the arguments are.

    Padding has no part in it. A set without points has no neighbours, and costs nothing.

    Arguments:
        target, output: [B, P, 3] and [B, Q, 3], (position, position, intensity).
        target_mask, output_mask: [B, P] and [B, Q], true for points.
        form: "joint" or "position_first".
    """
    target, output = ops.cast(target, "float32"), ops.cast(output, "float32")
    dims = MATCHED[form]
    distance = squared_distances(target[..., :dims], output[..., :dims])
    there = matched_distance(target, target_mask, output, output_mask, distance)
    back = matched_distance(output, output_mask, target, target_mask, ops.swapaxes(distance, 1, 2))
    return ops.mean(there + back)


def reconstruction_loss(target: Any, output: Any, mask: Any, form: str) -> Any:
    """Distance of sets of equally many points, in the form that a recipe names.

    Arguments:
        target, output: [B, P, 3], (position, position, intensity).
        mask: [B, P], true for points, of both.
        form: "joint", "position_first" or "ordered".
    """
    if form != "ordered":
        return nearest_neighbour_loss(target, mask, output, mask, form)
    error = ops.sum(ops.square(ops.cast(target, "float32") - ops.cast(output, "float32")), axis=-1)
    return 2.0 * ops.mean(ops.sum(ops.where(mask, error, 0.0), axis=-1))


def matched_distance(
    source: Any, source_mask: Any, other: Any, other_mask: Any, distance: Any
) -> Any:
    """[B], sum over the source's points of |p - q|^2, q the nearest by distances [B, P, Q]."""
    distance = ops.where(other_mask[:, None, :], distance, FAR)
    nearest = ops.argmin(distance, axis=-1)  # [B, P]
    match = ops.take_along_axis(other, nearest[..., None], axis=1)
    error = ops.sum(ops.square(source - match), axis=-1)
    counted = ops.logical_and(source_mask, ops.any(other_mask, axis=-1, keepdims=True))
    return ops.sum(ops.where(counted, error, 0.0), axis=-1)


def squared_distances(a: Any, b: Any) -> Any:
    """[B, P, D], [B, Q, D] -> [B, P, Q], one coordinate at a time: |a|^2 + |b|^2 - 2 ab would lose
    the small distances to rounding."""
    a, b = ops.stop_gradient(a), ops.stop_gradient(b)
    dims = a.shape[-1]
    return sum(ops.square(a[:, :, None, k] - b[:, None, :, k]) for k in range(dims))
