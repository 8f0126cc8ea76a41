"""Dense images and hit lists of a generator of pixel hits, on any backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.level import MAX_LEVEL


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

    def images_at(self, sensor: Any, seed: Any, level: Any) -> NDArray[np.integer]:
        """As ``HitSignatures.images_at``."""
        raise NotImplementedError

    def dense(self, sensor: Any, seed: Any) -> dict[str, NDArray[Any]]:
        """As ``HitSignatures.dense``."""
        return self.dense_answer(self.images(sensor, seed), self.status(sensor))

    def digits(self, sensor: Any, seed: Any) -> dict[str, NDArray[Any]]:
        """As ``HitSignatures.digits``."""
        return self.hit_lists(self.images(sensor, seed), self.status(sensor))

    def dense_level(self, sensor: Any, seed: Any, level: Any) -> dict[str, NDArray[Any]]:
        """As ``HitSignatures.dense_level``."""
        level = np.asarray(level, np.float32)[:, 0]
        return self.dense_answer(self.images_at(sensor, seed, level), self.status(sensor, level))

    def digits_level(self, sensor: Any, seed: Any, level: Any) -> dict[str, NDArray[Any]]:
        """As ``HitSignatures.digits_level``."""
        level = np.asarray(level, np.float32)[:, 0]
        return self.hit_lists(self.images_at(sensor, seed, level), self.status(sensor, level))

    def dense_answer(
        self, adu: NDArray[np.integer], status: NDArray[np.int32]
    ) -> dict[str, NDArray[Any]]:
        """Images [N, rows, cols, C] and status [N] as ``dense`` answers."""
        return {"adu": adu[..., 0] if len(self.types) == 1 else adu, "status": status}

    def hit_lists(
        self, images: NDArray[np.integer], status: NDArray[np.int32]
    ) -> dict[str, NDArray[Any]]:
        """Images [N, rows, cols, C] and status [N] as ``digits`` answers."""
        images = images.astype(np.int32)
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
        return {"count": np.where(status == 0, count, -1), "hits": hits}

    def status(self, sensor: Any, level: Any = None) -> NDArray[np.int32]:
        """As ``HitSignatures.status``."""
        known = self.known(sensor)
        good = True if level is None else (level >= 0) & (level <= MAX_LEVEL)
        return np.where(known, np.where(good, 0, 2), 1).astype(np.int32)

    def known(self, sensor: Any) -> NDArray[np.bool_]:
        """Whether the geometry has such sensors."""
        return (np.asarray(sensor) >= 0) & (np.asarray(sensor) < self.sensors)
