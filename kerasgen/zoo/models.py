"""Trained models in Python: load one, generate events with it, look at them.

import kerasgen

model = kerasgen.load("pxd_biggan")
hits = kerasgen.generate(model, events=1, seed=7)
kerasgen.plot(model, hits).savefig("hits.png")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasgen.data.level import LEVEL, Level
from kerasgen.errors import InputError
from kerasgen.keras_import import check_keras
from kerasgen.models.trained import Trained
from kerasgen.quiet_import import quiet_tensorflow
from kerasgen.zoo.lookup import check_conditions, load_model, with_mask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kerasgen.serving.exported import Exported


def load(
    run: str | Path,
    calibrated: bool = True,
    mask: str | Path | None = None,
    run_number: int | None = None,
) -> Trained | Exported:
    """A trained model.

    Args:
        run: run folder, name of a recipe with released weights, folder of an exported model, or
            ``hf://ORGANISATION/NAME`` of a model on a hub, which is downloaded once.
        calibrated: with the calibration of the run, if it has one.
        mask: list of dead, masked and hot pixels of the events; None: all are healthy.
        run_number: run of the events, for a list that depends on the run.

    Raises:
        InputError: no such run, one that is not complete, or a list that cannot be used.
        RunFailure: the hub does not answer.
    """
    quiet_tensorflow()
    check_keras()
    model = load_model(str(run), calibrated)
    return with_mask(model, Path(mask) if mask is not None else None, run_number)


def generate(
    model: Trained | Exported,
    events: int,
    seed: int = 0,
    first_event: int = 0,
    level: Level | None = None,
) -> Any:
    """Events ``first_event`` to ``first_event + events - 1``, in memory.

    Args:
        model: from ``load``.
        events: at least 1; a set of points is an event.
        seed: run seed; event k of seed S is the same whatever else is generated.
        first_event: number of the first event.
        level: frequency of the background over that of the training events, 0..10, or of its
            types, ``{"two_photon": 2}``; None: 1.

    Returns:
        ``Hits`` of all sensors of the events (row, column, charge in ADU), or ``PointSets``.

    Raises:
        InputError: no events, or a level that the model does not take.
    """
    if events < 1:
        raise InputError(f"events = {events}, at least 1 is generated")
    numbers = range(first_event, first_event + events)
    conditions = {} if level is None else {LEVEL: level}
    check_conditions(model.name, model, conditions)
    return model.algorithm.kind.generate(model, numbers, seed, conditions)


def plot(model: Trained | Exported, events: Any) -> Figure:
    """A figure of generated events: hits of one sensor of each layer, or sets by class.

    Args:
        model: from ``load``.
        events: from ``generate``; of hits the first event is shown.
    """
    return model.algorithm.kind.plot(events, model.schema)
