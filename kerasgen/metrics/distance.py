"""Distances between two samples of feature vectors, or of point sets, in numpy."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

# Otherwise POT loads TensorFlow and JAX to accept their tensors.
os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")
os.environ.setdefault("POT_BACKEND_DISABLE_JAX", "1")

Floats = NDArray[np.float64]
FPD_SIZES, FPD_BATCHES = 10, 20
FPD_FRACTION = 0.4  # smallest batch / largest batch: 20 000 of 50 000
KPD_BATCHES, KPD_BATCH, KPD_DEGREE = 10, 5000, 4


def moments(features: Floats) -> tuple[Floats, Floats]:
    """Mean [F] and covariance [F, F] of features [n, F]."""
    return features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))


def frechet_distance(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2) of two normal distributions.

    Args:
        a, b: mean [F] and covariance [F, F].

    Returns:
        The distance; NaN where a mean or a covariance is beyond the floating-point numbers.
    """
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    if not all(np.isfinite(x).all() for x in (*a, *b)):
        return math.nan
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ cov_b @ root)
    cross = np.sqrt(np.maximum(inner, 0)).sum()
    gap = mean_a - mean_b
    return float(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def normalised(real: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Both samples over the largest absolute value of each feature of the real sample."""
    scale = np.abs(real).max(axis=0)
    scale = np.where(scale > 0, scale, 1)
    return real / scale, other / scale


def physics_frechet_distance(
    real: Floats, generated: Floats, rng: np.random.Generator
) -> tuple[float, float]:
    """FPD: the Frechet distance extrapolated to infinite samples (arXiv:2211.10295).

    Batches of 10 sizes N are drawn with replacement; the mean distance is linear in 1/N, and the
    result is the intercept. The sizes are 20 000 to 50 000 as published where the samples
    allow, else 0.4 to 1 of the smaller sample. Samples that are so far apart that the distance does
    not fall with N have their mean distance as the intercept.

    Args:
        real, generated: features [n, F].
        rng: draws the batches.

    Returns:
        Intercept (at least 0) and its error from the fit; NaN and infinity where a distance is
        beyond the floating-point numbers.
    """
    real, generated = normalised(real, generated)
    largest = min(len(real), len(generated), 50_000)
    sizes = (1 / np.linspace(1 / (FPD_FRACTION * largest), 1 / largest, FPD_SIZES)).astype(int)
    means = np.array([
        np.mean([
            frechet_distance(*(moments(x[rng.integers(len(x), size=n)]) for x in (real, generated)))
            for _ in range(FPD_BATCHES)
        ])
        for n in sizes
    ])  # fmt: skip
    return intercept_at_zero(sizes[-1] / sizes, means)


def intercept_at_zero(x: Floats, y: Floats) -> tuple[float, float]:
    """Intercept of the line through points, with intercept and slope of at least 0.

    The least squares have a closed form, so no start value and no scale of y matter.

    Args:
        x: [n], at least three values.
        y: [n].

    Returns:
        Intercept and its error from the scatter of the points; NaN and infinity where a y is not
        finite.
    """
    scale = np.abs(y).max()
    if not np.isfinite(scale):
        return math.nan, math.inf
    if scale == 0:
        return 0.0, 0.0
    line = np.stack([np.ones_like(x), x], axis=1)
    parameters, residual = nnls(line, y / scale)
    variance = residual**2 / (len(x) - 2) * np.linalg.inv(line.T @ line)[0, 0]
    return float(scale * parameters[0]), float(scale * math.sqrt(variance))


def kernel_distance(a: Floats, b: Floats) -> float:
    """Unbiased squared MMD with the kernel (x y / F + 1)^4 of features [n, F]."""

    def kernel(x: Floats, y: Floats) -> Floats:
        return (x @ y.T / x.shape[1] + 1.0) ** KPD_DEGREE

    def within(x: Floats) -> float:
        values = kernel(x, x)
        return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))

    return within(a) + within(b) - 2 * float(kernel(a, b).mean())


def physics_kernel_distance(
    real: Floats, generated: Floats, rng: np.random.Generator
) -> tuple[float, float]:
    """KPD (arXiv:2211.10295): median of ``kernel_distance`` over 10 batches of 5000.

    Returns:
        Median, which may be negative, and half the range that holds 68 % of the batches; NaN and
        infinity where a kernel is beyond the floating-point numbers.
    """
    real, generated = normalised(real, generated)
    size = min(len(real), len(generated), KPD_BATCH)
    values = [
        kernel_distance(*(x[rng.integers(len(x), size=size)] for x in (real, generated)))
        for _ in range(KPD_BATCHES)
    ]
    if not np.isfinite(values).all():
        return math.nan, math.inf
    low, middle, high = np.percentile(values, [16.275, 50, 83.725])
    return float(middle), float(high - low) / 2


def energy_movers_distance(
    a: NDArray[Any], a_mask: NDArray[np.bool_], b: NDArray[Any], b_mask: NDArray[np.bool_]
) -> float:
    """Minimum of pT x distance to turn one jet into the other (arXiv:1902.02346), R = 1, beta = 1.

    The excess of pT of one jet is created at distance R.

    Args:
        a, b: [P, 3], (eta_rel, phi_rel, pt_rel).
        a_mask, b_mask: [P], true for constituents.
    """
    import ot  # of jets only

    a, b = a[a_mask].astype(np.float64), b[b_mask].astype(np.float64)
    cost = np.ones((len(a) + 1, len(b) + 1))
    cost[:-1, :-1] = np.sqrt(((a[:, None, :2] - b[None, :, :2]) ** 2).sum(-1))
    cost[-1, -1] = 0
    total = max(a[:, 2].sum(), b[:, 2].sum())
    weights = [np.append(x[:, 2], total - x[:, 2].sum()) / total for x in (a, b)]
    return float(ot.emd2(*weights, cost, check_marginals=False, center_dual=False) * total)


def chamfer_distance(
    a: NDArray[Any], a_mask: NDArray[np.bool_], b: NDArray[Any], b_mask: NDArray[np.bool_]
) -> float:
    """Mean squared distance to the nearest point of the other set, summed over both directions.

    Args:
        a, b: [P, 3], points.
        a_mask, b_mask: [P], true for points.
    """
    gap = ((a[a_mask][:, None] - b[b_mask][None]) ** 2).sum(-1)
    return float(gap.min(axis=0).mean() + gap.min(axis=1).mean())


def coverage_and_matching(
    real: tuple[NDArray[Any], NDArray[np.bool_]],
    generated: tuple[NDArray[Any], NDArray[np.bool_]],
    distance: Callable[..., float],
    rng: np.random.Generator,
    size: int = 100,
    batches: int = 10,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """COV and MMD (arXiv:1707.02392) as in the JetNet protocol.

    In a batch of ``size`` real and as many generated sets, COV is the fraction of real sets that
    are nearest to some generated set, and MMD is the mean distance of a real set to the nearest
    generated set.

    Args:
        real, generated: points [n, P, 3] and mask [n, P].
        distance: of two sets.
        rng: draws the batches; a set is repeated only if there are fewer than ``size``.
        size, batches: sets of a batch, and number of batches.

    Returns:
        COV and MMD, each the mean over the batches and its error.
    """
    coverage, matching = [], []
    for _ in range(batches):
        rows = [rng.choice(len(x[0]), size, len(x[0]) < size) for x in (real, generated)]
        distances = np.array(
            [
                [
                    distance(generated[0][j], generated[1][j], real[0][i], real[1][i])
                    for i in rows[0]
                ]
                for j in rows[1]
            ]
        )
        covered, nearest = coverage_and_matching_of(distances)
        coverage.append(covered)
        matching.append(nearest)
    cov, mmd = (
        (float(np.mean(x)), float(np.std(x, ddof=1) / batches**0.5)) for x in (coverage, matching)
    )
    return cov, mmd


def coverage_and_matching_of(distances: NDArray[Any]) -> tuple[float, float]:
    """COV and MMD from the distances [generated, real] of equally many sets."""
    covered = len(np.unique(distances.argmin(axis=1))) / distances.shape[1]
    return covered, float(distances.min(axis=0).mean())
