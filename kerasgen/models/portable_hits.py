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
        types: background types of the hits.
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
        """[N, rows, cols, C], as ``HitSignatures.images``, of sensors [N] and seeds [N, 2]."""

    def images_at(self, sensor: Any, seed: Any, level: Any) -> NDArray[np.integer]:
        """As ``HitSignatures.images_at``."""
        raise NotImplementedError

    def charge_and_type(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """As ``HitSignatures.charge_and_type``."""
        values = values.astype(np.int32)
        return np.minimum(values.sum(-1), self.max_charge), values.argmax(-1)

    def dense(self, sensor: Any, seed: Any) -> dict[str, NDArray[Any]]:
        """As ``HitSignatures.dense``."""
        return self.dense_answer(self.images(sensor, seed), self.status(sensor))

    def digits(self, sensor: Any, seed: Any) -> dict[str, NDArray[Any]]:
        """As ``HitSignatures.digits``."""
        return self.hit_lists(self.images(sensor, seed), self.status(sensor))

    def dense_level(self, sensor: Any, seed: Any, level: Any) -> dict[str, NDArray[Any]]:
        """As ``HitSignatures.dense_level``."""
        level = self.level_of_types(level)
        return self.dense_answer(self.images_at(sensor, seed, level), self.status(sensor, level))

    def digits_level(self, sensor: Any, seed: Any, level: Any) -> dict[str, NDArray[Any]]:
        """As ``HitSignatures.digits_level``."""
        level = self.level_of_types(level)
        return self.hit_lists(self.images_at(sensor, seed, level), self.status(sensor, level))

    def level_of_types(self, level: Any) -> NDArray[np.float32]:
        """As ``HitSignatures.level_of_types``."""
        level = np.asarray(level, np.float32)
        return np.broadcast_to(level, (len(level), len(self.types)))

    def dense_answer(
        self, images: NDArray[np.integer], status: NDArray[np.int32]
    ) -> dict[str, NDArray[Any]]:
        """Images [N, rows, cols, C] and status [N] as ``dense`` answers."""
        charge, number = self.charge_and_type(images)
        dtype = np.uint8 if self.max_charge <= 255 else np.uint16
        answer = {"adu": charge.astype(dtype), "status": status}
        if len(self.types) > 1:
            answer["type"] = np.where(charge > 0, np.array(self.types, np.uint8)[number], 0)
        return answer

    def hit_lists(
        self, images: NDArray[np.integer], status: NDArray[np.int32]
    ) -> dict[str, NDArray[Any]]:
        """Images [N, rows, cols, C] and status [N] as ``digits`` answers."""
        image, row, col = np.nonzero(images.any(-1))
        charge, number = self.charge_and_type(images[image, row, col])
        count = np.bincount(image, minlength=len(images)).astype(np.int32)
        hits = np.full((len(images), count.max(initial=0), 3), -1, np.int32)
        rank = np.arange(len(image)) - np.repeat(np.cumsum(count) - count, count)
        hits[image, rank] = np.stack([row, col, charge], axis=1)
        answer = {"count": np.where(status == 0, count, -1), "hits": hits}
        if len(self.types) > 1:
            answer["type"] = np.zeros(hits.shape[:2], np.uint8)
            answer["type"][image, rank] = np.array(self.types, np.uint8)[number]
        return answer

    def status(self, sensor: Any, level: Any = None) -> NDArray[np.int32]:
        """As ``HitSignatures.status``."""
        known = self.known(sensor)
        good = True if level is None else ((level >= 0) & (level <= MAX_LEVEL)).all(-1)
        return np.where(known, np.where(good, 0, 2), 1).astype(np.int32)

    def known(self, sensor: Any) -> NDArray[np.bool_]:
        """Whether the geometry has such sensors."""
        return (np.asarray(sensor) >= 0) & (np.asarray(sensor) < self.sensors)
