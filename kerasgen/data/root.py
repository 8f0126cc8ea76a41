"""ROOT files: reader of PXD digits of basf2, and of the tree ``digits`` of ``root_writing``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from kerasgen.data.geometry import (
    DEFAULT_GEOMETRY,
    Geometry,
    geometry_from_json,
    is_geometry,
    load_geometry,
)
from kerasgen.data.hits import Hits, from_lists
from kerasgen.data.layout import MASK
from kerasgen.data.mask_file import is_mask, mask_from_text
from kerasgen.data.pixel_mask import PixelMask
from kerasgen.data.source import FORMATS, Source, whole_numbers
from kerasgen.errors import InputError

TREE = "digits"
STEP_SIZE = "20 MB"  # decompressed branches in memory at a time
# Quantity: last part of the branch name.
DIGITS = {"sensor": "sensor", "row": "u", "col": "v", "adu": "adu"}
BASF2 = {
    "sensor": "PXDDigits.m_sensorID",
    "row": "PXDDigits.m_uCellID",
    "col": "PXDDigits.m_vCellID",
    "adu": "PXDDigits.m_charge",
}


@dataclass(frozen=True)
class _Tree:
    """TTree with the full branch name of each quantity."""

    path: Path
    tree: Any
    branches: dict[str, str]


def read_root(
    path: Path,
    geometry: Geometry | None = None,
    tree: str | None = None,
    drop_below_threshold: bool = False,
) -> Source:
    """Stream the events of a ROOT file: a ``digits`` tree, or PXDDigits of basf2.

    Events of basf2 are numbered by entry, because basf2 event numbers repeat in every run.

    Args:
        path: the ROOT file.
        geometry: detector; None: the geometry in the file, or ``belle2-pxd``.
        tree: name of the TTree; None: ``digits``, or the first with PXDDigits.
        drop_below_threshold: drop charges below the threshold instead of raising an error.

    Raises:
        InputError: not ROOT, missing tree or branch, conflicting geometries, no events; while
            reading: truncated, unknown sensor, or a value outside the geometry.
    """
    file = call_uproot(path, uproot.open, path)
    found = _find_tree(path, file, tree)
    n_events = int(found.tree.num_entries)
    if not n_events:
        raise InputError(f"{path}: empty, the tree {found.tree.name} has no events")
    own, creator, seed, mask = _read_strings(path, file)
    if own and geometry and own != geometry:
        raise InputError(
            f"{path}: its geometry {own.name} differs from the geometry {geometry.name} asked for"
        )
    chosen = own or geometry or load_geometry(DEFAULT_GEOMETRY)
    return Source(
        chosen,
        n_events,
        _read_blocks(found, chosen, drop_below_threshold),
        creator or f"ROOT tree {found.tree.name} of {path.name}",
        seed,
        mask,
    )


def read_event_numbers(path: Path, tree: str | None = None) -> NDArray[np.int64] | None:
    """Read experiment, run and event number of every entry, int64 [events, 3].

    The source is ``EventMetaData`` in basf2 files, and ``run`` and ``event`` with experiment 0 in
    the tree ``digits``.

    Returns:
        The numbers; None if experiment and run are missing or all 0, as in kerasgen files.

    Raises:
        InputError: as in ``read_root``.
    """
    found = _find_tree(path, call_uproot(path, uproot.open, path), tree)
    keys = call_uproot(path, found.tree.keys)
    wanted = ("experiment", "run", "event")
    if found.branches["sensor"].endswith(BASF2["sensor"]):
        patterns = [rf"EventMetaData\W(.*\W)?m_{name}" for name in wanted]
    else:
        patterns = list(wanted)
    numbers = np.zeros((int(found.tree.num_entries), 3), np.int64)
    for column, pattern in enumerate(patterns):
        for key in (k for k in keys if re.fullmatch(pattern, k)):
            numbers[:, column] = _one_per_event(path, call_uproot(path, found.tree[key].array), key)
    return numbers if numbers[:, :2].any() else None


def read_provenance(path: Path) -> tuple[str | None, int | None, NDArray[np.int64]]:
    """Read creator, seed and event numbers of a ROOT file written by ``write_root``.

    Raises:
        InputError: as in ``read_root``, or no event numbers.
    """
    file = call_uproot(path, uproot.open, path)
    tree = _find_tree(path, file, TREE).tree
    if "event" not in tree:
        raise InputError(f"{path}: no branch 'event', it was not written by kerasgen")
    _, creator, seed, _ = _read_strings(path, file)
    return creator, seed, _one_per_event(path, call_uproot(path, tree["event"].array), "event")


def call_uproot(path: Path, call: Any, *arguments: Any) -> Any:
    """Call uproot and turn its many exceptions on damaged files into InputError."""
    try:
        return call(*arguments)
    except Exception as e:
        reason = " ".join(str(e).split())[:160]
        raise InputError(
            f"{path}: not a ROOT file, truncated or corrupted ({type(e).__name__}: {reason})"
        ) from None


def keys_of_class(path: Path, file: Any, *classes: str) -> list[str]:
    """Keys of the objects of these classes in an open ROOT file, the newest of a name last."""
    keys = [key for key, found in call_uproot(path, file.classnames).items() if found in classes]
    return sorted(keys, key=lambda key: int(key.split(";")[-1]))


def list_trees(path: Path, file: Any) -> dict[str, str]:
    """Keys of the trees of an open ROOT file, RNTuples among them, by name."""
    keys = keys_of_class(path, file, "TTree", "TChain", "ROOT::RNTuple")
    return {key.split(";")[0]: key for key in keys}


def read_jagged(path: Path, block: Any, name: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Number of values of a branch in each event of a block, and all values.

    Raises:
        InputError: the branch is not a list of numbers per event.
    """
    column = block[name]
    try:
        counts, flat = ak.to_numpy(ak.num(column)), ak.to_numpy(ak.flatten(column))
        jagged = column.ndim == 2 and flat.ndim == 1 and flat.dtype.kind in "biuf"
    except (ValueError, TypeError):  # awkward, for records, strings and numbers of no list
        jagged = False
    if not jagged:
        raise InputError(
            f"{path}: {name} has the type {column.type.content}, expected a list of numbers per "
            "event"
        )
    return counts, flat


