"""Simulate events to a file: ``kerasgen simulate {pxd,jets} --events N --out FILE.h5``.

The same seed gives the same events, independent of the number of processes and of the first event
number.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from kerasgen.cli import (
    Parser,
    add_force,
    check_output,
    ended_cleanly,
    integer,
    non_negative_int,
    positive_int,
    run,
)
from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.data.store import EventWriter
from kerasgen.errors import InputError

DETECTORS = {"pxd": "belle2-pxd"}  # name on the command line: geometry
JETS = "jets"


def write_events(
    detector: str, path: Path, events: int, seed: int, first: int = 0, processes: int = 1
) -> int:
    """Simulate and store events ``first`` to ``first + events - 1``; return the number of hits.

    Raises:
        InputError: the folder of the file does not exist, or it cannot be written.
    """
    geometry = load_geometry(DETECTORS[detector])
    creator = f"kerasgen.data.simulate {detector} {metadata.version('kerasgen')}"
    n_hits = 0
    with EventWriter(path, geometry, creator, seed) as writer:
        simulated = simulate_events(geometry, seed, first, events, processes)
        for hits in tqdm(simulated, total=events, unit="event", desc=path.name, disable=None):
            writer.write(hits)
            n_hits += len(hits.adu)
    return n_hits


def write_jets(
    path: Path, classes: list[str], jets: int, size: int, seed: int, processes: int = 1
) -> None:
    """Simulate and store jets, reusing cached parts.

    Raises:
        InputError: unknown class, too many constituents, or the extra ``[jets]`` is missing.
    """
    from kerasgen.data.jet_simulation import simulated_jets
    from kerasgen.data.jets import FORM
    from kerasgen.data.points import write_points
    from kerasgen.training.data import cache_folder

    blocks = simulated_jets(cache_folder() / JETS, classes, jets, size, seed, processes)
    creator = f"kerasgen.data.simulate jets {metadata.version('kerasgen')}, Pythia, JetNet-like"
    write_points(path, FORM, blocks, creator, seed)


def main(argv: list[str] | None = None) -> int:
    """Run the command ``simulate``; see the module."""
    parser = Parser(prog="kerasgen simulate", description=__doc__.splitlines()[0])
    parser.add_argument("detector", choices=sorted([*DETECTORS, JETS]), help="what to simulate")
    parser.add_argument(
        "--events", type=positive_int, required=True, metavar="N", help="number of events"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.h5", help="a new file")
    parser.add_argument(
        "--seed",
        type=non_negative_int,
        default=0,
        metavar="S",
        help="random seed, default 0",
    )
    parser.add_argument(
        "--first-event", type=non_negative_int, default=0, metavar="K", help="first event number"
    )
    parser.add_argument(
        "--processes",
        type=integer(1, 256),
        default=1,
        metavar="P",
        help="number of worker processes, default 1",
    )
    parser.add_argument(
        "--classes",
        default="gluon",
        metavar="NAMES",
        help="classes of jets, as gluon,top; default gluon",
    )
    parser.add_argument(
        "--points",
        type=positive_int,
        default=30,
        metavar="P",
        help="maximum number of constituents per jet",
    )
    add_force(parser)
    a = parser.parse_args(argv)
    if a.out.suffix != ".h5":
        raise InputError(f"--out {a.out}: must end with .h5")
    check_output(a.out, a.force)
    if a.first_event + a.events > 2**63 - 1:
        raise InputError(f"--first-event {a.first_event} and --events {a.events} pass 2**63 - 1")
    if a.detector == JETS:
        if a.first_event:
            raise InputError("--first-event is for detectors, jets are numbered from 0")
        classes = a.classes.split(",")
        with ended_cleanly():
            write_jets(a.out, classes, a.events, a.points, a.seed, a.processes)
        print(f"{a.out}: {a.events} jets, {', '.join(classes)}")
        return 0
    with ended_cleanly():
        n_hits = write_events(a.detector, a.out, a.events, a.seed, a.first_event, a.processes)
    print(f"{a.out}: {a.events} events, {n_hits / a.events:.0f} hits per event")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
