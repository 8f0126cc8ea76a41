"""The events of a study: made once, a part of each if it says so, the last ones set aside."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError
from kerasgen.tuning.study import Reduction, Study
from kerasgen.zoo.config import SPARSE_VAE


def prepare(study: Study, out: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The data of all trainings of a study.

    Args:
        study: whose data is made at first use.
        out: folder of the study, which gets the reduced events if there are any.

    Returns:
        Recipe keys that name the data, and the events of the test: of how many (``events``) the
        last how many (``held_out``). Trainings have ``events`` - ``held_out``.

    Raises:
        InputError: too few events, or a source that cannot be used.
    """
    config = study.config({})
    data = config.data
    if config.architecture == SPARSE_VAE:
        from kerasgen.training.point_data import BUILT_IN, divide, point_file

        with point_file(data) as file:
            found = divide(file, data)
            n, path = len(found.training) + len(found.held_out), file.path
        source = data.source if data.source in BUILT_IN else str(path.absolute())
    else:
        path = event_path(study, data, out)
        with EventFile(path) as file:
            n = min(data.events or file.n_events, file.n_events)
        source = str(path.absolute())
    if n <= study.test + data.held_out:
        raise InputError(
            f"{source}: {n} events, of which {study.test} are for the test and {data.held_out} "
            "(data.held_out) for the objective: none is left to train on"
        )
    test = {"events": n, "held_out": study.test or data.held_out}
    return {"data.source": source, "data.events": n - study.test}, test


def event_path(study: Study, data: Any, out: Path) -> Path:
    """The file of a pixel detector's events, reduced where the study says so."""
    from kerasgen.training.data import event_file

    with event_file(data.source, data.events, data.seed) as file:
        if not study.reduce.sensors:
            return file.path
        path = out / "data.h5"
        with open(out / "data.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several workers may start together
            if not path.is_file():
                write_reduced(file, path, study.reduce)
        return path


def write_reduced(file: EventFile, path: Path, reduce: Reduction) -> None:
    """Some sensors, and the first rows and columns of each, of all events of a file.

    Raises:
        InputError: an unknown sensor, or more rows or columns than there are.
    """
    whole = file.geometry
    if reduce.rows > whole.rows or reduce.cols > whole.cols:
        raise InputError(
            f"reduce: {reduce.rows} x {reduce.cols} pixels of {whole.rows} x {whole.cols}"
        )
    part = whole.select(reduce.sensors)
    geometry = replace(
        part, name=f"{whole.name}-part", rows=reduce.rows, cols=reduce.cols, extra={}
    )
    creator = f"kerasgen.tuning {metadata.version('kerasgen')}, part of {file.path.name}"
    with EventWriter(path, geometry, creator) as writer:
        for hits in file.blocks():
            writer.write(reduced(hits, whole, geometry))


def reduced(hits: Hits, whole: Geometry, part: Geometry) -> Hits:
    """The hits of ``whole`` that are in ``part``, whose sensors are some of it."""
    index = np.array([part.index_of_name.get(name, -1) for name in whole.names])
    hits = hits.take(np.flatnonzero(index[hits.sensor] >= 0))
    hits = hits.where((hits.row < part.rows) & (hits.col < part.cols))
    return replace(hits, sensor=index[hits.sensor].astype(hits.sensor.dtype))
