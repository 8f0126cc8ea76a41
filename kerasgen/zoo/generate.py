"""Events from a trained model: ``kerasgen generate RUN --events N --out FILE.{h5,root,npz}``.

RUN is a run folder, a recipe that ships weights, or an exported SavedModel. Event k of seed S is
the same whatever the batch, the shard or the process, for one build and instruction set. A file
appears when it is complete, so that a job that was killed is done again by the same command.
"""

from __future__ import annotations

import argparse
import math
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from kerasgen.atomic import PARTIAL, partial_name, sweep_partials, write_atomic
from kerasgen.cli import Parser, add_force, check_output, non_negative_int, positive_int, run
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.layout import HIT_TYPES
from kerasgen.data.store import EventFile, EventWriter
from kerasgen.errors import InputError
from kerasgen.zoo.trained import (
    Trained,
    check_calibration,
    is_exported,
    is_point_model,
    is_point_run,
    load_trained,
)

if TYPE_CHECKING:
    from kerasgen.serving.saved_model import Exported

FORMS = (".h5", ".root", ".npz")
HIGHEST = 2**63 - 1


class Digitizing(Protocol):
    """What generates hits: ``EventGenerator``, or an exported model."""

    types: tuple[int, ...]

    def digits(self, sensor: Any, seed: Any) -> dict[str, Any]: ...


def generate_hits(
    run: str, events: int, seed: int, first_event: int = 0, calibrated: bool = True
) -> Hits:
    """Events ``first_event`` to ``first_event + events - 1`` of a run, in memory.

    Arguments:
        run: run folder, recipe that ships weights, or exported SavedModel.
        events: at least 1.
        seed: run seed of the generated events.
        calibrated: with the calibration of the run.

    Raises:
        InputError: no such run, or one that is not complete.
    """
    trained = load(run, calibrated)
    numbers = range(first_event, first_event + events)
    return event_hits(trained.generator, trained.geometry, numbers, seed)


def generate_events(
    trained: Trained | Exported, events: int, seed: int, first_event: int = 0
) -> Iterator[Hits]:
    """The same as a stream, one event at a time."""
    for event in range(first_event, first_event + events):
        yield one_event(trained.generator, trained.geometry, event, seed)


def event_hits(generator: Digitizing, geometry: Geometry, events: range, seed: int) -> Hits:
    """Hits of the given event numbers, all sensors each, in memory."""
    return concatenate([one_event(generator, geometry, event, seed) for event in events])


def one_event(generator: Digitizing, geometry: Geometry, event: int, seed: int) -> Hits:
    """Hits of all sensors of one event of one run seed."""
    sensors = len(geometry.sensors)
    sensor = np.arange(sensors, dtype=np.int32)
    pair = np.tile(np.array([seed, event], np.int64), (sensors, 1))
    found = {name: np.asarray(x) for name, x in generator.digits(sensor, pair).items()}
    count, hits = found["count"], found["hits"]
    hits = hits[np.arange(hits.shape[1]) < count[:, None]]  # [hits, 3 or 4]
    row, col, adu = hits.T[:3].astype(np.uint16)
    kind = hits[:, 3] if hits.shape[1] > 3 else np.full(len(hits), generator.types[0])
    return Hits(
        np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        row,
        col,
        adu,
        kind.astype(np.uint8),
        sensor.astype(np.uint16),
        pair[:, 1],
    )


def load(run: str, calibrated: bool) -> Trained | Exported:
    """The model that RUN of the command line names."""
    if not is_exported(Path(run)):
        return load_trained(run, calibrated)
    from kerasgen.serving.saved_model import load_exported  # imports TensorFlow

    exported = load_exported(Path(run))
    if exported.calibrated and not calibrated:
        raise InputError(f"{run}: was exported with its calibration; give the run folder instead")
    return exported


def write_events(
    trained: Trained | Exported, out: Path, events: int, seed: int, first_event: int = 0
) -> int:
    """Stream generated events to a file, which appears when it is complete; the number of hits.

    Raises:
        InputError: ``out`` cannot be written.
    """
    stream = generate_events(trained, events, seed, first_event)
    return write_stream(stream, out, events, trained.geometry, creator_of(trained), seed)


def creator_of(trained: Trained | Exported) -> str:
    """What generated files say of their origin."""
    version = metadata.version("kerasgen")
    return f"kerasgen generate {trained.name} {trained.identity} {version}"


