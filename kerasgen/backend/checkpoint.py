"""Weights and checkpoints: the state of a model in one file, written atomically."""

from __future__ import annotations

import io
from pathlib import Path

import keras

from kerasgen.atomic import write_atomic
from kerasgen.errors import InputError


class _WeightsInMemory(io.BytesIO):
    """What Keras takes for a weights file: HDF5 on a full disk would end the process."""

    def __str__(self) -> str:
        return "model.weights.h5"


def save_weights(model: keras.Model, path: Path) -> None:
    """Weights of a model, with its optimisers if it has any.

    Raises:
        OSError: the file cannot be written; names it.
    """
    write_content(weights_content(model), path)


def weights_content(model: keras.Model) -> memoryview:
    """The file of ``save_weights``, in memory."""
    content = _WeightsInMemory()
    model.save_weights(content)
    return content.getbuffer()


def write_content(content: memoryview, path: Path) -> None:
    """Write the file of ``weights_content``.

    Raises:
        OSError: it cannot be written; names it.
    """
    write_atomic(path, lambda partial: partial.write_bytes(content))


def load_weights(model: keras.Model, path: Path) -> None:
    """The inverse of ``save_weights``, into a model built in the same way.

    Raises:
        InputError: the file is missing, broken, or of another model.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such weights")
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise nearly anything on damaged files
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(
            f"{path}: damaged, or not the weights of its configuration ({reason})"
        ) from None
