"""HDF5 files of point sets.

Layout: root attributes as for pixel hits with ``kind`` "point-sets" and ``geometry`` (the JSON of a
``PointSchema``); datasets ``points`` float32 [n, P, 3], ``mask`` bool [n, P], ``label`` uint8 [n]
and ``features`` float32 [n, F].
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from kerasgen.atomic import behind_links, write_atomic
from kerasgen.data.layout import (
    FORMAT_VERSION,
    one_line,
    open_hdf5,
    read_attributes,
    write_text_dataset,
)
from kerasgen.data.new_hdf5 import NewHDF5
from kerasgen.data.points import TYPES, PointSchema, PointSets, check_sets, schema_from_json
from kerasgen.errors import InputError

KIND = "point-sets"
AXES = {"points": 3, "mask": 2, "label": 1, "features": 2}
CHUNK = 256


def write_points(
    path: Path,
    schema: PointSchema,
    blocks: Iterable[PointSets],
    creator: str,
    seed: int | None = None,
) -> int:
    """Write point sets to a new file block by block; the file appears when complete.

    Args:
        path: the file; its folder must exist.
        schema: schema of the sets.
        blocks: the sets.
        creator: program and version that made the sets.
        seed: run seed of simulated or generated sets.

    Returns:
        Number of sets written.

    Raises:
        InputError: no sets, sets that violate the schema, or missing folder.
    """
    folder = behind_links(path).parent
    if not folder.is_dir():
        raise InputError(f"{path}: the folder {folder} does not exist")
    n = 0

    def write(partial: Path) -> None:
        nonlocal n
        with NewHDF5(partial) as file:
            file.attrs["format_version"] = FORMAT_VERSION
            texts = {"kind": KIND, "geometry": schema.to_json(), "creator": creator}
            for name, text in (texts | {"units": schema.units}).items():
                write_text_dataset(file, name, text)
            if seed is not None:
                file.attrs["seed"] = seed
            for sets in blocks:
                check_sets(sets, schema, str(path), n)
                for name in TYPES:
                    append_rows(file, name, getattr(sets, name))
                file.check()
                n += len(sets)
        if not n:
            raise InputError(f"{path}: there are no point sets to write")

    write_atomic(path, write)
    return n


def append_rows(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    """Append rows to a dataset, which the first call creates."""
    if name not in file:
        shape, chunk = values.shape[1:], (CHUNK, *(max(x, 1) for x in values.shape[1:]))
        file.create_dataset(
            name, (0, *shape), values.dtype, maxshape=(None, *shape), chunks=chunk,
            compression="lzf", shuffle=True, fletcher32=True,
        )  # fmt: skip
    dataset = file[name]
    dataset.resize(len(dataset) + len(values), axis=0)
    if values.size:
        dataset[len(dataset) - len(values) :] = values


class PointFile:
    """Reader of a kerasgen HDF5 file of point sets, which checks the sets it reads.

    Args:
        path: the file.

    Attributes:
        path: as given.
        schema: meaning of the numbers of the sets.
        attributes: all root attributes except the geometry.
        size: P, the maximum number of points of a set.

    Raises:
        InputError: missing, not HDF5, truncated, not a file of point sets, or wrong datasets.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = open_hdf5(self.path)
        try:
            self.attributes = read_attributes(self._file, self.path, KIND)
            self.schema = schema_from_json(str(self.attributes.pop("geometry", "")), str(self.path))
            self._check_datasets()
        except BaseException:
            self._file.close()
            raise
        self.size = int(self._file["points"].shape[1])

    def _check_datasets(self) -> None:
        for name, axes in AXES.items():
            try:
                found = self._file.get(name)
            except (OSError, RuntimeError, KeyError) as e:
                raise InputError(f"{self.path}: {name} is corrupted ({one_line(e)})") from None
            if not isinstance(found, h5py.Dataset):
                raise InputError(f"{self.path}: the dataset {name!r} is missing")
            if found.dtype != TYPES[name] or found.ndim != axes:
                raise InputError(
                    f"{self.path}: {name} is {found.dtype} with {found.ndim} axes, expected "
                    f"{np.dtype(TYPES[name])} with {axes}"
                )
        if len({len(self._file[name]) for name in TYPES}) > 1:
            raise InputError(f"{self.path}: its datasets do not have one row for each set")

    def __len__(self) -> int:
        return len(self._file["label"])

    def labels(self) -> NDArray[np.uint8]:
        """Read the class index of every set, uint8 [n].

        Raises:
            InputError: unreadable.
        """
        try:
            return self._file["label"][:]
        except (OSError, RuntimeError) as e:
            raise InputError(
                f"{self.path}: labels cannot be read, the file is truncated or corrupted "
                f"({one_line(e)})"
            ) from None

    def read(self, start: int, stop: int) -> PointSets:
        """Read the sets ``start`` to ``stop - 1``.

        Raises:
            InputError: unreadable or invalid values.
        """
        try:
            sets = PointSets(*(self._file[name][start:stop] for name in TYPES))
        except (OSError, RuntimeError, KeyError) as e:
            raise InputError(
                f"{self.path}: sets from {start} on cannot be read, the file is truncated or "
                f"corrupted ({one_line(e)})"
            ) from None
        check_sets(sets, self.schema, str(self.path), start)
        return sets

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
