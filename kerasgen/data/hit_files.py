"""Streams of pixel hits to files that appear when they are complete: HDF5, ROOT, NPZ."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kerasgen.atomic import behind_links, partial_name, refused_writes, write_atomic
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.layout import HIT_TYPES, MASK
from kerasgen.data.mask_file import mask_to_text
from kerasgen.data.pixel_mask import PixelMask
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError


def write_stream(
    stream: Iterator[Hits],
    out: Path,
    events: int,
    geometry: Geometry,
    creator: str,
    seed: int,
    mask: PixelMask | None = None,
) -> int:
    """Write blocks of events, with a bar for all ``events``; the number of hits.

    ``mask``: of the events, stored with them.

    Raises:
        InputError: the folder of ``out`` does not exist, or there are no events.
        OSError: ``out`` cannot be written.
    """
    target = behind_links(out)
    store = out if out.suffix == ".h5" else partial_name(target.with_name(f"{target.name}.h5"))
    hits = 0
    try:
        with (
            refused_writes(out),
            EventWriter(store, geometry, creator, seed, mask=mask) as writer,
            tqdm(total=events, desc=out.name, unit=" events", disable=None) as bar,
        ):
            for block in stream:
                writer.write(block)
                hits += len(block.adu)
                bar.update(len(block) // len(geometry.sensors))
        with refused_writes(out):
            write_variant(store, out)
    finally:
        if store != out:
            store.unlink(missing_ok=True)
    return hits


def write_variant(store: Path, out: Path) -> None:
    """Write the events of a kerasgen HDF5 file in the format of ``out``."""
    if out.suffix == ".h5":
        return
    with EventFile(store) as file:
        if out.suffix == ".npz":
            write_hit_list(file, out)
        else:
            from kerasgen.data.root_writing import write_root

            write_root(file, out)


def write_hit_list(file: EventFile, out: Path) -> None:
    """The NPZ columns of ``kerasgen.data.hit_lists``, streamed, whatever the number of events."""
    types = {"event": np.int64, "sensor": np.uint16} | HIT_TYPES

    def write(partial: Path) -> None:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("events.npy", "w") as member:
                np.lib.format.write_array(member, file.events)
            if file.mask is not None:
                with archive.open(f"{MASK}.npy", "w") as member:
                    text = np.frombuffer(mask_to_text(file.mask).encode(), np.uint8)
                    np.lib.format.write_array(member, text)
            for name, dtype in types.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    header = {
                        "descr": np.dtype(dtype).str,
                        "fortran_order": False,
                        "shape": (file.n_hits,),
                    }
                    np.lib.format.write_array_header_1_0(member, header)
                    for hits in file.blocks():
                        values = getattr(hits, name)
                        if name in ("event", "sensor"):
                            values = values[hits.image]
                        member.write(values.astype(dtype).tobytes())

    write_atomic(out, write)


def holds_job(out: Path, numbers: range, seed: int, creator: str) -> bool:
    """Whether a job has been done: its file is there, which happens at its end only.

    Raises:
        InputError: the file is there and holds something else.
    """
    if not out.exists():
        return False
    if out.suffix == ".h5":
        with EventFile(out) as file:
            found = file.attributes["creator"], file.attributes.get("seed"), file.events
    else:
        from kerasgen.data.root import read_provenance

        found = read_provenance(out)
    if found[:2] == (creator, seed) and np.array_equal(found[2], numbers):
        return True
    raise InputError(
        f"{out}: holds {len(found[2])} events of seed {found[1]} by {found[0]!r}, not events "
        f"{numbers.start}..{numbers.stop - 1} of seed {seed} by {creator!r}; --force replaces it"
    )
