"""Points of a picture as weights of the cells of a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

BLUR = 0.85  # cells: the width of a point


def cell_weights(positions: Any, cells: int) -> tuple[Any, Any]:
    """Normal distributions around points, at the middles of ``cells`` cells along x and along y.

    Args:
        positions: [..., 2], in [0, 1].

    Returns:
        x, y: [..., cells] each; their outer product is the picture of a point, 1 in its middle.
    """
    middles = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    x, y = (
        ops.exp(-0.5 * ops.square((positions[..., k : k + 1] - middles) * (cells / BLUR)))
        for k in range(2)
    )
    return x, y
