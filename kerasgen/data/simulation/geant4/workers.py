"""Child processes that run Geant4: events in order, and a second try where a child crashes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from kerasgen.child_processes import ctrl_c_blocked, ignore_ctrl_c
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.geant4.environment import (
    check_installed,
    data_folder,
    use_data_folder,
    uses_data_files,
)
from kerasgen.data.simulation.parameters import Parameters, calibrated_parameters
from kerasgen.errors import RunFailure

MAX_TRIES = 3  # of an event


@dataclass(frozen=True)
class Task:
    """What a child does: events of a seed.

    Attributes:
        geometry, seed, parameters: of the events.
        data_folder: of Geant4's data files, or what stands for it.
        data_files: whether it has data files.
    """

    geometry: Geometry
    seed: int
    parameters: Parameters
    data_folder: Path
    data_files: bool


@dataclass
class Worker:
    """A child process, the event that it works on, and our end of the pipe to it."""

    process: SpawnProcess
    connection: Connection
    event: int | None = None


@dataclass
class Geant4Events:
    """Simulates events by Geant4 in child processes; a context manager that ends them.

    Args:
        geometry: belle2-pxd.
        seed: >= 0.
        place: folder for what stands for Geant4's data files, if there are none.
        processes: number of child processes.
        parameters: sources and charge sharing; None: the calibrated ones.

    Attributes:
        description: engine, version of Geant4, list of physics, production cuts and whether data
            files are used, by name.
        workers: the child processes.

    Raises:
        InputError: the extra ``[geant4]`` is not installed.
        RunFailure: Geant4 does not start.
    """

    geometry: Geometry
    seed: int
    place: Path
    processes: int = 1
    parameters: Parameters | None = None
    description: dict[str, str] = field(init=False)
    workers: list[Worker] = field(init=False, default_factory=list)

    def __enter__(self) -> Self:
        check_installed()
        with ExitStack() as stack:
            self._task = Task(
                self.geometry,
                self.seed,
                self.parameters or calibrated_parameters(),
                data_folder(self.place),
                uses_data_files(),
            )
            stack.callback(self._end)
            self.description = self._add_worker()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self.workers.clear()

    def simulate(self, events: Sequence[int]) -> Iterator[Hits]:
        """Simulate events by number, in the given order.

        Raises:
            RunFailure: an event crashes Geant4 each time it is tried.
        """
        todo, done = list(reversed(events)), dict[int, Hits]()
        self._tries = dict.fromkeys(events, 0)
        while len(self.workers) < min(self.processes, len(events)):
            self._add_worker()
        for position, event in enumerate(events):
            while event not in done:
                # A few events ahead of the reader at most, to bound the memory.
                self._hand_out(todo, len(events) - position - 2 * self.processes)
                for worker in self._ready():
                    number, hits = self._collect(worker)
                    if hits is None:
                        todo.append(number)
                    else:
                        done[number] = hits
            yield done.pop(event)

    def _collect(self, worker: Worker) -> tuple[int, Hits | None]:
        """The event of a worker and its hits; None, and a new worker, if it crashed."""
        number, worker.event = worker.event, None
        assert number is not None
        try:
            return number, receive(worker)
        except EOFError:
            reason = how_it_ended(worker)
        self._tries[number] += 1
        if self._tries[number] == MAX_TRIES:
            raise RunFailure(f"event {number}: Geant4 crashed {MAX_TRIES} times ({reason})")
        tqdm.write(f"event {number}: Geant4 crashed ({reason}), tried again", file=sys.stderr)
        worker.connection.close()
        self.workers.remove(worker)
        self._add_worker()
        return number, None

    def _add_worker(self) -> dict[str, str]:
        """Start a child and return its description of Geant4.

        Raises:
            RunFailure: it ends at its start each time it is tried.
        """
        for _ in range(MAX_TRIES):
            worker = start_worker(self._task)
            self.workers.append(worker)
            try:
                return dict(receive(worker))
            except EOFError:
                reason = how_it_ended(worker)
                worker.connection.close()
                self.workers.remove(worker)
        raise RunFailure(f"Geant4 does not start ({reason})")

    def _hand_out(self, todo: list[int], keep: int) -> None:
        """Give idle workers the next events as long as more than ``keep`` are left."""
        for worker in self.workers:
            if worker.event is None and len(todo) > max(keep, 0):
                worker.event = todo.pop()
                with suppress(OSError):  # it has ended: the answer is the end of the pipe
                    worker.connection.send(worker.event)

    def _ready(self) -> list[Worker]:
        """Wait for workers that have answered or ended."""
        busy = {w.connection: w for w in self.workers if w.event is not None}
        return [busy[c] for c in wait(list(busy)) if isinstance(c, Connection)]


def start_worker(task: Task) -> Worker:
    """Start a child process; its first answer is the description of Geant4."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(task, theirs), daemon=True)
    with ctrl_c_blocked():
        process.start()
    theirs.close()  # so that the pipe ends with the child
    return Worker(process, ours)


def receive(worker: Worker) -> Any:
    """The next answer of a child.

    Raises:
        EOFError: it has ended.
        RunFailure: it reports an error.
    """
    try:
        answer = worker.connection.recv()
    except OSError:  # it ended in the middle of an answer
        raise EOFError from None
    if isinstance(answer, str):
        raise RunFailure(answer)
    return answer


def how_it_ended(worker: Worker) -> str:
    """Why a child ended, in words."""
    worker.process.join()
    code = worker.process.exitcode or 0
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def serve(task: Task, connection: Connection) -> None:
    """Body of a child: describe Geant4, then simulate the events that are asked for."""
    ignore_ctrl_c()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)  # Geant4 greets on standard output and warns on standard error
    try:
        use_data_folder(task.data_folder)
        from kerasgen.data.simulation.detector import build_detector
        from kerasgen.data.simulation.geant4 import event, kernel
        from kerasgen.data.simulation.geant4.world import pxd_world

        world = pxd_world(task.geometry, build_detector(task.geometry))
        geant4 = kernel.Kernel(world, task.data_files)
        connection.send(kernel.describe(task.data_files))
        while True:
            number = connection.recv()
            connection.send(
                event.simulate_event(geant4, task.geometry, task.seed, number, task.parameters)
            )
    except EOFError:
        pass  # the parent has ended
    except BaseException as error:
        with suppress(OSError):
            connection.send(f"Geant4: {type(error).__name__}: {error}")
    finally:
        os._exit(0)