def _one_per_event(path: Path, column: Any, name: str) -> NDArray[np.int64]:
    """The whole number of each event.

    Raises:
        InputError: the branch is not one whole number per event.
    """
    if column.ndim != 1 or not isinstance(column.type.content, ak.types.NumpyType):
        raise InputError(
            f"{path}: {name} has the type {column.type.content}, expected one number per event"
        )
    return whole_numbers(ak.to_numpy(column), name, str(path))


def _read_strings(
    path: Path, file: Any
) -> tuple[Geometry | None, str | None, int | None, PixelMask | None]:
    """Geometry, creator, seed and mask of a file written by ``write_root``; else None.

    Keys of other programs may have the same names: a file without a geometry of ours has none of
    the others.
    """
    found: dict[str, str] = {}
    ours: dict[str, Callable[[str], bool]] = {
        "geometry": is_geometry,
        "creator": bool,
        "seed": is_seed,
        MASK: is_mask,
    }
    for key in keys_of_class(path, file, "TObjString"):
        name = key.split(";")[0]
        if name in ours and ours[name](text := str(call_uproot(path, file.get, key))):
            found[name] = text
    if "geometry" not in found:
        return None, None, None, None
    seed = int(found["seed"]) if "seed" in found else None
    geometry = geometry_from_json(found["geometry"], str(path))
    mask = mask_from_text(found[MASK], geometry, str(path)) if MASK in found else None
    return geometry, found.get("creator"), seed, mask


def is_seed(text: str) -> bool:
    """Return whether a text is a whole number of 64 bits."""
    return bool(re.fullmatch(r"-?\d{1,20}", text, re.ASCII)) and -(2**63) <= int(text) < 2**64


def _find_tree(path: Path, file: Any, name: str | None) -> _Tree:
    trees = list_trees(path, file)
    listed = ", ".join(sorted(trees)) or "none"
    if name is not None and name not in trees:
        raise InputError(f"{path}: no tree {name!r}, there are: {listed}")
    for candidate in [name] if name is not None else sorted(trees):
        tree = call_uproot(path, file.__getitem__, trees[candidate])
        keys = {key.split("/")[-1]: key for key in call_uproot(path, tree.keys)}
        for names in (DIGITS, BASF2):
            if set(names.values()) <= set(keys):
                branches = {ours: keys[theirs] for ours, theirs in names.items()}
                if names is DIGITS:
                    branches |= {b: keys[b] for b in ("event", "type") if b in keys}
                return _Tree(path, tree, branches)
    raise InputError(
        f"{path}: no tree with the branches {', '.join(DIGITS.values())} or "
        f"{', '.join(BASF2.values())}, nor with constituents of jets (trees: {name or listed}); "
        f"{FORMATS}"
    )


def _read_blocks(source: _Tree, geometry: Geometry, drop_below_threshold: bool) -> Iterator[Hits]:
    blocks = source.tree.iterate(list(source.branches.values()), step_size=STEP_SIZE, library="ak")
    first = 0
    while (block := call_uproot(source.path, next, blocks, None)) is not None:
        yield _block_to_hits(source, block, first, geometry, drop_below_threshold)
        first += len(block)


def _block_to_hits(
    source: _Tree, block: Any, first: int, geometry: Geometry, drop_below_threshold: bool
) -> Hits:
    origin = str(source.path)
    n = len(block)
    events = np.arange(first, first + n)
    if "event" in source.branches:
        events = _one_per_event(source.path, block[source.branches["event"]], "event")
    lists = {
        ours: read_jagged(source.path, block, theirs)
        for ours, theirs in source.branches.items()
        if ours != "event"
    }
    counts = {name: count for name, (count, _) in lists.items()}
    for name, count in counts.items():
        differs = count != counts["sensor"]
        if differs.any():
            i = int(np.argmax(differs))
            raise InputError(
                f"{origin}: event {events[i]}: {count[i]} values of {source.branches[name]} and "
                f"{counts['sensor'][i]} of {source.branches['sensor']}"
            )
    flat = {
        name: whole_numbers(values, source.branches[name], origin)
        for name, (_, values) in lists.items()
    }
    position = np.repeat(np.arange(n), counts["sensor"])
    sensor = _sensor_index(flat.pop("sensor"), events[position], geometry, origin)
    flat.setdefault("type", np.zeros(len(sensor), np.int64))
    return from_lists(events, position, sensor, flat, geometry, origin, drop_below_threshold)


def _sensor_index(
    ids: NDArray[np.int64], event: NDArray[np.int64], geometry: Geometry, origin: str
) -> NDArray[np.int64]:
    known = np.array(list(geometry.index_of_id))
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known[order], ids), len(known) - 1)]
    unknown = known[place] != ids
    if unknown.any():
        i = int(np.argmax(unknown))
        raise InputError(
            f"{origin}: event {event[i]}: unknown sensor id {ids[i]}, "
            f"allowed: the {len(known)} ids of geometry {geometry.name}"
        )
    return place
