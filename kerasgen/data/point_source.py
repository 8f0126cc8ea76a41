"""The point sets of a run: made once and kept in the cache, or a file of the user's."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from kerasgen.atomic import make_folder
from kerasgen.config import MAX_INT, Count, Length, Range
from kerasgen.data.cache import cache_folder, writable_cache
from kerasgen.data.jet_files import JETNET_DATASETS, JetNetFile, is_jetnet
from kerasgen.data.jets import SCHEMA as JET_SCHEMA
from kerasgen.data.jets import check_jets
from kerasgen.data.layout import read_kind
from kerasgen.data.point_store import KIND, PointFile, write_points
from kerasgen.data.points import PointSets, choose_classes, concatenate
from kerasgen.errors import InputError, nearest

BUILT_IN = ("digits", "mnist")
JETS = "simulate:jets"
WINDOW = 200_000  # training sets in memory: 0.4 GB at 150 points
SAMPLE = 1000  # jets whose coordinates are checked before a training
READ = 10_000  # rows of a file that are read and checked at a time
SetFile = PointFile | JetNetFile
PACKAGES = {"digits": "sklearn", "mnist": "skimage"}
# What to cite for the events of a source: Pythia, FastJet and anti-kT, in the form of JetNet; the
# images, and their superpixels.
PAPERS = {
    JETS: ("bierlich2022", "cacciari2011", "cacciari2008", "kansal2021"),
    "digits": ("alpaydin1998",),
    "mnist": ("lecun1998", "achanta2012", "monti2016"),
}


@dataclass(frozen=True)
class PointDataSettings:
    """Where the point sets come from.

    Attributes:
        source: "simulate:jets", "digits" (included in scikit-learn), "mnist" (downloads) or the
            path of an HDF5 file of point sets, of kerasgen or JetNet.
        classes: names of the classes to use; empty: all of the source (of simulated jets: gluon).
        points: P, most points of a set; 0: as many as the source has.
        coordinates: of jets: "relative", "polar" or "cartesian"; of superpixels no choice.
        log_intensity: standardise the intensity on a log scale.
        events: sets to simulate; of a file, sets to use, 0 for all.
        held_out: sets drawn at random that training never sees; the metrics are computed on them.
        seed: of the simulation.
    """

    source: str = "simulate:jets"
    classes: Annotated[list[str], Length(unique=True)] = field(default_factory=list)
    points: Count = 0
    coordinates: Literal["relative", "polar", "cartesian"] = "relative"
    log_intensity: bool = False
    events: Count = 0
    held_out: Annotated[int, Range(100, MAX_INT)] = 1000
    seed: Count = 1


def point_path(data: PointDataSettings) -> Path:
    """The file of a data source; of what is built in the one in the cache, once it is made.

    Raises:
        InputError: unknown source.
    """
    if data.source == JETS:
        from kerasgen.data.jet_simulation import SAMPLE_VERSION

        name = "-".join(jet_classes(data))
        size = data.points or 30
        return cache_folder() / f"jets-{SAMPLE_VERSION}-{name}-{size}-{data.seed}-{data.events}.h5"
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


def holds_point_sets(path: str | Path) -> bool:
    """Return whether an HDF5 file, of kerasgen or JetNet, holds point sets."""
    try:
        with h5py.File(path) as file:
            return read_kind(file) == KIND or not JETNET_DATASETS.keys().isdisjoint(file)
    except (OSError, RuntimeError):
        return False


def open_sets(path: str | Path) -> SetFile:
    """Open an HDF5 file of point sets.

    Raises:
        InputError: missing, truncated, or neither a kerasgen file of point sets nor JetNet's.
    """
    path = Path(path)
    return JetNetFile(path) if path.is_file() and is_jetnet(path) else PointFile(path)


def point_file(data: PointDataSettings) -> SetFile:
    """The open file of a data source, which is made at first use.

    Raises:
        InputError: unknown source, a package that is missing, or a file that cannot be used.
        RunFailure: the cache cannot be written.
    """
    path = point_path(data)
    if not path.exists() and (data.source == JETS or data.source in BUILT_IN):
        with writable_cache():
            make_folder(path.parent)
            print(f"Preparing {data.source} in {path}", flush=True)
            make_file(data, path)
    return open_sets(path)


def check_source(data: PointDataSettings) -> None:
    """Raise InputError for a file that is not there, or sets that cannot be made here."""
    if data.source == JETS:
        from kerasgen.data.jet_simulation import check_jet_request

        check_jet_request(jet_classes(data), data.points or 30)
    elif data.source in BUILT_IN:
        from kerasgen.data.superpixels import SCHEMA

        if find_spec(PACKAGES[data.source]) is None:
            raise InputError(
                f"{data.source!r} needs {PACKAGES[data.source]}: "
                "pip install 'kerasgen[superpixels]'"
            )
        choose_classes(data.classes, SCHEMA, data.source)
    else:
        raise InputError(f"{data.source}: no such file")


def make_file(data: PointDataSettings, path: Path) -> None:
    """Simulate jets, or cut images into superpixels.

    Raises:
        InputError: as ``check_source``.
    """
    check_source(data)
    if data.source == JETS:
        from kerasgen.data.simulators import write_jets

        processes = os.cpu_count() or 1
        size = data.points or 30
        write_jets(path, jet_classes(data), data.events, size, data.seed, processes)
        return
    from kerasgen.data.superpixels import built_in_digits, mnist_sets

    blocks, form = built_in_digits() if data.source == "digits" else mnist_sets()
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


def divide(file: SetFile, data: PointDataSettings) -> Division:
    """Training and held-out sets, of the classes and with the points that the recipe names.

    Raises:
        InputError: jets with absolute pT, unknown class, more points than the file has, or too
            few sets.
    """
    labels = choose_classes(data.classes, file.schema, str(file.path))
    size = data.points or file.size
    if size > file.size:
        raise InputError(f"{file.path}: has {file.size} points per set, data.points = {size}")
    if file.schema.name == JET_SCHEMA.name:
        check_jets(file.read(0, min(SAMPLE, len(file))), file.schema, str(file.path))
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


def read_rows(file: SetFile, rows: NDArray[np.int64], size: int) -> PointSets:
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


def read_sets(file: SetFile, data: PointDataSettings) -> tuple[PointSets, PointSets]:
    """Training sets, at most ``WINDOW`` of them, and all held-out sets; errors as ``divide``."""
    division = divide(file, data)
    training = read_rows(file, division.training[:WINDOW], division.size)
    return training, read_rows(file, division.held_out, division.size)
