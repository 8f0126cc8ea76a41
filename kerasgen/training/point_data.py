"""The point sets of a run: made once and kept in the cache, or a file of the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.points import PointFile, PointSets, choose_classes, write_points
from kerasgen.errors import InputError, nearest
from kerasgen.training.data import cache_folder

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasgen.zoo.point_sets.config import PointDataSettings

BUILT_IN = ("digits", "mnist")
JETS = "simulate:jets"
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


def read_sets(file: PointFile, data: PointDataSettings) -> tuple[PointSets, PointSets]:
    """Training and held-out sets, of the classes and with the points that the recipe names.

    Raises:
        InputError: unknown class, more points than the file has, or too few sets.
    """
    labels = choose_classes(data.classes, file.form, str(file.path))
    size = data.points or file.size
    if size > file.size:
        raise InputError(f"{file.path}: has {file.size} points per set, data.points = {size}")
    sets = file.read(0, len(file))
    sets = sets.take(np.isin(sets.label, labels))
    # Files are often in order of class, and what is held out must have the shares of the rest.
    sets = sets.take(np.random.default_rng(0).permutation(len(sets)))
    n = min(data.events or len(sets), len(sets))
    if n <= data.held_out:
        raise InputError(
            f"{file.path}: {n} sets of these classes, of which {data.held_out} are held out "
            "(data.held_out): none is left to train on"
        )
    sets = replace(sets, points=sets.points[:, :size], mask=sets.mask[:, :size])
    return sets.take(slice(0, n - data.held_out)), sets.take(slice(n - data.held_out, n))


class SetSampler:
    """Shuffled training batches in an order that is a pure function of (seed, step).

    Every set is drawn once per epoch; a batch may hold the end of one epoch and the start of the
    next.

    Args:
        arrays: by name, one row for each set.
        batch: sets of a batch.
        seed: run seed.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]], batch: int, seed: int) -> None:
        self.arrays = arrays
        self.batch = batch
        self.seed = seed
        self.rows = len(next(iter(arrays.values())))
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def batch_at(self, step: int) -> dict[str, NDArray[Any]]:
        """The batch of one step."""
        position = np.arange(step * self.batch, (step + 1) * self.batch)
        epoch, place = np.divmod(position, self.rows)
        rows = np.concatenate([self.order(int(e))[place[epoch == e]] for e in np.unique(epoch)])
        return {name: values[rows] for name, values in self.arrays.items()}

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The order of an epoch, kept until the next."""
        if self._order[0] != epoch:
            key = np.random.SeedSequence([self.seed, epoch])
            order = np.random.Generator(np.random.Philox(key)).permutation(self.rows)
            self._order = epoch, order
        return self._order[1]

    def dataset(self, start: int, steps: int) -> tf.data.Dataset:
        """The batches of ``steps`` steps from ``start`` on."""
        import tensorflow as tf

        def batches() -> Iterator[dict[str, NDArray[Any]]]:
            for step in range(start, start + steps):
                yield self.batch_at(step)

        signature = {
            name: tf.TensorSpec((self.batch, *values.shape[1:]), values.dtype)
            for name, values in self.arrays.items()
        }
        return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(4)
