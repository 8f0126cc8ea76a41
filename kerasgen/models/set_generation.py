"""From what a network makes to stored point sets, on every backend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.data.jets import from_coordinates, to_coordinates
from kerasgen.models.set_normaliser import Normaliser


class SetGenerator:
    """Makes point sets of given conditions from random numbers.

    A class of an algorithm adds ``generated_sets(count, label, jet, uniform, numbers)``: sets as
    ``stored`` gives them, from count [n] int32 (a row below 0 has no points), label [n] int32, jet
    [n, 2] (pT in GeV and eta), and random numbers on (0, 1), uniform [n, latent_size] and numbers
    [n, 2 point_words].

    Args:
        normaliser: of the networks.
        latent_size: random numbers per row.
        point_words: further random words per row, each gives two numbers.
        tile: rows that are computed together. The bits of a matrix product depend on the size of
            its batch, so every batch is split into tiles of one size, the last one padded.

    Attributes:
        size: P, points per row.
        conditions: physical quantities that sets can be generated for, beside their class.
    """

    def __init__(
        self, normaliser: Normaliser, latent_size: int, point_words: int, tile: int
    ) -> None:
        self.normaliser, self.size = normaliser, normaliser.size
        self.latent_size, self.point_words, self.tile = latent_size, point_words, tile
        self.conditions = ("pt",) if normaliser.pt else ()

    def converted(self, points: Any, mask: Any, jet: Any) -> Any:
        """Stored points [n, P, 3] in the coordinates of the networks, not normalised."""
        if self.normaliser.coordinates == "image":
            return points
        return to_coordinates(points, mask, jet, self.normaliser.coordinates, ops)

    def stored(self, points: Any, count: Any, jet: Any) -> dict[str, Any]:
        """Sets as they are stored.

        Args:
            points: [n, P, 3], as ``Normaliser.to_physical`` gives them.
            count, jet: as in ``generated_sets``.

        Returns:
            ``points`` [n, P, 3] as stored, the most intense first, padding zero, and ``count``.
        """
        mask = self.mask(count)
        if self.normaliser.coordinates != "image":
            points = from_coordinates(points, mask, jet, self.normaliser.coordinates, ops)
        order = ops.argsort(ops.where(mask, -points[..., 2], np.inf), axis=-1)
        points = taken(points, order)
        return {"points": ops.where(mask[..., None], points, 0.0), "count": count}

    def mask(self, count: Any) -> Any:
        """True for points: [n] -> [n, P]."""
        return ops.arange(self.size, dtype="int32") < count[:, None]


def class_edges(table: dict[str, NDArray[Any]]) -> NDArray[np.int32]:
    """First and last + 1 row of each class in a table of conditions, [2, classes]."""
    known = np.arange(int(table["label"].max()) + 1)
    return np.searchsorted(table["label"], [known, known + 1]).astype(np.int32)


def normal_quantile(uniform: Any) -> Any:
    """Standard normal numbers from uniform numbers on (0, 1) by the quantile function."""
    return math.sqrt(2.0) * ops.erfinv(2.0 * uniform - 1.0)


def taken(x: Any, index: Any) -> Any:
    """The chosen rows of each matrix, x[b, index[b]].

    On TensorFlow four times as fast as ``ops.take_along_axis``.

    Args:
        x: [B, N, D].
        index: int32, [B] or [B, K].

    Returns:
        [B, D] or [B, K, D].
    """
    batch, rows, size = ops.shape(x)
    start = rows * ops.arange(batch, dtype="int32")
    start = ops.reshape(start, (-1,) + (1,) * (len(index.shape) - 1))
    return ops.take(ops.reshape(x, (-1, size)), start + index, axis=0)
