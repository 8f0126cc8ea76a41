"""Checkpoints of a run: the whole training state in one file, written atomically."""

from __future__ import annotations

from pathlib import Path

import keras

from kerasgen.atomic import write_atomic
from kerasgen.errors import InputError

LAST = "checkpoints/last.weights.h5"
BEST = "checkpoints/best.weights.h5"


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
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: weights do not fit the configuration: {reason}") from None
