"""The events of a run: simulated once and kept in a cache, or a file of the user's."""

from __future__ import annotations

import hashlib
import os
from importlib import resources
from pathlib import Path

from kerasgen.data.store import EventFile
from kerasgen.errors import InputError

SIMULATORS = {"simulate:pxd": "pxd"}


def cache_folder() -> Path:
    """Where simulated events are kept: $KERASGEN_CACHE, or kerasgen in the user's cache."""
    named = os.environ.get("KERASGEN_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kerasgen"


def event_file(source: str, events: int, seed: int) -> EventFile:
    """The open file of a data source; a simulation runs at first use.

    Arguments:
        source: "simulate:pxd" or the path of a kerasgen HDF5 file.
        events: to simulate.
        seed: of the simulator.

    Raises:
        InputError: unknown simulator, or a file that cannot be used.
    """
    if not source.startswith("simulate:"):
        return EventFile(source)
    if source not in SIMULATORS:
        raise InputError(f"unknown data {source!r} (allowed: simulate:pxd, or an HDF5 file)")
    if events < 1:
        raise InputError("data.events must be at least 1 for simulated data")
    path = cache_folder() / f"{SIMULATORS[source]}-{simulator_version()}-{seed}-{events}.h5"
    if not path.exists():
        from kerasgen.data.simulate import write_events

        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"Simulating {events} events into {path}")
        write_events(SIMULATORS[source], path, events, seed, processes=os.cpu_count() or 1)
    return EventFile(path)


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
