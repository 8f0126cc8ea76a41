"""Reader of JetNet HDF5 files of jets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import h5py
import numpy as np
from numpy.typing import NDArray

from kerasgen.data.jets import CLASSES, SCHEMA, check_finite, check_jets
from kerasgen.data.layout import one_line, open_hdf5
from kerasgen.data.points import PointSchema, PointSets, build_point_sets, concatenate
from kerasgen.errors import InputError, nearest

# Class by the first letter of a JetNet file name: g.hdf5, g30.hdf5, t150.hdf5, ...
JETNET_CLASSES = {"g": "gluon", "q": "quark", "t": "top", "w": "w", "z": "z"}
JETNET_DATASETS = {"particle_features": (3, "[n, P, 4]"), "jet_features": (2, "[n, 4]")}
COLUMNS = ("eta_rel", "phi_rel", "pt_rel", "mask")
BLOCK = 10_000  # jets per block


def is_jetnet(path: Path) -> bool:
    """Return whether an HDF5 file holds a dataset of JetNet."""
    with open_hdf5(path) as file:
        try:
            return not set(JETNET_DATASETS).isdisjoint(file)
        except (OSError, RuntimeError) as e:
            raise InputError(f"{path}: truncated or corrupted ({one_line(e)})") from None


def jetnet_sets(
    path: Path, name: str | None = None, most: int | None = None
) -> tuple[Iterator[PointSets], PointSchema]:
    """Read a JetNet file for conversion; return jets, some without points, and their schema.

    Args:
        path: the file.
        name: class of the jets; None: by the first letter of the file's name.
        most: maximum number of constituents to keep; None: all.

    Raises:
        InputError: unknown class, other datasets or columns, numbers of jets that differ, or
            ``most`` above the constituents of the file; while reading: as ``JetNetFile.read``, or
            absolute pT.
    """
    name = name or class_of_name(path)
    if name not in CLASSES:
        raise InputError(f"{path}: --class of its jets is {name!r}{nearest(str(name), CLASSES)}")
    with JetNetFile(path) as file:
        size = file.size
    if most is not None and most > size:
        raise InputError(f"{path}: has {size} constituents per jet, {most} were asked for")
    return read_jetnet_blocks(path, CLASSES.index(name), most or size), SCHEMA


def class_of_name(path: Path) -> str | None:
    """Class of the jets by the name of a file (g30.hdf5, t.hdf5); None if it says nothing."""
    known = re.fullmatch(r"([gqtwz])\d*", path.stem)
    return JETNET_CLASSES[known[1]] if known else None


def read_jetnet_blocks(path: Path, label: int, most: int) -> Iterator[PointSets]:
    """Read the jets of a JetNet file block by block."""
    with JetNetFile(path) as file:
        for start in range(0, len(file), BLOCK):
            sets = file.jets(start, start + BLOCK, most)
            check_jets(sets, SCHEMA, str(path))
            yield replace(sets, label=np.full_like(sets.label, label))


class JetNetFile:
    """Reader of a JetNet file as it is (doi:10.5281/zenodo.6975117, 6975118), like ``PointFile``.

    ``particle_features`` [n, P, 4] = eta_rel, phi_rel, pt_rel, mask; ``jet_features`` [n, >= 4] =
    pT in GeV, eta, mass in GeV, number of particles. The first releases have a leading column with
    the class, which is skipped. pt_rel is the pT of a particle over that of its jet and is not
    normalised again: the sum over the particles of a file of 30 is below 1.

    Args:
        path: the file.

    Attributes:
        path: as given.
        schema: of jets; the only class is "unknown" if the file's name says nothing.
        size: P, the maximum number of particles of a jet.

    Raises:
        InputError: missing, not HDF5, truncated, or other datasets or columns.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        name = class_of_name(self.path)
        self.schema = SCHEMA if name else replace(SCHEMA, classes=("unknown",))
        self._label = CLASSES.index(name) if name else 0
        self._file = open_hdf5(self.path)
        try:
            self.size = _check_datasets(self._file, self.path)
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._file["jet_features"])

    def labels(self) -> NDArray[np.uint8]:
        """Class index of every jet, uint8 [n]."""
        return np.full(len(self), self._label, np.uint8)

    def read(self, start: int, stop: int) -> PointSets:
        """Read the jets ``start`` to ``stop - 1``.

        Raises:
            InputError: unreadable, a number of a jet or of a real particle that is not finite, a
                negative pT, or a jet without particles.
        """
        # In blocks: checks take several times the memory of the jets.
        starts = range(start, min(stop, len(self)), BLOCK) or (start,)
        sets = concatenate(self.jets(k, min(k + BLOCK, stop), self.size) for k in starts)
        empty = ~sets.mask.any(axis=1)
        if empty.any():
            raise InputError(
                f"{self.path}: jet {start + int(np.argmax(empty))} has no particles; "
                "kerasgen convert leaves such jets out"
            )
        return sets

    def jets(self, start: int, stop: int, most: int) -> PointSets:
        """``read`` at most ``most`` particles of each jet; a jet may have none."""
        try:
            rows = self._file["particle_features"][start:stop, :, :4].astype(np.float64)
            features = self._file["jet_features"][start:stop, -4:].astype(np.float64)
        except (OSError, RuntimeError) as e:
            raise InputError(f"{self.path}: truncated or corrupted ({one_line(e)})") from None
        _check_numbers(rows, features, start, str(self.path))
        return _block_to_jets(rows, features, self._label, most)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _check_datasets(file: h5py.File, path: Path) -> int:
    """Check types and shapes of the datasets; return the number of constituents per jet."""
    shapes = {}
    for dataset, (axes, shape) in JETNET_DATASETS.items():
        try:
            found = file.get(dataset)
        except (OSError, RuntimeError, KeyError) as e:
            raise InputError(f"{path}: {dataset} is corrupted ({one_line(e)})") from None
        if (
            not isinstance(found, h5py.Dataset)
            or found.ndim != axes
            or found.shape[-1] < 4
            or found.dtype.kind not in "biuf"
        ):
            raise InputError(f"{path}: expected {dataset} {shape}, numbers")
        shapes[dataset] = found.shape
    particles, jets = shapes["particle_features"], shapes["jet_features"]
    if particles[0] != jets[0]:
        raise InputError(
            f"{path}: particle_features are of {particles[0]} jets and jet_features of {jets[0]}"
        )
    return particles[1]


