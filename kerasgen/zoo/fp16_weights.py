"""Released weights: matrices in 16 bit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kerasgen.atomic import write_atomic
from kerasgen.errors import InputError

MAX_BYTES = 25_000_000  # of the released weights of a recipe


def write_fp16(source: Path, target: Path) -> None:
    """Copy a weights file of Keras with its matrices in float16.

    Keras gives them back the type of its variables, float32, when it loads them. Vectors stay in
    float32: they are few, and the thresholds that decide which pixels fire are among them. float16
    and not bfloat16, whose three bits less were seen (``benchmarks/released_weights.md``).

    Raises:
        InputError: a weight is beyond the range of float16, or the file is larger than 25 MB.
    """

    content = io.BytesIO()  # HDF5 on a full disk would end the process
    with h5py.File(source) as old, h5py.File(content, "w") as new:
        _copy(old, new)
    size = len(content.getbuffer())
    if size > MAX_BYTES:
        raise InputError(
            f"{source}: {size / 1e6:.1f} MB in 16 bit, allowed: {MAX_BYTES / 1e6:g} MB"
        )
    write_atomic(target, lambda partial: partial.write_bytes(content.getbuffer()))


def _copy(old: h5py.Group, new: h5py.Group) -> None:
    for name, value in old.attrs.items():
        new.attrs[name] = value
    for name, item in old.items():
        if isinstance(item, h5py.Group):
            _copy(item, new.create_group(name))
            continue
        array: Any = item[()]
        if array.ndim > 1 and array.dtype == np.float32:
            with np.errstate(over="ignore"):
                array = array.astype(np.float16)
            if not np.isfinite(array).all():
                raise InputError(f"{item.file.filename}: {item.name} is beyond the range of 16 bit")
        new.create_dataset(name, data=array).attrs.update(item.attrs)
