"""Checkpoints: what is loaded is what was saved, also after a disk was full."""

from __future__ import annotations

import errno
from pathlib import Path

import keras
import numpy as np
import pytest
from full_disk import largest_file

from kerasgen.backend.checkpoint import load_weights, save_weights


def network() -> keras.Model:
    return keras.Sequential([keras.Input((50,)), keras.layers.Dense(50)])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("size", [0, 3000])
def test_a_full_disk_keeps_the_last_checkpoint(size: int, tmp_path: Path) -> None:
    model, other = network(), network()
    path = tmp_path / "checkpoints" / "last.weights.h5"
    save_weights(model, path)
    with largest_file(size), pytest.raises(OSError, match="File too large") as refused:
        save_weights(other, path)
    assert (refused.value.errno, refused.value.filename) == (errno.EFBIG, str(path))
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    load_weights(other, path)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
