"""Reader of JetNet HDF5 files of jets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from kerasgen.data.jets import CLASSES, SCHEMA, check_finite, check_jets
from kerasgen.data.layout import one_line, open_hdf5
from kerasgen.data.points import PointSchema, PointSets, build_point_sets
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
    """Read a JetNet file (doi:10.5281/zenodo.6975117, 6975118); return jets and their schema.

    A jet without particles has no points.

    ``particle_features`` [n, P, 4] = eta_rel, phi_rel, pt_rel, mask; ``jet_features`` [n, >= 4] =
    pT in GeV, eta, mass in GeV, number of particles. The first releases have a leading column with
    the class, which is skipped.

    Args:
        path: the file.
        name: class of the jets; None: by the first letter of the file's name.
        most: maximum number of constituents to keep; None: all.

    Raises:
        InputError: unknown class, other datasets or columns, numbers of jets that differ, or
            ``most`` above the constituents of the file; while reading: a number of a jet or of a
            real particle that is not finite, a negative pT, or absolute pT.
    """
    if name is None and (known := re.fullmatch(r"([gqtwz])\d*", path.stem)):  # g30.hdf5, t.hdf5
        name = JETNET_CLASSES[known[1]]
    if name not in CLASSES:
        raise InputError(f"{path}: --class of its jets is {name!r}{nearest(str(name), CLASSES)}")
    with open_hdf5(path) as file:
        size = _check_datasets(file, path)
    if most is not None and most > size:
        raise InputError(f"{path}: has {size} constituents per jet, {most} were asked for")
    return read_jetnet_blocks(path, CLASSES.index(name), most or size), SCHEMA


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


def read_jetnet_blocks(path: Path, label: int, most: int) -> Iterator[PointSets]:
    """Read the jets of a JetNet file block by block."""
    with open_hdf5(path) as file:
        particles, jets = file["particle_features"], file["jet_features"]
        for start in range(0, len(particles), BLOCK):
            try:
                rows = particles[start : start + BLOCK, :, :4].astype(np.float64)
                features = jets[start : start + BLOCK, -4:].astype(np.float64)
            except (OSError, RuntimeError) as e:
                raise InputError(f"{path}: truncated or corrupted ({one_line(e)})") from None
            _check_numbers(rows, features, start, str(path))
            sets = _block_to_jets(rows, features, label, most)
            check_jets(sets, SCHEMA, str(path))
            yield sets


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
