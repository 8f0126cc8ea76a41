"""Signal events with generated background: ``kerasgen overlay SIGNAL OUT --model RUN``.

SIGNAL is a kerasgen HDF5 file or a ROOT file (digits of basf2, or the TTree ``digits``), OUT ends
in .h5, .root or .npz. The background of an event depends on the model, --seed and the event's
experiment, run and event numbers alone. Pixels that the mask of SIGNAL or --mask calls dead or
masked have no hit in OUT; hot pixels of --mask fire, unless they have fired in SIGNAL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kerasgen.command import Parser, add_force, add_mask, integer, run
from kerasgen.data.geometry import Geometry
from kerasgen.data.hit_files import write_stream
from kerasgen.data.hits import Hits
from kerasgen.data.level import LEVEL, Level, level_text
from kerasgen.data.level_table import LevelTable, read_levels
from kerasgen.data.mask_file import read_mask
from kerasgen.data.pixel_events import Digitizer
from kerasgen.data.pixel_mask import EventMasking, PixelMask
from kerasgen.data.source import Source
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError
from kerasgen.zoo.generate import add_level, check_out, sweep_outputs


def open_signal(
    path: Path, tree: str | None, drop: bool
) -> tuple[Source, NDArray[np.int64] | None]:
    """Signal events, and experiment, run and event number of each (None: the file has no runs).

    Raises:
        InputError: not a file of pixel hits.
    """
    from kerasgen.data.convert import file_format  # all readers: slow to import

    form = file_format(path)
    numbers = None
    if form == "hdf5":
        file = EventFile(path)
        source = Source(file.geometry, file.n_events, file.blocks(), "", None, file.mask)
    elif form == "root":
        from kerasgen.data.root import read_event_numbers, read_root

        source = read_root(path, None, tree, drop)
        numbers = read_event_numbers(path, tree)
    else:
        raise InputError(
            f"{path}: {form}, allowed: kerasgen HDF5 and ROOT of pixel hits (kerasgen convert "
            "makes them of PNG and NPZ)"
        )
    return source, numbers


def check_numbers(signal: Path, numbers: NDArray[np.int64] | None, run_number: int | None) -> None:
    """Raise InputError unless the numbers of all events are known, once, and differ."""
    if numbers is None and run_number is None:
        raise InputError(
            f"{signal}: does not say the runs of its events; --run-number R says it (another one "
            "for every file, or their backgrounds repeat)"
        )
    if numbers is not None and run_number is not None:
        raise InputError(f"--run-number: {signal} says the runs of its events itself")
    if numbers is not None and len(np.unique(numbers, axis=0)) != len(numbers):
        raise InputError(f"{signal}: two events have the same experiment, run and event number")


def overlaid(
    source: Source,
    numbers: NDArray[np.int64] | None,
    run_number: int,
    generator: Digitizer,
    seed: int,
    masking: EventMasking | None = None,
    level: Level | LevelTable | None = None,
) -> Iterator[Hits]:
    """The events of a source with background and masked pixels, block by block.

    Without ``numbers`` they are of experiment 0, of the run of ``run_number``, and numbered as in
    the file. Where numbers of events repeat from run to run, written events have that of their
    entry.
    """
    from kerasgen.serving.overlay import add_background, run_seed

    first, sensors = 0, len(source.geometry.sensors)
    repeat = numbers is not None and len(np.unique(numbers[:, 2])) < len(numbers)
    for hits in source.blocks:
        events = hits.event[::sensors]
        if repeat:  # from run to run: a file numbers its events once
            entry = np.arange(first, first + len(events))
            hits = replace(hits, event=np.repeat(entry, sensors))
        if numbers is None:
            same = np.zeros_like(events), np.full_like(events, run_number), events
            block = np.stack(same, axis=1)
        else:
            block = numbers[first : first + len(events)]
        both = add_background(hits, block, generator, source.geometry, seed, level)
        if masking:
            keys = [(run_seed(seed, e, r), number) for e, r, number in block.tolist()]
            both = masking.apply_at(both, keys, first)
        yield both
        first += len(events)


def mask_of_events(
    path: Path, geometry: Geometry, numbers: NDArray[np.int64] | None, run_number: int
) -> PixelMask:
    """The list of pixels of the user's, for the events of a signal file.

    Args:
        path: of the list.
        geometry: of the events.
        numbers: experiment, run and event number of each event; None: all are of ``run_number``.
        run_number: see there.

    Raises:
        InputError: as ``read_mask``, or the list has runs, which are of several experiments.
    """
    mask = read_mask(path, geometry)
    if numbers is None:
        return mask.of_run(run_number)
    if mask.has_spans and len(np.unique(numbers[:, 0])) > 1:
        raise InputError(
            f"{path}: has a column 'run', and the events are of several experiments "
            f"({', '.join(map(str, np.unique(numbers[:, 0])))}): overlay those of each alone"
        )
    return mask.by_position(numbers[:, 1])


def masking_of(signal: PixelMask | None, asked: PixelMask | None) -> EventMasking | None:
    """The mask of the result: that of the signal, whose hot pixels have fired, and the one asked
    for."""
    if signal is None:
        return EventMasking(asked) if asked is not None else None
    return EventMasking(signal.merged(asked) if asked is not None else signal, fired=signal)


def main(argv: list[str] | None = None) -> int:
    """Command ``overlay``; see the module."""
    parser = Parser(prog="kerasgen overlay", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("signal", type=Path, metavar="SIGNAL", help="signal events, .h5 or .root")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new file.{h5,root,npz}")
    parser.add_argument(
        "--model",
        required=True,
        metavar="RUN",
        help="run folder, recipe with released weights, or exported model",
    )
    parser.add_argument(
        "--seed", type=integer(0, 2**23 - 1), default=0, metavar="S",
        help="of the production, default 0",
    )  # fmt: skip
    parser.add_argument(
        "--run-number", type=integer(0, 2**24 - 1), metavar="R",
        help="run of all events, for a file that does not say it",
    )  # fmt: skip
    parser.add_argument("--tree", metavar="NAME", help="TTree of a ROOT file (default: by content)")
    parser.add_argument(
        "--drop-below-threshold",
        action="store_true",
        help="leave out signal charges below the threshold, which are else an error",
    )
    add_level(parser)
    parser.add_argument(
        "--level-table", type=Path, metavar="FILE.csv", help="levels of the background by run"
    )
    add_mask(parser)
    add_force(parser)
    a = parser.parse_args(argv)
    check_out(a.out, a.force)
    if a.level is not None and a.level_table is not None:
        raise InputError("--level and --level-table: one of them")
    if a.out.resolve() == a.signal.resolve():
        raise InputError(f"{a.out}: is the file of the signal")
    from kerasgen.kinds.pixels import PIXELS
    from kerasgen.zoo.lookup import check_conditions, description_of, load_model

    kind = description_of(a.model)[0].kind
    if kind is not PIXELS:
        raise InputError(f"{a.model}: a model of {kind.name}, one of pixel hits is needed")
    source, numbers = open_signal(a.signal, a.tree, a.drop_below_threshold)
    check_numbers(a.signal, numbers, a.run_number)
    sweep_outputs(a.out)
    model = load_model(a.model)
    run_number, table = a.run_number or 0, None
    if a.level_table is not None:
        table = read_levels(a.level_table)
    runs = [run_number] if numbers is None else np.unique(numbers[:, 1]).tolist()
    levels = [a.level] if table is None else [table.at(run) for run in runs]
    for level in levels:
        check_conditions(a.model, model, {} if level is None else {LEVEL: level})
    if source.geometry != model.schema:
        raise InputError(
            f"{a.signal}: geometry {source.geometry.name} differs from that of the model, "
            f"{model.schema.name}"
        )
    asked = None
    if a.mask is not None:
        asked = mask_of_events(a.mask, source.geometry, numbers, run_number)
    masking = masking_of(source.mask, asked)
    mask = masking.mask if masking else None
    chosen = a.level if table is None else table
    stream = overlaid(source, numbers, run_number, model.generator, a.seed, masking, chosen)
    at_level = "" if a.level is None else f" level {level_text(a.level)}"
    if table is not None:
        at_level = f" levels of {a.level_table.name}"
    creator = f"kerasgen overlay {model.name}{at_level} over {a.signal.name}"
    hits = write_stream(stream, a.out, source.n_events, model.schema, creator, a.seed, mask)
    masked = f", {mask.summary()}" if mask else ""
    print(f"{a.out}: {source.n_events} events, {hits / source.n_events:.0f} hits per event{masked}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
