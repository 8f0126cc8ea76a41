"""Gaussian splatting of points on a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

SIGMA = 0.85  # standard deviation of a splatted point, cells


def cell_weights(positions: Any, cells: int) -> tuple[Any, Any]:
    """Weights of a separable Gaussian around each point, at the centres of the grid cells.

    Args:
        positions: [..., 2], x and y in [0, 1].
        cells: cells of the grid along x and along y.

    Returns:
        x, y: [..., cells] each; their outer product is the image of a point, with maximum 1.
    """
    centres = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    x, y = (
        ops.exp(-0.5 * ops.square((positions[..., k : k + 1] - centres) * (cells / SIGMA)))
        for k in range(2)
    )
    return x, y
