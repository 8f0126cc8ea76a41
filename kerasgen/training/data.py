"""The events of a run: simulated once and kept in a cache, or a file of the user's."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from kerasgen.atomic import PARTIAL, sweep_partials
from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulate import DETECTORS, write_events
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError
from kerasgen.zoo.config import Config

SIMULATORS = {"simulate:pxd": "pxd"}
STATISTICS_EVENTS = 256  # of the training events


def cache_folder() -> Path:
    """Where simulated events are kept: $KERASGEN_CACHE, or kerasgen in the user's cache."""
    named = os.environ.get("KERASGEN_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kerasgen"


def simulator(source: str) -> str | None:
    """The detector that a data source simulates; None for a file.

    Raises:
        InputError: unknown simulator.
    """
    if not source.startswith("simulate:"):
        return None
    if source not in SIMULATORS:
        raise InputError(f"unknown data {source!r} (allowed: simulate:pxd, or an HDF5 file)")
    return SIMULATORS[source]


def source_geometry(source: str) -> Geometry:
    """The geometry of a data source, found without simulating.

    Raises:
        InputError: unknown simulator, or a file that cannot be used.
    """
    detector = simulator(source)
    if detector is not None:
        return load_geometry(DETECTORS[detector])
    with EventFile(source) as file:
        return file.geometry


def event_path(source: str, events: int, seed: int, first: int = 0) -> Path:
    """The file of a data source; of a simulation the one in the cache, once it has run.

    Raises:
        InputError: unknown simulator.
    """
    detector = simulator(source)
    if detector is None:
        return Path(source)
    part = f"-from-{first}" if first else ""
    return cache_folder() / f"{detector}-{simulator_version()}-{seed}-{events}{part}.h5"


def event_file(
    source: str, events: int, seed: int, types: Collection[int] = (), first: int = 0
) -> EventFile:
    """The open file of a data source; a simulation runs at first use.

    Arguments:
        source: "simulate:pxd" or the path of a kerasgen HDF5 file.
        events: to simulate.
        seed: of the simulator.
        types: background types whose hits are read; empty: all hits.
        first: number of the first event to simulate.

    Raises:
        InputError: unknown simulator, or a file that cannot be used.
    """
    path, detector = event_path(source, events, seed, first), simulator(source)
    if detector is not None and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.parent):
            if not path.exists():  # another process may have simulated it
                sweep_partials(path.parent.glob(f"{PARTIAL}*"))
                print(f"Simulating {events} events into {path}", flush=True)
                write_events(detector, path, events, seed, first, processes=os.cpu_count() or 1)
    return EventFile(path, types)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process simulates into the folder."""
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def simulator_version() -> str:
    """Hash of the simulator's code and parameters: other physics gets another cache file."""
    digest = hashlib.sha256()
    folder = resources.files("kerasgen.data.simulation")
    for item in sorted(folder.iterdir(), key=lambda f: f.name):
        if item.name.endswith((".py", ".json")):
            digest.update(item.read_bytes())
    return digest.hexdigest()[:10]


def division(file: EventFile, events: int, held_out: int) -> tuple[range, range]:
    """Training events and held-out events, by position in the file.

    Arguments:
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


def first_events(config: Config, file: EventFile) -> Hits:
    """The training events that statistics and calibration are taken from."""
    training, _ = division(file, config.data.events, config.data.held_out)
    return file.read_events(training.start, min(training.stop, STATISTICS_EVENTS))
