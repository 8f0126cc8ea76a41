"""Helix fit with multiple scattering: generalised least squares with the full covariance.

Scattering in a layer at path s_k moves all points behind it: the covariance of the residuals of two
points at paths s_i and s_j has the term theta_k^2 (s_i - s_k)(s_j - s_k) (V. Blobel, Nucl. Instrum.
Meth. A 566 (2006) 14 compares this with equivalent methods). The fitted helix is that before all
material, so d0 and z0 are at the beam; the mean energy loss is included.

Slots 0 and 1 of the points are the pixel layers, slots 2 to 5 the strips. A slot without a
measurement has an error of 1 m: it does not constrain the fit, and the fit predicts its residual.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.detector import Floats
from kerasgen.tracking import material
from kerasgen.tracking.helix import COT, CURVATURE, momentum, residuals
from kerasgen.tracking.signal import PIXEL_LAYERS

SLOTS = PIXEL_LAYERS + len(material.STRIPS_MM)
UNMEASURED_MM = 1000.0
ITERATIONS = 3


@dataclass(frozen=True)
class Points:
    """Points of N tracks in ``SLOTS`` slots, all [N, SLOTS].

    Attributes:
        x, y, z: mm.
        normal: rad, azimuth of the normal of the measuring plane.
        sigma_e, sigma_z: mm, error in the plane across and along the beam.
        thickness: radiation lengths of the layer; 0 where the track misses it.
    """

    x: Floats
    y: Floats
    z: Floats
    normal: Floats
    sigma_e: Floats
    sigma_z: Floats
    thickness: Floats

    def put(self, slot: int, rows: NDArray[np.int64], **values: Floats | float) -> Points:
        """Copy with other values for some tracks in one slot."""
        changed = {}
        for name, value in values.items():
            new = getattr(self, name).copy()
            new[rows, slot] = value
            changed[name] = new
        return replace(self, **changed)


@dataclass(frozen=True)
class Fit:
    """Fitted helices.

    Attributes:
        parameters: [N, 5], see ``helix``.
        covariance: [N, 5, 5].
        chi2: [N].
        residual, jacobian, weight, scatter: [N, 2 SLOTS, ...] at the solution, transverse rows
            first: residuals, their derivatives, inverse covariance, covariance from scattering.
        direction: [N, SLOTS], rad.
    """

    parameters: Floats
    covariance: NDArray[Any]
    chi2: Floats
    residual: Floats
    jacobian: Floats
    weight: NDArray[Any]
    scatter: Floats
    direction: Floats

    def sigma(self, parameter: int) -> Floats:
        """[N], error of a parameter."""
        return np.sqrt(self.covariance[:, parameter, parameter])

    def expected(self, slot: int) -> tuple[Floats, Floats]:
        """Predicted residual of the true point in a slot without measurement.

        Returns:
            Mean [N, 2] and covariance [N, 2, 2], mm, from the other points, scattering included,
            without the error of the point itself.
        """
        rows = [slot, slot + SLOTS]
        gain = self.scatter[:, rows] @ self.weight
        mean = np.einsum("nij,nj->ni", gain, self.residual)
        lever = self.jacobian[:, rows] - gain @ self.jacobian
        conditional = self.scatter[:, rows][:, :, rows] - gain @ self.scatter[:, :, rows]
        return mean, conditional + lever @ self.covariance @ lever.transpose(0, 2, 1)


def fit_tracks(points: Points, start: Floats, field: float, iterations: int = ITERATIONS) -> Fit:
    """Fit helices.

    Args:
        points: of N tracks.
        start: [N, 5], helices close to the solution.
        field: tesla.
        iterations: of the Gauss-Newton method.
    """
    parameters = start
    for k in range(iterations + 1):
        found = residuals(parameters, points.x, points.y, points.z)
        scatter, bend = _material(parameters, found.path, found.direction, points, field)
        # Energy loss increases the curvature relative to the helix before all material.
        value = np.concatenate([found.value[..., 0] - bend, found.value[..., 1]], 1)
        jacobian = np.concatenate([found.jacobian[..., 0, :], found.jacobian[..., 1, :]], 1)
        weight = np.linalg.inv(scatter + _measurement(parameters, found.direction, points))
        normal = jacobian.transpose(0, 2, 1) @ weight
        covariance = np.linalg.inv(normal @ jacobian)
        if k < iterations:
            step = np.einsum("nij,njk,nk->ni", covariance, normal, value)
            parameters = parameters - step
    chi2 = np.einsum("ni,nij,nj->n", value, weight, value)
    return Fit(parameters, covariance, chi2, value, jacobian, weight, scatter, found.direction)


def _measurement(parameters: Floats, direction: Floats, points: Points) -> Floats:
    """Covariance [N, 2 SLOTS, 2 SLOTS] of residuals from the errors of the points."""
    turn = measurement_matrix(direction - points.normal, parameters[:, [COT]])
    sigma = np.stack([points.sigma_e, points.sigma_z], -1)
    block = np.einsum("nhik,nhk,nhjk->nhij", turn, sigma**2, turn)
    n = len(parameters)
    out = np.zeros((n, 2, SLOTS, 2, SLOTS))
    slot = np.arange(SLOTS)
    for i in range(2):
        for j in range(2):
            out[:, i, slot, j, slot] = block[:, :, i, j]
    return out.reshape(n, 2 * SLOTS, 2 * SLOTS)


def measurement_matrix(angle: Floats, cot: Floats) -> Floats:
    """Matrix [..., 2, 2] from (e, z) in a plane to residuals.

    Args:
        angle: rad, between track and normal of the plane.
        cot: cotangent of the polar angle.
    """
    sine, cosine = np.sin(angle), np.cos(angle)
    one = np.ones_like(cosine)
    return np.stack([np.stack([cosine, 0 * one], -1), np.stack([-cot * sine, one], -1)], -2)


def _material(
    parameters: Floats, path: Floats, direction: Floats, points: Points, field: float
) -> tuple[Floats, Floats]:
    """Covariance of residuals from scattering, and their mean shift from energy loss, mm."""
    n = len(parameters)
    curvature, cot = parameters[:, CURVATURE], parameters[:, COT]
    half = np.clip(0.5 * np.abs(curvature) * material.PIPE_MM, None, 1.0)
    to_pipe = 2 * np.arcsin(half) / np.abs(curvature)
    surface = np.concatenate([to_pipe[:, None], path], 1)  # [N, surfaces]
    incidence = np.concatenate(
        [np.sqrt(1 - half[:, None] ** 2), np.cos(direction - points.normal)], 1
    )
    slant = np.sqrt(1 + cot**2)[:, None]
    thickness = np.concatenate([np.full((n, 1), material.PIPE), points.thickness], 1)
    thickness = thickness * slant / np.maximum(np.abs(incidence), 0.05)
    p = np.maximum(momentum(parameters, field), 0.03)[:, None]
    angle = material.scattering_angle(p, thickness)
    per_length = np.full(1 + SLOTS, material.SILICON_GEV)
    per_length[0] = material.PIPE_GEV
    lost = material.momentum_loss(p, thickness, per_length) / p
    lever = np.maximum(path[:, :, None] - surface[:, None, :], 0.0)  # [N, SLOTS, surfaces]
    across = (angle * slant) ** 2
    along = across * slant**2
    out = np.zeros((n, 2 * SLOTS, 2 * SLOTS))
    out[:, :SLOTS, :SLOTS] = np.einsum("nik,nk,njk->nij", lever, across, lever)
    out[:, SLOTS:, SLOTS:] = np.einsum("nik,nk,njk->nij", lever, along, lever)
    bend = 0.5 * np.einsum("nik,nk->ni", lever**2, curvature[:, None] * lost)
    return out, bend
