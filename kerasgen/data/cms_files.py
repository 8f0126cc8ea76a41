"""Reader of jets with constituents in CMS ROOT files: PFNano, and NanoAOD from version 15 on.

The tree ``Events`` holds jets (as ``FatJet_pt``), candidates (as ``PFCands_pt``) and, for every
constituent of a jet, an index of its jet (as ``FatJetPFCands_jetIdx``) and one of its candidate
(as ``FatJetPFCands_pFCandsIdx``).

The pT of a jet has jet energy corrections and the pT of its constituents has not, so the sum of
relative pT of a jet is not 1. PFNano stores the PUPPI weight of each candidate beside its pT;
NanoAOD v15 multiplies pT by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uproot
from numpy.typing import NDArray

from kerasgen.data.jets import SCHEMA, flat_jets
from kerasgen.data.points import PointSchema, PointSets
from kerasgen.data.root import STEP_SIZE, call_uproot, list_trees, read_jagged
from kerasgen.data.source import whole_numbers
from kerasgen.errors import InputError, nearest

TREE = "Events"
MOST = 150  # constituents of a jet that are kept
JET_COLUMNS = ("pt", "eta", "phi", "mass")
CANDIDATE_COLUMNS = ("pt", "eta", "phi")


class Table(NamedTuple):
    """Names of a table of constituents: prefix, its candidates, its index of a candidate."""

    prefix: str
    candidates: str
    place: str


# Jet collection: its table of constituents in PFNano and in NanoAOD v15 (PhysicsTools/NanoAOD,
# jetConstituents_cff.py, where all but that of FatJet are options).
TABLES = {
    "FatJet": (
        Table("FatJetPFCands", "PFCands", "pFCandsIdx"),
        Table("FatJetPFCand", "PFCand", "pfCandIdx"),
    ),
    "Jet": (
        Table("JetPFCands", "PFCands", "pFCandsIdx"),
        Table("JetPFCand", "PFCand", "pfCandIdx"),
    ),
    "GenJetAK8": (
        Table("GenFatJetCands", "GenCands", "pFCandsIdx"),
        Table("GenJetAK8GenPartCand", "GenPartCand", "genPartCandIdx"),
    ),
    "GenJet": (
        Table("GenJetCands", "GenCands", "pFCandsIdx"),
        Table("GenJetGenPartCand", "GenPartCand", "genPartCandIdx"),
    ),
}


@dataclass(frozen=True)
class _Branches:
    """Branches of a jet collection: of jets, of candidates, of constituents; PUPPI weights."""

    jets: list[str]
    candidates: list[str]
    owner: str
    place: str
    weight: str | None

    def names(self) -> list[str]:
        weight = [self.weight] if self.weight else []
        return [*self.jets, *self.candidates, *weight, self.owner, self.place]


def is_pfnano(path: Path) -> bool:
    """Return whether a ROOT file holds a CMS tree of events with constituents of jets."""
    with call_uproot(path, uproot.open, path) as file:
        trees = list_trees(path, file)
        if TREE not in trees:
            return False
        return bool(_collections(call_uproot(path, call_uproot(path, file.get, trees[TREE]).keys)))


def _collections(branches: list[str]) -> dict[str, Table]:
    """Jet collections whose constituents are among the branches."""
    return {
        collection: table
        for collection, tables in TABLES.items()
        for table in tables
        if f"{table.prefix}_jetIdx" in branches
    }


def pfnano_sets(
    path: Path, collection: str = "FatJet", most: int = MOST, puppi: bool = False
) -> tuple[Iterator[PointSets], PointSchema]:
    """Stream the jets of a CMS file; return jets, all of the class "unknown", and their schema.

    Args:
        path: the file.
        collection: "FatJet" (anti-kT 0.8), "Jet" (0.4), "GenJetAK8" or "GenJet".
        most: maximum number of constituents to keep.
        puppi: multiply the pT of constituents by their PUPPI weights; constituents of weight 0 are
            left out.

    Returns:
        Blocks of jets, in which a jet without constituents has no points, and the schema.

    Raises:
        InputError: unknown collection, or missing branches; while reading: numbers of values that
            differ, an index of no jet or no candidate, a number that is not finite, a negative pT.
    """
    if collection not in TABLES:
        raise InputError(f"unknown collection of jets {collection!r}{nearest(collection, TABLES)}")
    file = call_uproot(path, uproot.open, path)
    tree = call_uproot(path, file.get, list_trees(path, file)[TREE])
    branches = _find_branches(path, tree, collection, puppi)
    return _read_blocks(path, tree, branches, most), replace(SCHEMA, classes=("unknown",))


def _find_branches(path: Path, tree: Any, collection: str, puppi: bool) -> _Branches:
    keys = call_uproot(path, tree.keys)
    found = _collections(keys)
    if collection not in found:
        raise InputError(
            f"{path}: has no constituents of {collection}; --collection: {', '.join(found)}"
        )
    table = found[collection]
    branches = _Branches(
        [f"{collection}_{name}" for name in JET_COLUMNS],
        [f"{table.candidates}_{name}" for name in CANDIDATE_COLUMNS],
        f"{table.prefix}_jetIdx",
        f"{table.prefix}_{table.place}",
        f"{table.candidates}_puppiWeight" if puppi else None,
    )
    weighted = branches.candidates[0]
    if puppi and weighted in keys and "puppi-weighted" in str(tree[weighted].title).lower():
        raise InputError(f"{path}: {weighted} has the PUPPI weights already, without --weights")
    absent = [name for name in branches.names() if name not in keys]
    if absent:
        need = ", which --weights puppi needs" if absent == [branches.weight] else ""
        raise InputError(f"{path}: has no branch {absent[0]!r}{need}")
    return branches


def _read_blocks(path: Path, tree: Any, branches: _Branches, most: int) -> Iterator[PointSets]:
    blocks = tree.iterate(branches.names(), step_size=STEP_SIZE, library="ak")
    event = jet = 0
    while (block := call_uproot(path, next, blocks, None)) is not None:
        sets = _block_to_jets(path, block, branches, most, event, jet)
        event += len(block)
        jet += len(sets)
        yield sets


def _block_to_jets(
    path: Path, block: Any, branches: _Branches, most: int, event: int, jet: int
) -> PointSets:
    """Jets of a block whose first event and jet have these numbers in the file."""
    columns = {name: read_jagged(path, block, name) for name in branches.names()}
    candidates = [*branches.candidates, *([branches.weight] if branches.weight else [])]
    for group in (branches.jets, candidates, [branches.owner, branches.place]):
        _check_counts({name: columns[name][0] for name in group}, event, path)
    jets, particles = (
        np.stack([columns[name][1].astype(np.float64) for name in group], -1)
        for group in (branches.jets, candidates)
    )
    if branches.weight:
        particles[:, 0] *= particles[:, 3]
    owner, place = (
        _checked_index(columns, name, into, event, path)
        for name, into in ((branches.owner, branches.jets[0]), (branches.place, candidates[0]))
    )
    if branches.weight:
        used = particles[place, 3] != 0
        owner, place = owner[used], place[used]
    return flat_jets(particles[place, :3], owner, jets, np.zeros(len(jets)), most, str(path), jet)


def _check_counts(counts: dict[str, NDArray[np.int64]], event: int, path: Path) -> None:
    """Raise InputError unless all branches have as many values in each event."""
    (first, expected), *rest = counts.items()
    for name, count in rest:
        differs = count != expected
        if differs.any():
            i = int(np.argmax(differs))
            raise InputError(
                f"{path}: event {event + i}: {count[i]} values of {name} and {expected[i]} of "
                f"{first}"
            )


def _checked_index(
    columns: dict[str, tuple[NDArray[np.int64], NDArray[Any]]],
    name: str,
    into: str,
    event: int,
    path: Path,
) -> NDArray[np.int64]:
    """Index into the flat values of another branch, from the index in each event.

    Raises:
        InputError: the index of no value.
    """
    counts, values = columns[name]
    index, sizes = whole_numbers(values, name, str(path)), columns[into][0]
    entry = np.repeat(np.arange(len(counts)), counts)
    bad = (index < 0) | (index >= sizes[entry])
    if bad.any():
        k = int(np.argmax(bad))
        size, what = sizes[entry[k]], into.split("_")[0]
        allowed = f"allowed: 0..{size - 1}" if size else "there are none"
        raise InputError(
            f"{path}: event {event + entry[k]}: {name} is {index[k]}, of {size} {what} ({allowed})"
        )
    return (np.cumsum(sizes) - sizes)[entry] + index
