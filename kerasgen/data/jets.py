"""Jets as point sets: their schema, coordinates and features.

Constituents are stored relative to the axis of their jet, as in JetNet (arXiv:2106.11535):
eta_rel = eta - eta_jet, phi_rel = phi - phi_jet in (-pi, pi], pt_rel = pT / pT_jet. The azimuth of
the jet carries no information and is not stored; absolute coordinates use phi_jet = 0. Constituents
are massless; pT, momenta and masses are in GeV.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.points import PointSchema, PointSets, build_point_sets
from kerasgen.errors import InputError

CLASSES = ("gluon", "quark", "top", "w", "z")
SCHEMA = PointSchema(
    "jets",
    ("eta_rel", "phi_rel", "pt_rel"),
    ("pt", "eta", "mass", "multiplicity"),
    CLASSES,
    "eta_rel, phi_rel: rad; pt_rel: fraction of the pT of the jet; pt, mass: GeV; multiplicity: "
    "constituents before the cut to P points",
)
ROUNDING = 1e-3  # of pt_rel, in jets of one constituent
# Coordinate systems of network inputs: (position, position, intensity).
COORDINATES = {
    "relative": ("eta_rel", "phi_rel", "pt_rel"),
    "polar": ("eta", "phi", "pt"),
    "cartesian": ("px", "py", "pz"),
}


def to_coordinates(points: Any, mask: Any, features: Any, coordinates: str, xp: Any = np) -> Any:
    """Convert stored points to another coordinate system.

    Args:
        points: [n, P, 3], (eta_rel, phi_rel, pt_rel).
        mask: [n, P].
        features: [n, F]; the first two are pT in GeV and eta of the jet.
        coordinates: "relative", "polar" (eta, phi, pT) or "cartesian" (px, py, pz), GeV.
        xp: numpy, or ``keras.ops`` for tensors.

    Returns:
        [n, P, 3]; padding is zero.
    """
    if coordinates == "relative":
        return points
    eta = points[..., 0] + features[:, 1:2]
    phi, pt = points[..., 1], points[..., 2] * features[:, :1]
    if coordinates == "polar":
        converted = [eta, phi, pt]
    else:
        converted = [pt * xp.cos(phi), pt * xp.sin(phi), pt * xp.sinh(eta)]
    return xp.where(mask[..., None], xp.stack(converted, -1), 0)


def from_coordinates(points: Any, mask: Any, features: Any, coordinates: str, xp: Any = np) -> Any:
    """Inverse of ``to_coordinates``, with the same arguments.

    A momentum along the beam has infinite eta and gets the eta of its jet.
    """
    if coordinates == "relative":
        return points
    x, y, z = (points[..., k] for k in range(3))
    if coordinates == "cartesian":
        pt = xp.sqrt(x * x + y * y)
        eta = xp.arcsinh(z / xp.where(pt > 0, pt, 1))
        x, y, z = xp.where(pt > 0, eta, features[:, 1:2]), xp.arctan2(y, x), pt
    converted = [x - features[:, 1:2], y, z / features[:, :1]]
    return xp.where(mask[..., None], xp.stack(converted, -1), 0)


def jet_observables(
    points: NDArray[Any], mask: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Compute mass, pT and eta of the summed massless constituents, relative to the jet.

    Args:
        points: [n, P, 3], (eta_rel, phi_rel, pt_rel).
        mask: [n, P].

    Returns:
        ``mass`` and ``pt`` [n] divided by the pT of the jet, ``eta`` [n]: pseudorapidity of the
        sum relative to the jet axis.
    """
    eta, phi, pt = np.moveaxis(np.asarray(points, np.float64), -1, 0)
    pt = pt * mask
    momentum = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    energy, px, py, pz = momentum.sum(axis=-1)
    total = np.hypot(px, py)
    mass = np.sqrt(np.maximum(energy**2 - total**2 - pz**2, 0))
    slope = np.divide(pz, total, out=np.zeros_like(pz), where=total > 0)
    return {"mass": mass, "pt": total, "eta": np.arcsinh(slope)}


def check_jets(sets: PointSets, schema: PointSchema, origin: str) -> None:
    """Check that jets have relative coordinates.

    pt_rel of a constituent exceeds 1 in rare jets of a bad generator, and in nearly every jet of a
    file with pT in GeV; the check looks at most of the jets.

    Raises:
        InputError: other coordinates or features, or pt_rel above 1 in most jets.
    """
    names = (*schema.coordinates, *schema.features)
    if names != (*SCHEMA.coordinates, *SCHEMA.features):
        raise InputError(
            f"{origin}: jets of {', '.join(names)}; expected: "
            f"{', '.join((*SCHEMA.coordinates, *SCHEMA.features))}"
        )
    highest = np.where(sets.mask, sets.points[..., 2], 0).max(axis=1, initial=0)
    above = int((highest > 1 + ROUNDING).sum())
    if 2 * above > len(sets):
        raise InputError(
            f"{origin}: pt_rel is above 1 in {above} of {len(sets)} jets (up to "
            f"{highest.max():.4g}); expected: the pT of a constituent divided by the pT of its "
            "jet, 0 to 1, not GeV"
        )


