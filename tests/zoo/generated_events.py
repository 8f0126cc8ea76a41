"""Generated events as the tests of ``kerasgen generate`` need them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kerasgen.data.hits import Hits
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError
from kerasgen.kinds.pixels import PIXELS
from kerasgen.models.trained import load_trained
from kerasgen.zoo.generate import main


def generated(
    run: Path, events: int, seed: int, first_event: int = 0, calibrated: bool = True
) -> Hits:
    """Events of a run, in memory."""
    model = load_trained(run, calibrated)
    return PIXELS.generate(model, range(first_event, first_event + events), seed)


def same(a: Hits, b: Hits) -> None:
    for name, values in vars(a).items():
        assert getattr(b, name).dtype == values.dtype, name
        np.testing.assert_array_equal(getattr(b, name), values, err_msg=name)


def stored(path: Path) -> Hits:
    with EventFile(path) as file:
        return file.read_events(0, file.n_events)


def complaint(*arguments: str) -> str:
    with pytest.raises(InputError) as error:
        main(list(arguments))
    assert "\n" not in str(error.value)
    return str(error.value)
