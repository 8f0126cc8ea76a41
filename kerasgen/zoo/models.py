"""Trained models in Python: load one, generate events with it, look at them.

    import kerasgen

    model = kerasgen.load("pxd_biggan")
    hits = kerasgen.generate(model, events=1, seed=7)
    kerasgen.plot(model, hits).savefig("hits.png")

They are there as ``kerasgen.load``, ``kerasgen.generate`` and ``kerasgen.plot``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasgen.errors import InputError
from kerasgen.quiet_import import quiet_tensorflow
from kerasgen.zoo.trained import find_run, is_exported, is_point_model, is_point_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kerasgen.data.hits import Hits
    from kerasgen.data.points import PointSets
    from kerasgen.serving.point_model import ExportedPoints
    from kerasgen.serving.saved_model import Exported
    from kerasgen.zoo.point_sets.trained import TrainedPoints
    from kerasgen.zoo.trained import Trained

    Model = Trained | Exported | TrainedPoints | ExportedPoints


def load(run: str | Path, calibrated: bool = True) -> Model:
    """A trained model.

    Args:
        run: run folder, name of a recipe that ships weights, or folder of an exported SavedModel.
        calibrated: with the calibration of the run, where it has one; of pixel hits.

    Raises:
        InputError: no such run, or one that is not complete.
    """
    quiet_tensorflow()
    name = str(run)
    if is_exported(Path(name)) and is_point_model(Path(name)):
        from kerasgen.serving.point_model import load_exported_points

        return load_exported_points(Path(name))
    if is_point_run(name):
        from kerasgen.zoo.point_sets.trained import load_trained_points

        return load_trained_points(find_run(name))
    from kerasgen.zoo import generate as hits

    return hits.load(name, calibrated)


def generate(model: Model, events: int, seed: int = 0, first_event: int = 0) -> Hits | PointSets:
    """Events ``first_event`` to ``first_event + events - 1``, in memory.

    Args:
        model: from ``load``.
        events: at least 1; a set of points is an event.
        seed: run seed; event k of seed S is the same whatever else is generated.
        first_event: number of the first event.

    Returns:
        Hits of all sensors of the events (row, column, charge in ADU), or point sets.

    Raises:
        InputError: no events.
    """
    if events < 1:
        raise InputError(f"events = {events}, at least 1 is generated")
    numbers = range(first_event, first_event + events)
    if is_of_points(model):
        from kerasgen.training.point_monitor import generated_sets

        return generated_sets(getattr(model, "generator", model), numbers, seed)
    from kerasgen.zoo.generate import event_hits

    pixels: Any = model
    return event_hits(pixels.generator, pixels.geometry, numbers, seed)


def plot(model: Model, events: Any) -> Figure:
    """A picture of generated events: hits of one sensor of each layer, or sets by class.

    Args:
        model: from ``load``.
        events: of ``generate``; of hits the first event is shown.
    """
    shown: Any = model
    if is_of_points(model):
        from kerasgen.zoo.point_sets.pictures import by_class

        return by_class(events, shown.form.classes, shown.form.name == "jets")
    from kerasgen.zoo.pictures import event_maps

    return event_maps(events, shown.geometry)


def is_of_points(model: Model) -> bool:
    """Whether a model makes point sets, and not hits of pixels."""
    return hasattr(model, "form")
