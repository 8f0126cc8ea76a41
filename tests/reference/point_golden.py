"""Golden values of the point-set losses: a double loop over points, written from the formulas.

Needs numpy alone and shares no code with kerasgen. Usage: ``python point_golden.py FOLDER``.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np


def one_way(source: list, other: list, dims: int) -> float:
    """Sum over ``source`` of the squared distance to its nearest point in ``dims`` coordinates."""
    total = 0.0
    for p in source:
        best, nearest = math.inf, None
        for q in other:
            distance = sum((p[k] - q[k]) ** 2 for k in range(dims))
            if distance < best:
                best, nearest = distance, q
        total += best  # positions (and with three dimensions the intensity)
        if dims == 2:
            total += (p[2] - nearest[2]) ** 2
    return total


def jet(points: list) -> tuple[float, float, float]:
    """pT, mass and rapidity of massless (eta, phi, pT)."""
    energy = sum(p[2] * math.cosh(p[0]) for p in points)
    px = sum(p[2] * math.cos(p[1]) for p in points)
    py = sum(p[2] * math.sin(p[1]) for p in points)
    pz = sum(p[2] * math.sinh(p[0]) for p in points)
    # One particle has no mass; rounding may leave less than nothing.
    mass = math.sqrt(max(energy**2 - px**2 - py**2 - pz**2, 0.0))
    return math.hypot(px, py), mass, math.atanh(pz / energy)


def main(folder: Path) -> None:
    rng = np.random.default_rng(7)
    counts = np.array([[12, 9], [1, 12], [5, 1], [7, 7], [12, 12]])
    points = rng.normal(0.0, 0.4, (2, len(counts), 12, 3)).astype(np.float32)
    points[..., 2] = np.abs(points[..., 2]) + 0.01
    mask = np.arange(12) < counts.T[:, :, None]
    # Padding is not zero here: what it holds must not matter.
    sides = [
        [[list(map(float, p)) for p in x[m]] for x, m in zip(points[k], mask[k], strict=True)]
        for k in range(2)
    ]
    pairs = list(zip(*sides, strict=True))
    features = np.array([[jet(a), jet(b)] for a, b in pairs])
    np.savez(
        folder / "nearest_neighbour.npz",
        points=points,
        mask=mask,
        joint=[one_way(a, b, 3) + one_way(b, a, 3) for a, b in pairs],
        position_first=[one_way(a, b, 2) + one_way(b, a, 2) for a, b in pairs],
        features=features,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
