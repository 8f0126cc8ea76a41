"""Helices in perigee parameters, and residuals of measured points.

Parameters [N, 5] at the point of closest approach to the beam axis: d0 (mm, positive to the left of
the direction), phi0 (rad, azimuth of the direction), curvature (1/mm, positive if the track turns
left), z0 (mm), cot (cotangent of the polar angle). n(psi) = (-sin psi, cos psi) is the direction to
the left of psi; the centre of the circle is (d0 + 1/curvature) n(phi0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.detector import Floats
from kerasgen.data.simulation.tracks import LIGHT_MM, Tracks

D0, PHI0, CURVATURE, Z0, COT = range(5)


@dataclass(frozen=True)
class Residuals:
    """Residuals of points with respect to helices.

    Attributes:
        value: [N, H, 2], mm: distance to the left of the circle, and z minus z of the helix at the
            nearest point of the circle.
        path: [N, H], mm, transverse path from the perigee to the nearest point.
        direction: [N, H], rad, azimuth of the helix at the nearest point.
        jacobian: [N, H, 2, 5], derivatives of ``value`` by the parameters.
    """

    value: Floats
    path: Floats
    direction: Floats
    jacobian: Floats


def residuals(parameters: Floats, x: Floats, y: Floats, z: Floats) -> Residuals:
    """Residuals of points [N, H] (mm) to helices [N, 5], exact, with exact derivatives."""
    d0, phi0, curvature, z0, cot = (parameters[:, [k]] for k in range(5))
    rho = 1.0 / curvature
    sense = np.sign(curvature)
    from_x = x + (d0 + rho) * np.sin(phi0)  # from the centre to the point
    from_y = y - (d0 + rho) * np.cos(phi0)
    away = sense * np.hypot(from_x, from_y)
    left = rho - away
    direction = np.arctan2(sense * from_x, -sense * from_y)
    turned = np.mod(direction - phi0 + np.pi, 2 * np.pi) - np.pi
    path = rho * turned
    sine, cosine = np.sin(turned), np.cos(turned)
    zero = np.zeros_like(left)
    scale = rho / away  # 1 on the circle
    d_left = [-cosine, -(d0 + rho) * sine, -2 * (np.sin(0.5 * turned) * rho) ** 2, zero, zero]
    d_path = [
        -scale * sine,
        scale * (d0 + rho) * cosine - rho,
        -(turned - scale * sine) * rho**2,
    ]
    d_z = [-cot * d for d in d_path] + [zero - 1.0, -path]
    return Residuals(
        np.stack([left, z - z0 - cot * path], -1),
        path,
        direction,
        np.stack([np.stack(d_left, -1), np.stack(d_z, -1)], -2),
    )


def from_points(x: Floats, y: Floats, z: Floats) -> Floats:
    """Parameters [N, 5] of the helices through three points each [N, 3], from inside to outside."""
    ax, ay = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]
    bx, by = x[:, 2] - x[:, 0], y[:, 2] - y[:, 0]
    cross = ax * by - ay * bx
    cross = np.where(np.abs(cross) < 1e-9, 1e-9, cross)
    a2, b2 = ax**2 + ay**2, bx**2 + by**2
    centre_x = x[:, 0] + 0.5 * (by * a2 - ay * b2) / cross
    centre_y = y[:, 0] + 0.5 * (ax * b2 - bx * a2) / cross
    sense = np.sign(cross)
    rho = sense * np.hypot(centre_x - x[:, 0], centre_y - y[:, 0])
    phi0 = np.arctan2(-sense * centre_x, sense * centre_y)
    d0 = sense * np.hypot(centre_x, centre_y) - rho
    found = np.stack([d0, phi0, 1 / rho, np.zeros_like(d0), np.zeros_like(d0)], 1)
    path = residuals(found, x, y, z).path
    found[:, COT] = (z[:, 2] - z[:, 0]) / (path[:, 2] - path[:, 0])
    found[:, Z0] = z[:, 0] - found[:, COT] * path[:, 0]
    return found


def as_tracks(parameters: Floats) -> Tracks:
    """The first half turn of helices from the perigee, as tracks of the simulation."""
    d0, phi0, curvature, z0, cot = parameters.T
    n = len(d0)
    return Tracks(
        x=-d0 * np.sin(phi0),
        y=d0 * np.cos(phi0),
        z=z0,
        direction=phi0,
        turn=np.sign(curvature),
        radius=1.0 / np.abs(curvature),
        cot=cot,
        t_min=np.zeros(n),
        t_max=np.full(n, 0.5 * np.pi),
        type=np.zeros(n, np.uint8),
    )


def perigee(
    x: Floats, y: Floats, z: Floats, direction: Floats, curvature: Floats, cot: Floats
) -> Floats:
    """Parameters [N, 5] of the helices through points [N] in given directions."""
    rho = 1.0 / curvature
    centre_x, centre_y = x - rho * np.sin(direction), y + rho * np.cos(direction)
    sense = np.sign(curvature)
    phi0 = np.arctan2(-sense * centre_x, sense * centre_y)
    d0 = sense * np.hypot(centre_x, centre_y) - rho
    turned = np.mod(direction - phi0 + np.pi, 2 * np.pi) - np.pi
    return np.stack([d0, phi0, curvature, z - cot * rho * turned, cot], 1)


def momentum(parameters: Floats, field_tesla: float) -> Floats:
    """Momentum [N], GeV/c."""
    transverse = LIGHT_MM * field_tesla / np.abs(parameters[:, CURVATURE])
    return transverse * np.sqrt(1 + parameters[:, COT] ** 2)


def to_cylinder(tracks: NDArray, radius: float) -> tuple[Floats, Floats, Floats, Floats]:
    """First intersection of helices from inside with a cylinder around the beam.

    Args:
        tracks: [N, 6], x, y, z (mm), direction (rad), curvature (1/mm), cot.
        radius: mm.

    Returns:
        x, y, z and direction [N] at the intersection; NaN for tracks that turn back before.
    """
    x, y, z, direction, curvature, cot = tracks.T
    rho = 1.0 / curvature
    centre_x, centre_y = x - rho * np.sin(direction), y + rho * np.cos(direction)
    away = np.hypot(centre_x, centre_y)
    with np.errstate(invalid="ignore"):
        half = np.arccos((radius**2 - away**2 - rho**2) / (2 * away * np.abs(rho)))
    towards = np.arctan2(centre_y, centre_x)
    here = np.arctan2(y - centre_y, x - centre_x)
    sense = np.sign(curvature)
    both = [np.mod(sense * (towards + side * half - here), 2 * np.pi) for side in (1, -1)]
    turned = np.minimum(*both)
    angle = here + sense * turned
    there_x = centre_x + np.abs(rho) * np.cos(angle)
    there_y = centre_y + np.abs(rho) * np.sin(angle)
    return there_x, there_y, z + cot * np.abs(rho) * turned, direction + sense * turned