def check_finite(
    values: NDArray[Any], names: tuple[str, ...], place: Callable[[int], str], origin: str
) -> None:
    """Raise InputError unless all values [n, names] are finite; ``place`` names a row."""
    bad = ~np.isfinite(values)
    if bad.any():
        row, k = (int(i) for i in np.argwhere(bad)[0])
        kind = "a number" if np.isnan(values[row, k]) else "a finite number"
        raise InputError(f"{origin}: {place(row)}: {names[k]} is {values[row, k]}, not {kind}")


def build_jets(
    constituents: list[NDArray[np.float64]],
    axes: NDArray[np.float64],
    label: NDArray[Any],
    size: int,
    origin: str,
) -> PointSets:
    """Build jets from the momenta of their constituents.

    Args:
        constituents: per jet [k, 3], (pT in GeV, eta, phi).
        axes: [n, 4], pT in GeV, eta, phi and mass in GeV of the jets.
        label: [n], class.
        size: P; the P constituents of highest pT are kept.
        origin: file or source, the start of the error message.

    Raises:
        InputError: as ``flat_jets``, or a jet without constituents.
    """
    counts = np.array([len(momenta) for momenta in constituents], np.int64)
    if not counts.all():
        raise InputError(f"{origin}: jet {int(np.argmin(counts))} has no constituents")
    jet = np.repeat(np.arange(len(counts)), counts)
    return flat_jets(np.concatenate(constituents), jet, axes, label, size, origin)


def flat_jets(
    momenta: NDArray[np.float64],
    jet: NDArray[np.int64],
    axes: NDArray[np.float64],
    label: NDArray[Any],
    size: int,
    origin: str,
    first: int = 0,
) -> PointSets:
    """Build jets from a flat list of the momenta of all constituents.

    Args:
        momenta: [k, 3], (pT in GeV, eta, phi).
        jet: [k], row of the jet in ``axes``, in any order.
        axes: [n, 4], pT in GeV, eta, phi and mass in GeV of the jets.
        label: [n], class.
        size: P; the P constituents of highest pT are kept.
        origin: file or source, the start of the error message.
        first: number of the first jet in the file, for the error message.

    Returns:
        n jets; one without constituents has no points.

    Raises:
        InputError: a number that is not finite, a negative pT, or a jet with pT 0.
    """
    counts = np.bincount(jet, minlength=len(axes))
    by_jet = np.argsort(jet, kind="stable")
    momenta, jet = momenta[by_jet], jet[by_jet]
    start = np.cumsum(counts) - counts
    rank = np.arange(len(jet)) - start[jet]

    def constituent(row: int) -> str:
        return f"jet {first + jet[row]}, constituent {rank[row]}"

    check_finite(axes, ("pT", "eta", "phi", "mass"), lambda row: f"jet {first + row}", origin)
    check_finite(momenta, ("pT", "eta", "phi"), constituent, origin)
    if (axes[:, 0] <= 0).any():
        row = int(np.argmax(axes[:, 0] <= 0))
        raise InputError(f"{origin}: jet {first + row} has a pT of {axes[row, 0]}, not above 0")
    if (momenta[:, 0] < 0).any():
        row = int(np.argmax(momenta[:, 0] < 0))
        raise InputError(
            f"{origin}: jet {first + jet[row]} has a pT that is negative, {momenta[row, 0]} of "
            f"constituent {rank[row]}"
        )
    hardest = np.lexsort((-momenta[:, 0], jet))
    momenta, kept = momenta[hardest], rank < size
    axis = axes[jet]
    phi = np.remainder(momenta[:, 2] - axis[:, 2] + np.pi, 2 * np.pi) - np.pi
    rows = np.stack([momenta[:, 1] - axis[:, 1], phi, momenta[:, 0] / axis[:, 0]], -1)
    points = np.zeros((len(axes), size, 3))
    points[jet[kept], rank[kept]] = rows[kept]
    features = np.stack([axes[:, 0], axes[:, 1], axes[:, 3], counts], -1)
    return build_point_sets(points, np.minimum(counts, size), np.asarray(label), features)
