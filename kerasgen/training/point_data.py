"""The point sets of a run: made once and kept in the cache, or a file of the user's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.points import (
    PointFile,
    PointSets,
    choose_classes,
    concatenate,
    write_points,
)
from kerasgen.errors import InputError, nearest
from kerasgen.training.data import cache_folder

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasgen.zoo.point_sets.config import PointDataSettings

BUILT_IN = ("digits", "mnist")
JETS = "simulate:jets"
WINDOW = 200_000  # training sets in memory: 0.4 GB at 150 points
BLOCK = 1024  # neighbouring sets that are read together
READ = 10_000  # rows of a file that are read and checked at a time
PACKAGES = {"digits": "sklearn", "mnist": "skimage"}


def point_path(data: PointDataSettings) -> Path:
    """The file of a data source; of what is built in the one in the cache, once it is made.

    Raises:
        InputError: unknown source.
    """
    if data.source == JETS:
        from kerasgen.data.jet_simulation import VERSION

        name = "-".join(jet_classes(data))
        size = data.points or 30
        return cache_folder() / f"jets-{VERSION}-{name}-{size}-{data.seed}-{data.events}.h5"
    if data.source in BUILT_IN:
        return cache_folder() / f"{data.source}-{version('kerasgen')}.h5"
    path = Path(data.source)
    if data.source.startswith("simulate:") or not (path.suffix or path.exists()):
        known = [JETS, *BUILT_IN]
        raise InputError(
            f"unknown data {data.source!r}{nearest(data.source, known)}, or an HDF5 file"
        )
    return path


def jet_classes(data: PointDataSettings) -> list[str]:
    """Classes of jets to simulate."""
    return list(data.classes) or ["gluon"]


def point_file(data: PointDataSettings) -> PointFile:
    """The open file of a data source, which is made at first use.

    Raises:
        InputError: unknown source, a package that is missing, or a file that cannot be used.
    """
    path = point_path(data)
    if not path.exists() and (data.source == JETS or data.source in BUILT_IN):
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"Preparing {data.source} in {path}", flush=True)
        make_file(data, path)
    return PointFile(path)


def check_source(data: PointDataSettings) -> None:
    """Raise InputError for a file that is not there, or sets that cannot be made here."""
    if data.source == JETS:
        from kerasgen.data.jet_simulation import check_request

        check_request(jet_classes(data), data.points or 30)
    elif data.source in BUILT_IN:
        from kerasgen.data.superpixels import FORM

        if find_spec(PACKAGES[data.source]) is None:
            raise InputError(
                f"{data.source!r} needs {PACKAGES[data.source]}: "
                "pip install 'kerasgen[superpixels]'"
            )
        choose_classes(data.classes, FORM, data.source)
    else:
        raise InputError(f"{data.source}: no such file")


def make_file(data: PointDataSettings, path: Path) -> None:
    """Simulate jets, or cut images into superpixels.

    Raises:
        InputError: as ``check_source``.
    """
    check_source(data)
    if data.source == JETS:
        from kerasgen.data.simulate import write_jets

        processes = os.cpu_count() or 1
        size = data.points or 30
        write_jets(path, jet_classes(data), data.events, size, data.seed, processes)
        return
    from kerasgen.data.superpixels import built_in_digits, mnist

    blocks, form = built_in_digits() if data.source == "digits" else mnist()
    write_points(path, form, blocks, data.source)


@dataclass(frozen=True)
class Division:
    """Which sets of a file train and which are held out.

    Attributes:
        training: int64, rows of the file, in an order that mixes classes.
        held_out: int64, rows that training never sees.
        size: P, points of a set that are used.
    """

    training: NDArray[np.int64]
    held_out: NDArray[np.int64]
    size: int


def divide(file: PointFile, data: PointDataSettings) -> Division:
    """Training and held-out sets, of the classes and with the points that the recipe names.

    Raises:
        InputError: unknown class, more points than the file has, or too few sets.
    """
    labels = choose_classes(data.classes, file.form, str(file.path))
    size = data.points or file.size
    if size > file.size:
        raise InputError(f"{file.path}: has {file.size} points per set, data.points = {size}")
    rows = np.flatnonzero(np.isin(file.labels(), labels))
    # Files are often in order of class, and what is held out must have the shares of the rest.
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    n = min(data.events or len(rows), len(rows))
    if n <= data.held_out:
        raise InputError(
            f"{file.path}: {n} sets of these classes, of which {data.held_out} are held out "
            "(data.held_out): none is left to train on"
        )
    return Division(rows[: n - data.held_out], rows[n - data.held_out : n], size)


def read_rows(file: PointFile, rows: NDArray[np.int64], size: int) -> PointSets:
    """Rows of a file with their first ``size`` points, in the order of ``rows``.

    The file is read a block at a time, so that it may be larger than memory.
    """
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    parts, k = [], 0
    while k < len(ordered):
        end = int(np.searchsorted(ordered, ordered[k] + READ))
        first, last = int(ordered[k]), int(ordered[end - 1])
        sets = file.read(first, last + 1).take(ordered[k:end] - first)
        parts.append(replace(sets, points=sets.points[:, :size], mask=sets.mask[:, :size]))
        k = end
    return concatenate(parts).take(np.argsort(order, kind="stable"))


def read_sets(file: PointFile, data: PointDataSettings) -> tuple[PointSets, PointSets]:
    """Training sets, at most ``WINDOW`` of them, and all held-out sets; errors as ``divide``."""
    division = divide(file, data)
    training = read_rows(file, division.training[:WINDOW], division.size)
    return training, read_rows(file, division.held_out, division.size)


class SetSampler:
    """Shuffled training batches in an order that is a pure function of (seed, step).

    Every set is drawn once per epoch; a batch may hold the end of one epoch and the start of the
    next. More sets than a window holds are read a window at a time: in every epoch blocks of
    neighbouring sets are dealt to windows anew, and each window is shuffled.

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

    def dataset(self, start: int, steps: int) -> tf.data.Dataset:
        """The batches of ``steps`` steps from ``start`` on."""
        import tensorflow as tf

        def batches() -> Iterator[dict[str, NDArray[Any]]]:
            for step in range(start, start + steps):
                yield self.batch_at(step)

        signature = {
            name: tf.TensorSpec((self.batch, *values.shape[1:]), values.dtype)
            for name, values in self.batch_at(start).items()
        }
        return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(4)
