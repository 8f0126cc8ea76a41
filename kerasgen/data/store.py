"""Writer and streaming reader of kerasgen HDF5 files of sparse pixel hits.

Layout: root attributes ``format_version``, ``kind`` ("pixel-hits"), ``geometry`` (JSON),
``creator``, ``units`` and optionally ``seed``; datasets ``indptr`` int64 [images + 1],
``sensor`` uint16 [images], ``event`` int64 [images], and per hit ``row``, ``col``, ``adu`` uint16
and ``type`` uint8. A file whose pixels are not all healthy may say so in ``pixel_mask`` uint8
[bytes], a list as text (see ``mask_file``). Every event holds all sensors of the geometry in
numeric order, including empty ones; the hits of an image are sorted by row, then column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kerasgen.atomic import behind_links, new_file
from kerasgen.data.geometry import Geometry, geometry_from_json
from kerasgen.data.hits import Hits, check_order, check_values, sort_hits, without
from kerasgen.data.layout import (
    FORMAT_VERSION,
    HIT_TYPES,
    IMAGE_TYPES,
    KIND,
    MASK,
    UNITS,
    check_datasets,
    check_images,
    check_lengths,
    one_line,
    open_hdf5,
    read_attributes,
    write_text_dataset,
)
from kerasgen.data.mask_file import mask_from_text, mask_to_text
from kerasgen.data.new_hdf5 import NewHDF5
from kerasgen.data.pixel_mask import EventMasking, PixelMask
from kerasgen.errors import InputError

# A PXD event has 70 000 hits, so reading one event from chunks of 16 Ki wastes little.
HIT_CHUNK = 16384
IMAGE_CHUNK = 4096


class EventWriter:
    """Writer of complete events to a new file, which gets its name on a clean exit only.

    Args:
        path: the file to write; its folder must exist.
        geometry: sensors and charge range, stored in the file.
        creator: program and version that made the events.
        seed: run seed of simulated or generated events.
        description: further root attributes, by name: what made the events.
        mask: pixels that are not healthy, stored in the file; None: nothing is known of them.

    Raises:
        InputError: missing folder, or no event was written.
        OSError: the file cannot be written; names it.
    """

    def __init__(
        self,
        path: str | Path,
        geometry: Geometry,
        creator: str,
        seed: int | None = None,
        description: Mapping[str, str] | None = None,
        mask: PixelMask | None = None,
    ) -> None:
        self.path = Path(path)
        self.geometry = geometry
        self.n_events = 0
        self._seen: set[int] = set()
        self._masking = EventMasking(mask) if mask is not None else None
        folder = behind_links(self.path).parent
        if not folder.is_dir():
            raise InputError(f"{self.path}: the folder {folder} does not exist")
        with ExitStack() as stack:
            partial = stack.enter_context(new_file(self.path))
            self._file = stack.enter_context(NewHDF5(partial))
            self._create(creator, seed, description or {})
            self._stack = stack.pop_all()

    def _create(self, creator: str, seed: int | None, description: Mapping[str, str]) -> None:
        """Attributes and empty datasets."""
        self._file.attrs["format_version"] = FORMAT_VERSION
        texts = {"kind": KIND, "geometry": self.geometry.to_json(), "creator": creator}
        for name, text in (texts | {"units": UNITS} | dict(description)).items():
            write_text_dataset(self._file, name, text)
        if seed is not None:
            self._file.attrs["seed"] = seed
        for names, chunk in ((IMAGE_TYPES, IMAGE_CHUNK), (HIT_TYPES, HIT_CHUNK)):
            for name, dtype in names.items():
                self._file.create_dataset(
                    name,
                    (0,),
                    dtype,
                    maxshape=(None,),
                    chunks=(chunk,),
                    compression="lzf",
                    shuffle=dtype is not np.uint8,
                    fletcher32=True,
                )
        self._append("indptr", np.zeros(1, np.int64))
        if self._masking:
            pixels = np.frombuffer(mask_to_text(self._masking.mask).encode(), np.uint8)
            self._file.create_dataset(
                MASK, data=pixels, chunks=True, compression="lzf", fletcher32=True
            )

    def write(self, hits: Hits) -> None:
        """Append complete events.

        Args:
            hits: every sensor of each event, in order; the hits of an image in any order.

        Raises:
            InputError: missing or misplaced sensor, repeated event number, a value outside the
                geometry, or a hit on a pixel that never fires.
            OSError: the file cannot be written; names it at the exit from the writer.
        """
        check_images(hits.sensor, hits.event, self.geometry, str(self.path))
        check_lengths(hits, str(self.path))
        events = hits.event[:: len(self.geometry.sensors)].tolist()
        repeated = sorted(self._seen.intersection(events))
        if repeated or len(set(events)) != len(events):
            number = repeated[0] if repeated else next(e for e in events if events.count(e) > 1)
            raise InputError(f"{self.path}: event {number} is there twice")
        check_values(hits, self.geometry, str(self.path))
        hits = sort_hits(hits, self.geometry)
        check_order(hits, self.geometry, str(self.path))
        if self._masking:
            self._masking.check(hits, self.n_events, str(self.path))
        n_hits = len(self._file["row"])
        self._append("indptr", hits.indptr[1:] + n_hits)
        for name in (*HIT_TYPES, "sensor", "event"):
            self._append(name, getattr(hits, name))
        self._file.check()
        self._seen.update(events)
        self.n_events += len(events)

    def _append(self, name: str, values: NDArray[Any]) -> None:
        dataset = self._file[name]
        start = len(dataset)
        dataset.resize((start + len(values),))
        dataset[start:] = values

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error_type is None and not self.n_events:
            with self._stack:
                raise InputError(f"{self.path}: there are no events to write")
        self._stack.__exit__(error_type, error, trace)


class EventFile:
    """Streaming reader of a kerasgen HDF5 file of pixel hits.

    Opening reads the image index only (10 bytes and a pointer per image); hits are checked block
    by block when they are read.

    Args:
        path: the file.
        types: background types to read; empty: all.

    Attributes:
        path, types: as given.
        geometry: sensors and charge range.
        attributes: all root attributes except the geometry.
        events: int64 [n_events], event numbers in file order.
        left_out: bool [sensors, rows, cols], pixels whose hits are not read; None: all are.

    Raises:
        InputError: missing, not HDF5, truncated, not a file of pixel hits, wrong type or shape,
            unknown sensor, or no events.
    """

    def __init__(self, path: str | Path, types: Collection[int] = ()) -> None:
        self.path = Path(path)
        self.types = types
        self.left_out: NDArray[np.bool_] | None = None
        self._file = open_hdf5(self.path)
        try:
            self.attributes = read_attributes(self._file, self.path)
            text = self.attributes.pop("geometry", None)
            if not isinstance(text, str):
                raise InputError(f"{self.path}: the attribute 'geometry' is missing")
            self.geometry = geometry_from_json(text, origin=str(self.path))
            check_datasets(self._file, self.path)
            self._indptr, self._sensor, event = (
                self._load(name, 0, len(self._file[name]), "the image index")
                for name in ("indptr", "sensor", "event")
            )
            self._event = event
            self._check_index()
        except BaseException:
            self._file.close()
            raise
        self.events: NDArray[np.int64] = event[:: len(self.geometry.sensors)]

    def _check_index(self) -> None:
        n_images, n_hits = len(self._sensor), len(self._file["row"])
        if n_images == 0:
            raise InputError(f"{self.path}: empty, there are no events")
        if len(self._indptr) != n_images + 1 or len(self._event) != n_images:
            raise InputError(
                f"{self.path}: indptr has {len(self._indptr)} entries and event "
                f"{len(self._event)}, expected {n_images + 1} and {n_images} for {n_images} images"
            )
        bad = self._indptr[1:] < self._indptr[:-1]
        if self._indptr[0] != 0 or self._indptr[-1] != n_hits or bad.any():
            raise InputError(
                f"{self.path}: indptr must rise from 0 to the number of hits ({n_hits}), it goes "
                f"from {self._indptr[0]} to {self._indptr[-1]}"
                + (f" and falls after image {int(np.argmax(bad))}" if bad.any() else "")
            )
        check_images(self._sensor, self._event, self.geometry, str(self.path))

    def _load(self, name: str, start: int, stop: int | None, what: str) -> NDArray[Any]:
        try:
            return self._file[name][start:stop]
        except (OSError, RuntimeError, KeyError) as e:
            raise InputError(
                f"{self.path}: {what} cannot be read, the file is truncated or corrupted "
                f"({one_line(e)})"
            ) from None

    @property
    def n_events(self) -> int:
        return len(self.events)

    @property
    def n_images(self) -> int:
        return len(self._sensor)

    @property
    def n_hits(self) -> int:
        """Number of hits in the file, of all types."""
        return int(self._indptr[-1])

    @cached_property
    def mask(self) -> PixelMask | None:
        """Pixels that are not healthy, by position of the events; None: the file does not say.

        Raises:
            InputError: the list is damaged.
        """
        if MASK not in self._file:
            return None
        values = self._load(MASK, 0, None, "the list of pixels")
        if values.dtype != np.uint8 or values.ndim != 1:
            raise InputError(f"{self.path}: {MASK} is {values.dtype}, expected uint8 [bytes]")
        text = values.tobytes().decode(errors="replace")
        return mask_from_text(text, self.geometry, str(self.path))

    def read_images(self, start: int, stop: int) -> Hits:
        """Read the images ``start`` to ``stop - 1`` in file order.

        Raises:
            InputError: unreadable chunk or a value outside the geometry; names file and event.
            IndexError: range outside the file.
        """
        if not 0 <= start <= stop <= self.n_images:
            raise IndexError(f"images {start}..{stop} of {self.n_images}")
        first, last = int(self._indptr[start]), int(self._indptr[stop])
        what = f"event {self._event[min(start, self.n_images - 1)]} (or one soon after)"
        row, col, adu, hit_type = (self._load(name, first, last, what) for name in HIT_TYPES)
        hits = Hits(
            self._indptr[start : stop + 1] - first,
            row,
            col,
            adu,
            hit_type,
            self._sensor[start:stop],
            self._event[start:stop],
        )
        check_values(hits, self.geometry, str(self.path))
        check_order(hits, self.geometry, str(self.path))
        hits = without(hits, self.left_out)
        return hits.of_types(self.types) if self.types else hits

    def read_events(self, start: int, stop: int) -> Hits:
        """Read all images of events ``start`` to ``stop - 1`` (positions in the file).

        Raises:
            InputError, IndexError: as in ``read_images``.
        """
        sensors = len(self.geometry.sensors)
        return self.read_images(start * sensors, stop * sensors)

    def blocks(self, events_per_block: int = 16) -> Iterator[Hits]:
        """Read all events in file order, block by block."""
        for start in range(0, self.n_events, events_per_block):
            yield self.read_events(start, min(start + events_per_block, self.n_events))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def checksum(path: str | Path) -> str:
    """Compute the SHA-256 of a file, hexadecimal.

    Raises:
        InputError: unreadable.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise InputError(f"{path}: cannot be read ({e.strerror})") from None
