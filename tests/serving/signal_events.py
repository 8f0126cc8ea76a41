"""Signal events of the toy detector."""

from __future__ import annotations

import numpy as np
from toy_run import toy_geometry

from kerasgen.data.hits import Hits, from_dense

GEOMETRY = toy_geometry()
NUMBERS = np.array([[0, 0, 0]])


def signal_events(n: int = 1, **charges: int) -> Hits:
    """``n`` events; ``charges`` on columns c0, c1, ... of row 0 of the first sensor."""
    images = np.zeros((3 * n, 20, 48), np.int64)
    for name, adu in charges.items():
        images[::3, 0, int(name[1:])] = adu
    return from_dense(images, np.tile(np.arange(3), n), np.repeat(np.arange(n), 3))
