"""Runs Geant4 without data files in a child process: one world, any number of shots."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from kerasgen.data.simulation.geant4.environment import VARIABLE, data_folder, use_data_folder
from kerasgen.data.simulation.geant4.world import Box, World

Shot = tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], int, str | None]


def block(size, centre=(0.0, 0.0, 0.0), field=0.0) -> World:
    """A box of sensitive silicon, mm, in vacuum."""
    return World([Box(np.array(centre), np.eye(3), np.array(size), True)], (), field)


def particles(pdg, energy, n, point=(0.0, 0.0, 0.0), direction=(0.0, 0.0, 1.0)):
    """n equal particles."""
    one = np.ones((n, 1))
    return np.full(n, pdg), one * point, one * direction, np.full(n, float(energy))


class Child:
    """A child process with a Geant4 world."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def shoot(self, of: tuple, seed: int = 1, forced: str | None = None) -> np.ndarray:
        """Steps of all particles together."""
        return self.ask(("shoot", of, seed, forced))

    def each(self, of: tuple) -> list[np.ndarray]:
        """Steps of each particle."""
        return self.ask(("each", of))

    def ask(self, what: tuple):
        self.connection.send(what)
        answer = self.connection.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer


@contextmanager
def geant4_world(world: World) -> Iterator[Child]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    with TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        process = context.Process(target=serve, args=(world, data_folder(Path(place)), theirs))
        process.start()
        theirs.close()
        try:
            yield Child(ours)
        finally:
            process.kill()
            process.join()


def serve(world: World, folder: Path, connection: Connection) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    use_data_folder(folder)
    from kerasgen.data.simulation.geant4.kernel import Kernel, Primaries

    kernel = Kernel(world, data_files=False)
    while True:
        try:
            what, of, *rest = connection.recv()
            if what == "overlaps":
                kept = kernel.volumes.kept
                placed = [v for v in kept if type(v).__name__ == "G4PVPlacement"]
                answer = [v.GetName() for v in placed if v.CheckOverlaps(200, 1e-6, False)]
            elif what == "direct":
                answer = kernel.recorder.direct, kernel.recorder.checked
            elif what == "shoot":
                answer = kernel.shoot(Primaries(*of), *rest)
            else:
                answer = [
                    kernel.shoot(Primaries(*(a[k : k + 1] for a in of)), k)
                    for k in range(len(of[0]))
                ]
        except EOFError:
            os._exit(0)
        except BaseException as error:
            answer = repr(error)
        connection.send(answer)
