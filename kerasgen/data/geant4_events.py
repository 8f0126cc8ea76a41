"""Geant4 events in parts: an interrupted simulation goes on where it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kerasgen.atomic import PARTIAL, make_folder, sweep_partials
from kerasgen.data.cache import GEANT4, cache_folder, simulator_version, writable_cache
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.geant4.workers import Geant4Events
from kerasgen.data.simulation.parameters import Parameters
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError
from kerasgen.file_lock import file_lock

EVENTS_PER_PART = 5


class Geant4Parts:
    """Parts of a sample of Geant4 events in the cache; a context manager that locks them.

    Args:
        geometry: belle2-pxd.
        seed: >= 0.
        first, events: numbers of the events: first .. first + events - 1.
        processes: number of child processes.
        parameters: of the sources; None: the calibrated ones.
        parameters_name: of other ones, for the folder in the cache.

    Attributes:
        description: the engine, by name (see ``Geant4Events``).

    Raises:
        InputError: the extra ``[geant4]`` is not installed.
        RunFailure: Geant4 fails, or the cache cannot be written.
    """

    def __init__(
        self,
        geometry: Geometry,
        seed: int,
        first: int,
        events: int,
        processes: int,
        parameters: Parameters | None = None,
        parameters_name: str = "",
    ) -> None:
        self.geometry, self.seed, self.processes = geometry, seed, processes
        self.parameters = parameters
        sample = f"pxd-{simulator_version(GEANT4)}-{seed}-{first}-{events}"
        if parameters_name:
            sample += f"-{parameters_name}"
        self.folder = cache_folder() / GEANT4 / sample
        last = first + events
        self._parts = [
            (start, min(EVENTS_PER_PART, last - start))
            for start in range(first, last, EVENTS_PER_PART)
        ]
        self.description: dict[str, Any] = {}

    def __enter__(self) -> Geant4Parts:
        with ExitStack() as stack:
            stack.enter_context(writable_cache())
            make_folder(self.folder.parent)
            lock = self.folder.with_name(f".{self.folder.name}.lock")
            stack.enter_context(file_lock(lock))
            make_folder(self.folder)  # who held the lock has deleted it
            sweep_partials(self.folder.glob(f"{PARTIAL}*"))  # of a killed process
            self._simulate_missing()
            with EventFile(self._path(*self._parts[0])) as part:
                self.description = {
                    name: value for name, value in part.attributes.items() if name in DESCRIPTION
                }
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _path(self, start: int, n: int) -> Path:
        return self.folder / f"{start}-{n}.h5"

    def _simulate_missing(self) -> None:
        """Simulate the parts that are missing or damaged."""
        missing = [part for part in self._parts if not is_whole(self._path(*part))]
        if not missing:
            return
        total = sum(n for _, n in self._parts)
        kept = total - sum(n for _, n in missing)
        bar = tqdm(total=total, initial=kept, unit="event", desc="Geant4", disable=None)
        place = self.folder.parent
        geant4_events = Geant4Events(
            self.geometry, self.seed, place, self.processes, self.parameters
        )
        with bar, geant4_events as geant4:
            simulated = geant4.simulate(
                [k for start, n in missing for k in range(start, start + n)]
            )
            for part in missing:
                with EventWriter(
                    self._path(*part),
                    self.geometry,
                    "kerasgen, Geant4",
                    self.seed,
                    geant4.description,
                ) as writer:
                    for hits in islice(simulated, part[1]):
                        writer.write(hits)
                        bar.update()

    def blocks(self) -> Iterator[Hits]:
        """Read all events in order, part by part."""
        for part in self._parts:
            with EventFile(self._path(*part)) as file:
                yield from file.blocks()

    def delete(self) -> None:
        """Delete the parts, once their events are elsewhere."""
        shutil.rmtree(self.folder)


DESCRIPTION = (
    "engine",
    "geant4_version",
    "physics_list",
    "production_cuts",
    "geant4_data_files",
)


def is_whole(path: Path) -> bool:
    """Return whether a part exists and can be read to its end."""
    if not path.is_file():
        return False
    try:
        with EventFile(path) as file:
            for _ in file.blocks():
                pass
    except InputError:
        return False
    return True
