"""Distance of two point sets: Chamfer distance, or squared error in order.

With p = (x, I), position and intensity, target points p_i and output points q_j:

joint           Chamfer distance, sum_i min_j |p_i - q_j|^2 + sum_j min_i |p_i - q_j|^2
position_first  position-matched Chamfer distance: points are matched by position alone,
                k(i) = argmin_j |x_i - x_j|^2 and back; positions and intensities are compared on
                the matched pairs in both directions
                (B. Orzari et al., arXiv:2109.15197, 2203.00520)

ordered         ordered squared error, 2 sum_i |p_i - q_i|^2, with points in order of intensity

All variants sum squared differences over matched pairs and differ in the match alone. The match is
constant for the gradient, so the P^2 pairwise distances are needed in the forward pass only.
"""

from __future__ import annotations

from typing import Any

from keras import ops

# Number of matched coordinates of (position, position, intensity) by variant.
MATCHED = {"joint": 3, "position_first": 2}

PADDING_DISTANCE = 1e30  # squared distance to a padded point


def nearest_neighbour_loss(
    target: Any, target_mask: Any, output: Any, output_mask: Any, variant: str = "joint"
) -> Any:
    """Chamfer loss: sum over points, mean over the batch, always in float32.

    Padding is ignored. A set without points has no neighbours, so its loss is zero.

    Args:
        target, output: [B, P, 3] and [B, Q, 3], (position, position, intensity).
        target_mask, output_mask: [B, P] and [B, Q], true for points.
        variant: "joint" or "position_first".
    """
    target, output = ops.cast(target, "float32"), ops.cast(output, "float32")
    dims = MATCHED[variant]
    distance = squared_distances(target[..., :dims], output[..., :dims])
    there = matched_distance(target, target_mask, output, output_mask, distance)
    back = matched_distance(output, output_mask, target, target_mask, ops.swapaxes(distance, 1, 2))
    return ops.mean(there + back)


def reconstruction_loss(target: Any, output: Any, mask: Any, variant: str) -> Any:
    """Distance of sets of equally many points, in the recipe's variant.

    Args:
        target, output: [B, P, 3], (position, position, intensity).
        mask: [B, P], true for points, shared by both.
        variant: "joint", "position_first" or "ordered".
    """
    if variant != "ordered":
        return nearest_neighbour_loss(target, mask, output, mask, variant)
    error = ops.sum(ops.square(ops.cast(target, "float32") - ops.cast(output, "float32")), axis=-1)
    return 2.0 * ops.mean(ops.sum(ops.where(mask, error, 0.0), axis=-1))


def matched_distance(
    source: Any, source_mask: Any, other: Any, other_mask: Any, distance: Any
) -> Any:
    """Sum |p - q|^2 over the source's points p, [B].

    q is the point of ``other`` nearest to p by ``distance`` [B, P, Q].
    """
    distance = ops.where(other_mask[:, None, :], distance, PADDING_DISTANCE)
    nearest = ops.argmin(distance, axis=-1)  # [B, P]
    match = ops.take_along_axis(other, nearest[..., None], axis=1)
    error = ops.sum(ops.square(source - match), axis=-1)
    counted = ops.logical_and(source_mask, ops.any(other_mask, axis=-1, keepdims=True))
    return ops.sum(ops.where(counted, error, 0.0), axis=-1)


def squared_distances(a: Any, b: Any) -> Any:
    """Squared pairwise distances, [B, P, D], [B, Q, D] -> [B, P, Q].

    One coordinate at a time: |a|^2 + |b|^2 - 2 ab would lose small distances to rounding.
    """
    a, b = ops.stop_gradient(a), ops.stop_gradient(b)
    dims = a.shape[-1]
    return sum(ops.square(a[:, :, None, k] - b[:, None, :, k]) for k in range(dims))
