"""Weights and checkpoints: the state of a model in one file, written atomically."""

from __future__ import annotations

from pathlib import Path

import keras

from kerasgen.atomic import write_atomic
from kerasgen.errors import InputError


def save_weights(model: keras.Model, path: Path) -> None:
    """Weights of a model, with its optimisers if it has any."""
    write_atomic(path, model.save_weights)


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
