"""Shuffled training batches of point sets, from memory or from a file a window at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.point_source import WINDOW

BLOCK = 1024  # neighbouring sets that are read together


class SetSampler:
    """Shuffled training batches in an order that is a pure function of (seed, step).

    Every set is drawn once per epoch; a batch may hold the end of one epoch and the start of the
    next. More sets than a window holds are read a window at a time: in every epoch blocks of
    neighbouring sets are dealt to windows again, and each window is shuffled.

    Args:
        load: from numbers of sets, ascending, to arrays by name, one row for each.
        sets: how many there are.
        batch: sets of a batch.
        seed: run seed.
        window: sets that are kept in memory.
        block: neighbouring sets that stay together in a window.
    """

    def __init__(
        self,
        load: Callable[[NDArray[np.int64]], dict[str, NDArray[Any]]],
        sets: int,
        batch: int,
        seed: int,
        window: int = WINDOW,
        block: int = BLOCK,
    ) -> None:
        self.load, self.batch, self.seed, self.rows = load, batch, seed, sets
        self.block = block
        self.window = max(window // block, 1) * block if sets > window else sets
        self._kept: tuple[Any, dict[str, NDArray[Any]]] = (None, {})
        self._order: tuple[Any, NDArray[np.int64]] = (None, np.zeros(0, np.int64))

    def batch_at(self, step: int) -> dict[str, NDArray[Any]]:
        """The batch of one step."""
        position = np.arange(step * self.batch, (step + 1) * self.batch)
        epoch, place = np.divmod(position, self.rows)
        window, place = np.divmod(place, self.window)
        parts = []
        for e, w in sorted(set(zip(epoch.tolist(), window.tolist(), strict=True))):
            arrays = self.arrays(e, w)
            rows = self.order(e, w)[place[(epoch == e) & (window == w)]]
            parts.append({name: values[rows] for name, values in arrays.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def arrays(self, epoch: int, window: int) -> dict[str, NDArray[Any]]:
        """What a window holds, kept until the next."""
        whole = self.window == self.rows
        key = "all" if whole else (epoch, window)
        if self._kept[0] != key:
            sets = np.arange(self.rows) if whole else self.members(epoch, window)
            self._kept = key, self.load(sets)
        return self._kept[1]

    def members(self, epoch: int, window: int) -> NDArray[np.int64]:
        """Numbers of the sets of a window, ascending.

        A last block that is not full comes last, so that every window but the last is.
        """
        full = self.rows // self.block
        blocks = np.append(self.random(epoch).permutation(full), full)
        per_window = self.window // self.block
        dealt = np.sort(blocks[window * per_window : (window + 1) * per_window])
        sets = (dealt[:, None] * self.block + np.arange(self.block)).ravel()
        return sets[sets < self.rows]

    def order(self, epoch: int, window: int) -> NDArray[np.int64]:
        """The order of the sets of a window, kept until the next."""
        key = epoch, window
        if self._order[0] != key:
            size = min(self.window, self.rows - window * self.window)
            parts = (epoch,) if self.window == self.rows else (epoch, window + 1)
            self._order = key, self.random(*parts).permutation(size)
        return self._order[1]

    def random(self, *parts: int) -> np.random.Generator:
        """Random numbers of a part of the run."""
        key = np.random.SeedSequence([self.seed, *parts])
        return np.random.Generator(np.random.Philox(key))
