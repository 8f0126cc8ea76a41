"""Dense images and hit lists of a generator of pixel hits, on any backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PortableHits(ABC):
    """Answers of a generator from its images, as ``hit_signatures.HitSignatures`` in numpy.

    Attributes:
        types: background type of each image channel.
        max_charge: highest stored charge, ADU.
    """

    types: tuple[int, ...]
    max_charge: int

    @property
    @abstractmethod
    def sensors(self) -> int:
        """Number of sensors."""

    @abstractmethod
    def images(self, sensor: Any, seed: Any) -> NDArray[np.integer]:
        """[N, rows, cols, C], ADU, of sensors [N] and seeds [N, 2]."""

    def dense(self, sensor: Any, seed: Any) -> dict[str, NDArray[Any]]:
        """As ``HitSignatures.dense``."""
        adu = self.images(sensor, seed)
        return {
            "adu": adu[..., 0] if len(self.types) == 1 else adu,
            "status": 1 - self.known(sensor).astype(np.int32),
        }

    def digits(self, sensor: Any, seed: Any) -> dict[str, NDArray[Any]]:
        """As ``HitSignatures.digits``."""
        images = self.images(sensor, seed).astype(np.int32)
        charge = np.minimum(images.sum(-1), self.max_charge)
        columns = [charge]
        if len(self.types) > 1:
            columns.append(np.asarray(self.types, np.int32)[images.argmax(-1)])
        image, row, col = np.nonzero(charge)
        count = np.bincount(image, minlength=len(images)).astype(np.int32)
        hits = np.full((len(images), count.max(initial=0), 2 + len(columns)), -1, np.int32)
        rank = np.arange(len(image)) - np.repeat(np.cumsum(count) - count, count)
        values = [x[image, row, col] for x in columns]
        hits[image, rank] = np.stack([row, col, *values], axis=1)
        return {"count": np.where(self.known(sensor), count, -1), "hits": hits}

    def known(self, sensor: Any) -> NDArray[np.bool_]:
        """Whether the geometry has such sensors."""
        return (np.asarray(sensor) >= 0) & (np.asarray(sensor) < self.sensors)
