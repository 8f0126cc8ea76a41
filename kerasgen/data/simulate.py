"""Simulate events to a file: ``kerasgen simulate {pxd,jets} --events N --out FILE.h5``.

The same seed gives the same events, independent of the number of processes and of the first event
number.
"""

from __future__ import annotations

from pathlib import Path

from kerasgen.command import (
    Parser,
    add_force,
    add_mask,
    add_mask_run,
    check_output,
    ended_cleanly,
    integer,
    non_negative_int,
    positive_int,
    run,
)
from kerasgen.data.cache import ENGINES, FAST
from kerasgen.data.geometry import load_geometry
from kerasgen.data.level import level_argument
from kerasgen.data.mask_file import mask_of_run
from kerasgen.data.simulators import DETECTORS, JETS, write_events, write_jets
from kerasgen.errors import InputError


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
        "--engine",
        choices=ENGINES,
        default=FAST,
        help="of pxd: the fast simulator, or Geant4 (extra [geant4]); default fast",
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
    parser.add_argument(
        "--level",
        type=level_argument,
        metavar="L",
        help="frequency of background over the usual one, 0..10, or two_photon=2,synchrotron=0.5",
    )
    add_mask(parser)
    add_mask_run(parser)
    add_force(parser)
    a = parser.parse_args(argv)
    if a.out.suffix != ".h5":
        raise InputError(f"--out {a.out}: must end with .h5")
    check_output(a.out, a.force)
    if a.first_event + a.events > 2**63 - 1:
        raise InputError(f"--first-event {a.first_event} and --events {a.events} pass 2**63 - 1")
    if a.run_number is not None and a.mask is None:
        raise InputError("--run-number goes with --mask")
    if a.detector == JETS:
        if a.mask is not None:
            raise InputError("--mask is for detectors, jets have no pixels")
        if a.level is not None:
            raise InputError("--level is for detectors, jets have no background")
        if a.first_event:
            raise InputError("--first-event is for detectors, jets are numbered from 0")
        if a.engine != FAST:
            raise InputError(f"--engine {a.engine} is for detectors, Pythia makes the jets")
        classes = a.classes.split(",")
        with ended_cleanly():
            write_jets(a.out, classes, a.events, a.points, a.seed, a.processes)
        print(f"{a.out}: {a.events} jets, {', '.join(classes)}")
        return 0
    mask = None
    if a.mask is not None:
        mask = mask_of_run(a.mask, load_geometry(DETECTORS[a.detector]), a.run_number)
    with ended_cleanly():
        n_hits = write_events(
            a.detector, a.out, a.events, a.seed, a.first_event, a.processes, a.engine, mask,
            a.level,
        )  # fmt: skip
    masked = f", {mask.summary()}" if mask else ""
    print(f"{a.out}: {a.events} events, {n_hits / a.events:.0f} hits per event{masked}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