def write_stream(
    stream: Iterator[Hits], out: Path, events: int, geometry: Geometry, creator: str, seed: int
) -> int:
    """Write blocks of events, with a bar for all ``events``; otherwise as ``write_events``."""
    store = out if out.suffix == ".h5" else partial_name(out.with_name(f"{out.name}.h5"))
    hits = 0
    try:
        with (
            EventWriter(store, geometry, creator, seed) as writer,
            tqdm(total=events, desc=out.name, unit=" events", disable=None) as bar,
        ):
            for block in stream:
                writer.write(block)
                hits += len(block.adu)
                bar.update(len(block) // len(geometry.sensors))
        convert(store, out)
    finally:
        if store != out:
            store.unlink(missing_ok=True)
    return hits


def convert(store: Path, out: Path) -> None:
    """Write the events of a kerasgen HDF5 file in the form that ``out`` asks for."""
    if out.suffix == ".h5":
        return
    with EventFile(store) as file:
        if out.suffix == ".npz":
            write_hit_list(file, out)
        else:
            from kerasgen.data.root import write_root

            write_root(file, out)


def write_hit_list(file: EventFile, out: Path) -> None:
    """The NPZ columns of ``kerasgen.data.hit_lists``, streamed, whatever the number of events."""
    types = {"event": np.int64, "sensor": np.uint16} | HIT_TYPES

    def write(partial: Path) -> None:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("events.npy", "w") as member:
                np.lib.format.write_array(member, file.events)
            for name, dtype in types.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    header = {
                        "descr": np.dtype(dtype).str,
                        "fortran_order": False,
                        "shape": (file.n_hits,),
                    }
                    np.lib.format.write_array_header_1_0(member, header)
                    for hits in file.blocks():
                        values = getattr(hits, name)
                        if name in ("event", "sensor"):
                            values = values[hits.image]
                        member.write(values.astype(dtype).tobytes())

    write_atomic(out, write)


def is_complete(out: Path, numbers: range, seed: int, creator: str) -> bool:
    """Whether a job has been done: its file is there, which happens at its end only.

    Raises:
        InputError: the file is there and holds something else.
    """
    if not out.exists():
        return False
    if out.suffix == ".h5":
        with EventFile(out) as file:
            found = file.attributes["creator"], file.attributes.get("seed"), file.events
    else:
        from kerasgen.data.root import read_origin

        found = read_origin(out)
    if found[:2] == (creator, seed) and np.array_equal(found[2], numbers):
        return True
    raise InputError(
        f"{out}: holds {len(found[2])} events of seed {found[1]} by {found[0]!r}, not events "
        f"{numbers.start}..{numbers.stop - 1} of seed {seed} by {creator!r}; --force replaces it"
    )


def shard_range(first: int, events: int, shards: int, shard: int) -> range:
    """Event numbers of one of ``shards`` contiguous parts.

    Raises:
        InputError: no such shard, or fewer events than shards.
    """
    if shard >= shards:
        raise InputError(f"--shard {shard}: allowed: 0..{shards - 1} of --shards {shards}")
    if shards > events:
        raise InputError(f"--shards {shards}: at most one per event, --events is {events}")
    return range(first + events * shard // shards, first + events * (shard + 1) // shards)


def positive_number(text: str) -> float:
    """Argument type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def check_out(out: Path, force: bool) -> None:
    """Raise InputError if ``out`` must not be written."""
    if out.suffix not in FORMS:
        raise InputError(f"--out {out}: ends in {out.suffix!r}, allowed: {', '.join(FORMS)}")
    check_output(out, force)


def main(argv: list[str] | None = None) -> int:
    """Command ``generate``; see the module."""
    parser = Parser(prog="kerasgen generate", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "run", metavar="RUN", help="run folder, recipe that ships weights, or exported SavedModel"
    )
    parser.add_argument("--events", type=positive_int, required=True, metavar="N", help="how many")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.{h5,root,npz}", help="a new file"
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, metavar="S", help="run seed, default 0"
    )
    parser.add_argument(
        "--first-event", type=non_negative_int, default=0, metavar="K", help="first event number"
    )
    parser.add_argument(
        "--shards", type=positive_int, metavar="M", help="parts that the events are split into"
    )
    parser.add_argument(
        "--shard", type=non_negative_int, metavar="J", help="the part to generate, 0..M-1"
    )
    parser.add_argument(
        "--no-calibration", action="store_true", help="leave the calibration of the run out"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="do nothing where the file of this very job is there already (.h5 and .root)",
    )
    parser.add_argument(
        "--pt", type=positive_number, metavar="GEV", help="transverse momentum of the jets"
    )
    add_force(parser)
    a = parser.parse_args(argv)
    if (a.shards is None) != (a.shard is None):
        raise InputError("--shards and --shard go together")
    if a.first_event + a.events > HIGHEST:
        raise InputError(f"--first-event {a.first_event} and --events {a.events} pass 2**63 - 1")
    numbers = shard_range(a.first_event, a.events, a.shards or 1, a.shard or 0)
    check_out(a.out, a.force or a.resume)
    if a.resume and (a.force or a.out.suffix == ".npz"):
        raise InputError("--resume: goes with .h5 and .root, and not with --force")
    sweep_partials(a.out.parent.glob(f"{PARTIAL}*-{a.out.name}*"))
    if is_point_run(a.run) or is_point_model(Path(a.run)):
        from kerasgen.zoo.point_sets.generate import write_generated

        check_calibration(a.no_calibration)
        if a.resume:
            raise InputError("--resume: goes with models of pixel hits")
        write_generated(a.run, a.out, numbers, a.seed, a.pt)
        print(f"{a.out}: {len(numbers)} point sets")
        return 0
    if a.pt is not None:
        raise InputError("--pt is for jets")
    trained = load(a.run, not a.no_calibration)
    if a.resume and is_complete(a.out, numbers, a.seed, creator_of(trained)):
        print(f"{a.out}: complete already")
        return 0
    start, n = time.perf_counter(), len(numbers)
    hits = write_events(trained, a.out, n, a.seed, numbers.start)
    rate, size = n / (time.perf_counter() - start), a.out.stat().st_size / n
    print(
        f"{a.out}: {n} events, {hits / n:.0f} hits and {size / 1000:.1f} kB per event, "
        f"{rate:.2f} events/s"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
