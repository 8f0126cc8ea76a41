"""Readers of jets: JetNet HDF5 and CMS PFNano ROOT."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kerasgen.data.jets import CLASSES, SCHEMA, build_jets
from kerasgen.data.layout import one_line, open_hdf5
from kerasgen.data.points import PointSchema, PointSets, build_point_sets
from kerasgen.errors import InputError, nearest

# Class by the first letter of a JetNet file name: g.hdf5, g30.hdf5, t150.hdf5, ...
JETNET_CLASSES = {"g": "gluon", "q": "quark", "t": "top", "w": "w", "z": "z"}
JETNET_DATASETS = {"particle_features": (3, "[n, P, 4]"), "jet_features": (2, "[n, 4]")}
BLOCK = 10_000  # jets per block


def is_jetnet(path: Path) -> bool:
    """Return whether an HDF5 file holds the datasets of JetNet."""
    with open_hdf5(path) as file:
        return set(JETNET_DATASETS) & set(file) != set()


def jetnet_sets(
    path: Path, name: str | None = None, most: int | None = None
) -> tuple[Iterator[PointSets], PointSchema]:
    """Read a JetNet file (doi:10.5281/zenodo.6975117, 6975118); return jets and their schema.

    ``particle_features`` [n, P, 4] = eta_rel, phi_rel, pt_rel, mask; ``jet_features`` [n, >= 4] =
    pT in GeV, eta, mass in GeV, number of particles. The first releases have a leading column with
    the class, which is skipped.

    Args:
        path: the file.
        name: class of the jets; None: by the first letter of the file's name.
        most: maximum number of constituents to keep; None: all.

    Raises:
        InputError: unknown class, other datasets or columns, ``most`` above the constituents of
            the file, a negative pT, or a jet without constituents.
    """
    if name is None and (known := re.fullmatch(r"([gqtwz])\d*", path.stem)):  # g30.hdf5, t.hdf5
        name = JETNET_CLASSES[known[1]]
    if name not in CLASSES:
        raise InputError(f"{path}: --class of its jets is {name!r}{nearest(str(name), CLASSES)}")
    with open_hdf5(path) as file:
        for dataset, (axes, shape) in JETNET_DATASETS.items():
            found = file.get(dataset)
            if not isinstance(found, h5py.Dataset) or found.ndim != axes or found.shape[-1] < 4:
                raise InputError(f"{path}: expected {dataset} {shape}")
        size = file["particle_features"].shape[1]
    if most is not None and most > size:
        raise InputError(f"{path}: has {size} constituents per jet, {most} were asked for")
    return read_jetnet_blocks(path, CLASSES.index(name), most or size), SCHEMA


def read_jetnet_blocks(path: Path, label: int, most: int) -> Iterator[PointSets]:
    """Read the jets of a JetNet file block by block."""
    with open_hdf5(path) as file:
        particles, jets = file["particle_features"], file["jet_features"]
        for start in range(0, len(particles), BLOCK):
            try:
                rows = particles[start : start + BLOCK].astype(np.float64)
                features = jets[start : start + BLOCK, -4:]
            except (OSError, RuntimeError) as e:
                raise InputError(f"{path}: truncated or corrupted ({one_line(e)})") from None
            count = (rows[..., 3] > 0.5).sum(axis=1)
            # Some files have gaps of removed particles: sort by pT, padding last.
            key = np.where(rows[..., 3] > 0.5, -rows[..., 2], np.inf)
            order = np.argsort(key, axis=1, kind="stable")[:, :most]
            points = np.take_along_axis(rows[..., :3], order[..., None], axis=1)
            yield build_point_sets(
                points, np.minimum(count, most), np.full(len(rows), label), features
            )


# CMS PFNano collections: jets: (indices of their constituents, constituents).
PFNANO = {
    "FatJet": ("FatJetPFCands", "PFCands"),
    "GenJetAK8": ("GenFatJetCands", "GenCands"),
    "Jet": ("JetPFCands", "PFCands"),
    "GenJet": ("GenJetCands", "GenCands"),
}


def is_pfnano(path: Path) -> bool:
    """Return whether a ROOT file holds PFNano jets with constituents."""
    import uproot

    from kerasgen.data.root import call_uproot

    with call_uproot(path, uproot.open, path) as file:
        return "Events" in file and "FatJetPFCands_jetIdx" in call_uproot(path, file.get, "Events")


def pfnano_sets(
    path: Path, collection: str = "FatJet", most: int = 150
) -> tuple[Iterator[PointSets], PointSchema]:
    """Read a CMS PFNano file; return jets, all of the class "unknown", and their schema.

    Args:
        path: the file.
        collection: "FatJet" (anti-kT 0.8), "Jet" (0.4), "GenJetAK8" or "GenJet".
        most: maximum number of constituents to keep.

    Raises:
        InputError: unknown collection, missing branches, or a jet without constituents.
    """
    if collection not in PFNANO:
        raise InputError(f"unknown collection of jets {collection!r}{nearest(collection, PFNANO)}")
    import uproot

    from kerasgen.data.root import call_uproot

    index, candidates = PFNANO[collection]
    with call_uproot(path, uproot.open, path) as file:
        tree = call_uproot(path, file.__getitem__, "Events")
        names = [f"{collection}_{x}" for x in ("pt", "eta", "phi", "mass")]
        names += [f"{candidates}_{x}" for x in ("pt", "eta", "phi")]
        names += [f"{index}_jetIdx", f"{index}_pFCandsIdx"]
        absent = [name for name in names if name not in tree]
        if absent:
            raise InputError(f"{path}: has no branch {absent[0]!r}")
        events = call_uproot(path, partial(tree.arrays, names, library="np"))
    axes, constituents = [], []
    for values in zip(*(events[name] for name in names), strict=True):
        jets, particles = np.stack(values[:4], -1), np.stack(values[4:7], -1)
        owner, place = values[7:]
        axes.append(jets)
        constituents += [particles[place[owner == k]] for k in range(len(jets))]
    table = np.concatenate(axes).astype(np.float64)
    momenta: list[Any] = [m.astype(np.float64) for m in constituents]
    label = np.zeros(len(table))
    schema = replace(SCHEMA, classes=("unknown",))
    return iter([build_jets(momenta, table, label, most, str(path))]), schema
