"""Jets from the files of others: JetNet HDF5 and CMS PFNano ROOT."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kerasgen.data.jets import CLASSES, FORM, build_jets
from kerasgen.data.layout import one_line, open_hdf5
from kerasgen.data.points import PointForm, PointSets, point_sets
from kerasgen.errors import InputError, nearest

# Class by the start of the name of a JetNet file: g.hdf5, g30.hdf5, t150.hdf5, ...
JETNET_CLASSES = {"g": "gluon", "q": "quark", "t": "top", "w": "w", "z": "z"}
JETNET_DATASETS = {"particle_features": (3, "[n, P, 4]"), "jet_features": (2, "[n, 4]")}
BLOCK = 10_000


def is_jetnet(path: Path) -> bool:
    """Whether an HDF5 file holds the datasets of JetNet."""
    with open_hdf5(path) as file:
        return set(JETNET_DATASETS) & set(file) != set()


def jetnet_sets(
    path: Path, name: str | None = None, most: int | None = None
) -> tuple[Iterator[PointSets], PointForm]:
    """Jets of a JetNet file (doi:10.5281/zenodo.6975117, 6975118).

    ``particle_features`` [n, P, 4] = eta_rel, phi_rel, pt_rel, mask; ``jet_features`` [n, >= 4] =
    pT in GeV, eta, mass in GeV, number of particles (a leading column with the class is passed
    over, as the first releases have it).

    Args:
        path: the file.
        name: class of the jets; None: by the first letter of the file's name.
        most: constituents to keep; None: all.

    Raises:
        InputError: unknown class, other datasets or columns, more constituents asked for than
            there are, a negative pT, or a jet without constituents.
    """
    if name is None and (known := re.fullmatch(r"([gqtwz])\d*", path.stem)):  # g30.hdf5, t.hdf5
        name = JETNET_CLASSES[known[1]]
    if name not in CLASSES:
        raise InputError(f"{path}: --class of its jets is {name!r}{nearest(str(name), CLASSES)}")
    with open_hdf5(path) as file:
        for dataset, (axes, form) in JETNET_DATASETS.items():
            found = file.get(dataset)
            if not isinstance(found, h5py.Dataset) or found.ndim != axes or found.shape[-1] < 4:
                raise InputError(f"{path}: expected {dataset} {form}")
        size = file["particle_features"].shape[1]
    if most is not None and most > size:
        raise InputError(f"{path}: has {size} constituents per jet, {most} were asked for")
    return jetnet_blocks(path, CLASSES.index(name), most or size), FORM


def jetnet_blocks(path: Path, label: int, most: int) -> Iterator[PointSets]:
    """Jets of a JetNet file, a block at a time."""
    with open_hdf5(path) as file:
        particles, jets = file["particle_features"], file["jet_features"]
        for start in range(0, len(particles), BLOCK):
            try:
                rows = particles[start : start + BLOCK].astype(np.float64)
                features = jets[start : start + BLOCK, -4:]
            except (OSError, RuntimeError) as e:
                raise InputError(f"{path}: truncated or corrupted ({one_line(e)})") from None
            count = (rows[..., 3] > 0.5).sum(axis=1)
            # Some files leave gaps where a particle was cut: highest pT first, padding last.
            key = np.where(rows[..., 3] > 0.5, -rows[..., 2], np.inf)
            order = np.argsort(key, axis=1, kind="stable")[:, :most]
            points = np.take_along_axis(rows[..., :3], order[..., None], axis=1)
            yield point_sets(points, np.minimum(count, most), np.full(len(rows), label), features)


# Collections of CMS PFNano: jets, their constituents' indices, and the constituents.
PFNANO = {
    "FatJet": ("FatJetPFCands", "PFCands"),
    "GenJetAK8": ("GenFatJetCands", "GenCands"),
    "Jet": ("JetPFCands", "PFCands"),
    "GenJet": ("GenJetCands", "GenCands"),
}


def is_pfnano(path: Path) -> bool:
    """Whether a ROOT file holds jets with constituents as PFNano writes them."""
    import uproot

    from kerasgen.data.root import guarded

    with guarded(path, uproot.open, path) as file:
        return "Events" in file and "FatJetPFCands_jetIdx" in guarded(path, file.get, "Events")


def pfnano_sets(
    path: Path, collection: str = "FatJet", most: int = 150
) -> tuple[Iterator[PointSets], PointForm]:
    """Jets of a CMS PFNano file with their constituents, all of one class, "unknown".

    Args:
        path: the file.
        collection: "FatJet" (anti-kT 0.8), "Jet" (0.4), "GenJetAK8" or "GenJet".
        most: constituents to keep.

    Raises:
        InputError: unknown collection, missing branches, or a jet without constituents.
    """
    if collection not in PFNANO:
        raise InputError(f"unknown collection of jets {collection!r}{nearest(collection, PFNANO)}")
    import uproot

    from kerasgen.data.root import guarded

    index, candidates = PFNANO[collection]
    with guarded(path, uproot.open, path) as file:
        tree = guarded(path, file.__getitem__, "Events")
        names = [f"{collection}_{x}" for x in ("pt", "eta", "phi", "mass")]
        names += [f"{candidates}_{x}" for x in ("pt", "eta", "phi")]
        names += [f"{index}_jetIdx", f"{index}_pFCandsIdx"]
        absent = [name for name in names if name not in tree]
        if absent:
            raise InputError(f"{path}: has no branch {absent[0]!r}")
        events = guarded(path, partial(tree.arrays, names, library="np"))
    axes, constituents = [], []
    for values in zip(*(events[name] for name in names), strict=True):
        jets, particles = np.stack(values[:4], -1), np.stack(values[4:7], -1)
        owner, place = values[7:]
        axes.append(jets)
        constituents += [particles[place[owner == k]] for k in range(len(jets))]
    table = np.concatenate(axes).astype(np.float64)
    momenta: list[Any] = [m.astype(np.float64) for m in constituents]
    label = np.zeros(len(table))
    form = replace(FORM, classes=("unknown",))
    return iter([build_jets(momenta, table, label, most, str(path))]), form