def _check_numbers(
    rows: NDArray[np.float64], features: NDArray[np.float64], start: int, origin: str
) -> None:
    """Raise InputError unless all numbers of jets and of real particles are finite in float32."""

    def particle(k: int) -> str:
        return f"jet {start + jet[k]}, particle {index[k]}"

    with np.errstate(over="ignore"):
        values, jets = rows.astype(np.float32), features.astype(np.float32)
    jet, index = np.indices(rows.shape[:2]).reshape(2, -1)
    check_finite(values[..., 3:].reshape(-1, 1), COLUMNS[3:], particle, origin)
    real = rows[..., 3] > 0.5
    jet, index = np.nonzero(real)
    check_finite(values[real], COLUMNS, particle, origin)
    negative = values[real][:, 2] < 0
    if negative.any():
        k = int(np.argmax(negative))
        raise InputError(f"{origin}: {particle(k)} has a negative pt_rel, {values[real][k, 2]}")
    check_finite(jets, SCHEMA.features, lambda row: f"jet {start + row}", origin)


def _block_to_jets(
    rows: NDArray[np.float64], features: NDArray[np.float64], label: int, most: int
) -> PointSets:
    real = rows[..., 3] > 0.5
    # Some files have gaps of removed particles: sort by pT, padding last.
    order = np.argsort(np.where(real, -rows[..., 2], np.inf), axis=1, kind="stable")[:, :most]
    points = np.take_along_axis(rows[..., :3], order[..., None], axis=1)
    count = np.minimum(real.sum(axis=1), most)
    return build_point_sets(points, count, np.full(len(rows), label), features)
