"""Jet features of a set of massless constituents, and their squared error."""

from __future__ import annotations

from typing import Any

from keras import ops

MIN_MASS_SQUARED = 1e-8  # keeps the gradient of the square root finite


def light_cone_momenta(points: Any, coordinates: str) -> Any:
    """Momenta (p+, p-, px, py) of massless particles, p± = E ± pz: [..., 3] -> [..., 4].

    Args:
        points: (eta, phi, pT), relative to the jet or not, or (px, py, pz).
        coordinates: "relative", "polar" or "cartesian".
    """
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    if coordinates == "cartesian":
        energy = ops.sqrt(ops.square(x) + ops.square(y) + ops.square(z) + MIN_MASS_SQUARED)
        return ops.stack([energy + z, energy - z, x, y], axis=-1)
    return ops.stack([z * ops.exp(x), z * ops.exp(-x), z * ops.cos(y), z * ops.sin(y)], axis=-1)


def jet_features(points: Any, mask: Any, coordinates: str) -> tuple[Any, Any, Any]:
    """Sum the constituents to pT, mass and rapidity, each [B].

    m^2 = (sum p+)(sum p-) - pT^2, y = log(sum p+ / sum p-) / 2.

    Args:
        points: [B, P, 3], float32.
        mask: [B, P], true for constituents.
        coordinates: as in ``light_cone_momenta``.
    """
    p = ops.where(mask[..., None], light_cone_momenta(points, coordinates), 0.0)
    plus, minus, px, py = ops.unstack(ops.sum(p, axis=1), axis=-1)
    pt_squared = ops.square(px) + ops.square(py)
    mass = ops.sqrt(ops.maximum(plus * minus - pt_squared, MIN_MASS_SQUARED))
    plus, minus = (ops.maximum(x, MIN_MASS_SQUARED) for x in (plus, minus))
    return ops.sqrt(pt_squared + MIN_MASS_SQUARED), mass, 0.5 * ops.log(plus / minus)


def jet_feature_loss(
    target: Any,
    target_mask: Any,
    output: Any,
    output_mask: Any,
    coordinates: str = "relative",
    mass_weight: float = 1.0,
    eta_weight: float = 0.0,
) -> Any:
    """Jet feature loss (dpT)^2 + mass_weight (dm)^2 + eta_weight (dy)^2, batch mean.

    The published form is gamma [(dpT)^2 + gamma2 (dm)^2], gamma2 about <pT> / <m>
    (arXiv:2203.00520). Rapidity replaces the pseudorapidity of the jet, which is infinite for a
    jet along the beam.

    Args:
        target, output: [B, P, 3] and [B, Q, 3]; pT scaled so that a jet has about 1.
        target_mask, output_mask: [B, P] and [B, Q], true for constituents.
        coordinates: "relative", "polar" or "cartesian".
        mass_weight, eta_weight: weights relative to the pT term.
    """
    pairs = zip(
        (1.0, mass_weight, eta_weight),
        jet_features(ops.cast(target, "float32"), target_mask, coordinates),
        jet_features(ops.cast(output, "float32"), output_mask, coordinates),
        strict=True,
    )
    return sum(weight * ops.mean(ops.square(a - b)) for weight, a, b in pairs)
