"""Simulated events in a file: ``python -m kerasgen.data.simulate pxd --events N --out FILE.h5``.

The same seed gives the same events, however many processes share the work and wherever the range
of event numbers starts.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from kerasgen.cli import (
    Parser,
    add_force,
    check_output,
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


def write_events(
    detector: str, path: Path, events: int, seed: int, first: int = 0, processes: int = 1
) -> int:
    """Simulate and store events ``first`` to ``first + events - 1``; the number of hits.

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


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="kerasgen simulate", description=__doc__.splitlines()[0])
    parser.add_argument("detector", choices=sorted(DETECTORS), help="what to simulate")
    parser.add_argument("--events", type=positive_int, required=True, metavar="N", help="how many")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.h5", help="a new file")
    parser.add_argument(
        "--seed",
        type=non_negative_int,
        default=0,
        metavar="S",
        help="of the random numbers, default 0",
    )
    parser.add_argument(
        "--first-event", type=non_negative_int, default=0, metavar="K", help="first event number"
    )
    parser.add_argument(
        "--processes",
        type=integer(1, 256),
        default=1,
        metavar="P",
        help="that share the work, default 1",
    )
    add_force(parser)
    a = parser.parse_args(argv)
    if a.out.suffix != ".h5":
        raise InputError(f"--out {a.out}: must end with .h5")
    check_output(a.out, a.force)
    if a.first_event + a.events > 2**63 - 1:
        raise InputError(f"--first-event {a.first_event} and --events {a.events} pass 2**63 - 1")
    n_hits = write_events(a.detector, a.out, a.events, a.seed, a.first_event, a.processes)
    print(f"{a.out}: {a.events} events, {n_hits / a.events:.0f} hits per event")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
