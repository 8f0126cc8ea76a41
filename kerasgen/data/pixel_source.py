"""The pixel hits of a run: simulated once and kept in the cache, or a file of the user's."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from kerasgen.atomic import PARTIAL, make_folder, sweep_partials
from kerasgen.config import MAX_INT, Count, Length, Range
from kerasgen.data.cache import (
    FAST,
    GEANT4,
    cache_folder,
    simulator_version,
    writable_cache,
)
from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.simulators import DETECTORS, write_events
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError
from kerasgen.file_lock import file_lock

# Data source: detector and engine.
SIMULATORS = {"simulate:pxd": ("pxd", FAST), "simulate:pxd-geant4": ("pxd", GEANT4)}
# What to cite for the events of an engine; the rates of all are tuned to published numbers.
PAPERS = {
    FAST: ("hashemi2023",),
    GEANT4: ("hashemi2023", "agostinelli2003", "allison2006", "allison2016"),
}


Type = Annotated[int, Range(0, 255)]  # background type
TYPE_EVENTS = 16  # first events of a file, by which it has types or not


@dataclass(frozen=True)
class PixelDataSettings:
    """Where the events come from.

    Attributes:
        source: "simulate:pxd" (the fast simulator), "simulate:pxd-geant4" (Geant4, extra
            ``[geant4]``) or the path of a kerasgen HDF5 file.
        events: events to simulate; of a file, events to use, 0 for all.
        held_out: events at the end that training never sees; the metrics are computed on them.
        seed: of the simulator.
        channels: background types, one image channel each, without the hits of other types;
            empty: one channel with all hits.
    """

    source: str = "simulate:pxd"
    events: Count = 2000
    held_out: Annotated[int, Range(4, MAX_INT)] = 200
    seed: Count = 1
    channels: Annotated[list[Type], Length(unique=True)] = field(default_factory=list)


@dataclass(frozen=True)
class PixelEvaluationSettings:
    """The evaluation at the end of a run.

    Attributes:
        events: generated events, compared with the held-out ones.
    """

    events: Annotated[int, Range(4)] = 200


def simulator(source: str) -> tuple[str, str] | None:
    """The detector that a data source simulates, and the engine; None for a file.

    Raises:
        InputError: unknown simulator.
    """
    if not source.startswith("simulate:"):
        return None
    if source not in SIMULATORS:
        allowed = ", ".join(SIMULATORS)
        raise InputError(f"unknown data {source!r} (allowed: {allowed}, or an HDF5 file)")
    return SIMULATORS[source]


def source_geometry(source: str) -> Geometry:
    """The geometry of a data source, found without simulating.

    Raises:
        InputError: unknown simulator, or a file that cannot be used.
    """
    simulated = simulator(source)
    if simulated is not None:
        return load_geometry(DETECTORS[simulated[0]])
    with EventFile(source) as file:
        return file.geometry


def known_types(source: str, types: list[int]) -> list[int]:
    """The types to read of a data source: none, which is all hits, of a file without types.

    Raises:
        InputError: unknown simulator, or a file that cannot be used.
    """
    if not types or simulator(source):
        return types
    with EventFile(source) as file:
        hits = file.read_events(0, min(TYPE_EVENTS, file.n_events))
    return types if hits.type.any() else []


def event_path(source: str, events: int, seed: int, first: int = 0) -> Path:
    """The file of a data source; of a simulation the one in the cache, once it has run.

    Raises:
        InputError: unknown simulator.
    """
    simulated = simulator(source)
    if simulated is None:
        return Path(source)
    detector, engine = simulated
    part = f"-from-{first}" if first else ""
    return cache_folder() / f"{detector}-{simulator_version(engine)}-{seed}-{events}{part}.h5"


def event_file(
    source: str, events: int, seed: int, types: Collection[int] = (), first: int = 0
) -> EventFile:
    """The open file of a data source; a simulation runs at first use.

    Args:
        source: as in ``PixelDataSettings``.
        events: to simulate.
        seed: of the simulator.
        types: background types whose hits are read; empty: all hits.
        first: number of the first event to simulate.

    Raises:
        InputError: unknown simulator, or a file that cannot be used.
        RunFailure: the cache cannot be written.
    """
    path, simulated = event_path(source, events, seed, first), simulator(source)
    if simulated is not None and not path.exists():
        with writable_cache():
            make_folder(path.parent)
            simulate_once(*simulated, path, events, seed, first)
    return EventFile(path, types)


def simulate_once(
    detector: str, engine: str, path: Path, events: int, seed: int, first: int
) -> None:
    """Simulate into a file of the cache, unless another process does so."""
    with file_lock(path.with_name(f".{path.name}.lock")):
        if not path.exists():  # another process may have simulated it
            sweep_partials(path.parent.glob(f"{PARTIAL}*"))
            print(f"Simulating {events} events into {path}", flush=True)
            processes = os.cpu_count() or 1
            write_events(detector, path, events, seed, first, processes, engine)


def division(file: EventFile, events: int, held_out: int) -> tuple[range, range]:
    """Training events and held-out events, by position in the file.

    Args:
        events: events to use from the start of the file; 0 for all.
        held_out: how many of them, at the end, training never sees.
    """
    n = min(events or file.n_events, file.n_events)
    if n <= held_out:
        raise InputError(
            f"{file.path}: {n} events, of which {held_out} are held out (data.held_out): "
            "none is left to train on"
        )
    return range(n - held_out), range(n - held_out, n)
