"""Writer of ROOT files with the tree ``digits``.

``digits`` has one entry per event: ``event``, ``run`` (0) and the jagged branches ``sensor``
(the sensor's id, VxdID for Belle II), ``u`` (row), ``v`` (column), ``adu``, ``type``. The strings
``geometry`` (JSON), ``creator``, ``seed`` and ``pixel_mask`` (see ``mask_file``) beside it allow a
lossless conversion back. In a file whose name ends in ``.rntuple.root`` it is an RNTuple.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from tqdm import tqdm

from kerasgen.atomic import behind_links, write_atomic
from kerasgen.data.layout import MASK
from kerasgen.data.mask_file import mask_to_text
from kerasgen.data.root import TREE
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError

RNTUPLE = ".rntuple.root"  # how names of files end that hold an RNTuple, not a TTree


def write_root(file: EventFile, path: Path) -> None:
    """Write all events as the tree ``digits``; the file appears when complete.

    Raises:
        InputError: missing folder, or invalid values in ``file``.
    """
    folder = behind_links(path).parent
    if not folder.is_dir():
        raise InputError(f"{path}: the folder {folder} does not exist")

    def write(partial: Path) -> None:
        with uproot.recreate(partial) as out:
            out["geometry"] = file.geometry.to_json()
            out["creator"] = str(file.attributes.get("creator", ""))
            if isinstance(file.attributes.get("seed"), int):
                out["seed"] = str(file.attributes["seed"])
            if file.mask is not None:
                out[MASK] = mask_to_text(file.mask)
            _write_tree(file, out, path)

    write_atomic(path, write)


def _write_tree(file: EventFile, out: Any, path: Path) -> None:
    jagged = {"sensor": np.int32, "u": np.uint16, "v": np.uint16, "adu": np.uint16}
    jagged["type"] = np.uint8
    types = {name: f"var * {np.dtype(dtype)}" for name, dtype in jagged.items()}
    tree = new_tree(out, path, TREE, {"event": "int64", "run": "int32", **types}, "nhits")
    ids = np.array([sensor.id for sensor in file.geometry.sensors], np.int32)
    with tqdm(total=file.n_events, unit="event", disable=None) as bar:
        for hits in file.blocks():
            sensors = len(ids)
            counts = hits.counts.reshape(-1, sensors).sum(1)
            columns = {
                "sensor": ids[hits.sensor[hits.image]],
                "u": hits.row,
                "v": hits.col,
                "adu": hits.adu,
                "type": hits.type,
            }
            tree.extend(
                {
                    "event": hits.event[::sensors],
                    "run": np.zeros(len(counts), np.int32),
                    **{name: ak.unflatten(c, counts) for name, c in columns.items()},
                }
            )
            bar.update(len(counts))


def new_tree(file: Any, path: Path, name: str, types: dict[str, str], counter: str) -> Any:
    """Make an empty tree in an open file: a TTree, or an RNTuple if ``path`` ends in ``RNTUPLE``.

    Args:
        file: open for writing.
        path: the name that the file will have.
        name: of the tree.
        types: of its branches.
        counter: branch of a TTree with the lengths of the jagged ones.
    """
    if path.name.endswith(RNTUPLE):
        return file.mkrntuple(name, types)
    return file.mktree(name, types, counter_name=lambda _: counter)
