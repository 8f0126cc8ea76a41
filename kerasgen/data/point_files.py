"""Streams of point sets to files that appear when they are complete: HDF5, ROOT, NPZ."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.atomic import write_atomic
from kerasgen.data.point_store import write_points
from kerasgen.data.points import TYPES, PointSchema, PointSets, concatenate


def write_sets(
    blocks: Iterable[PointSets], out: Path, schema: PointSchema, creator: str, seed: int
) -> None:
    """Write blocks of sets.

    Args:
        blocks: sets, a few at a time.
        out: ends in ``.h5``, ``.root`` (a TTree ``sets`` with a jagged branch per coordinate;
            ``.rntuple.root``: an RNTuple) or ``.npz`` (the datasets of the HDF5 layout).
        schema: schema of the sets.
        creator, seed: for the record.
    """
    if out.suffix == ".h5":
        write_points(out, schema, blocks, creator, seed)
        return
    sets = concatenate(blocks)
    if out.suffix == ".npz":
        arrays: dict[str, Any] = {name: getattr(sets, name) for name in TYPES}
        write_atomic(out, lambda partial: np.savez_compressed(partial, **arrays))
    else:
        write_atomic(out, lambda partial: write_tree(partial, out, sets, schema))


def write_tree(partial: Path, out: Path, sets: PointSets, schema: PointSchema) -> None:
    """One entry per set; the coordinates of its points are jagged branches."""
    import awkward as ak
    import uproot

    from kerasgen.data.root_writing import new_tree

    branches: dict[str, Any] = {"label": sets.label}
    for k, name in enumerate(schema.coordinates):
        branches[name] = ak.unflatten(sets.points[..., k][sets.mask], sets.counts)
    with uproot.recreate(partial) as file:
        types = {"label": "uint8"} | dict.fromkeys(schema.coordinates, "var * float32")
        new_tree(file, out, "sets", types, "npoints").extend(branches)
