"""Events from a trained model: ``kerasgen generate RUN --events N --out FILE.{h5,root,npz}``.

RUN is a run folder, a recipe with released weights, or an exported model (SavedModel or ONNX).
Event k of seed S is the same whatever the batch, the shard or the process, for one build and
instruction set. A file appears when it is complete, so that a job that was killed is done again by
the same command.
"""

from __future__ import annotations

import time
from importlib import metadata
from pathlib import Path

from kerasgen.atomic import PARTIAL, behind_links, sweep_partials
from kerasgen.command import (
    Parser,
    add_force,
    add_mask,
    add_mask_run,
    check_output,
    non_negative_int,
    positive_int,
    positive_number,
    run,
)
from kerasgen.data.level import LEVEL, level_argument, level_text
from kerasgen.errors import InputError
from kerasgen.kinds.kind import Conditions

SUFFIXES = (".h5", ".root", ".npz")
MAX_EVENT = 2**63 - 1


def creator_of(
    name: str, identity: str, mask: str = "", conditions: Conditions | None = None
) -> str:
    """The origin that generated files state; ``mask``: its identity, if events have one."""
    more = [f"mask {mask}"] if mask else []
    more += [f"{condition} {level_text(x)}" for condition, x in (conditions or {}).items()]
    return " ".join(["kerasgen generate", name, identity, *more, metadata.version("kerasgen")])


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


def check_out(out: Path, force: bool) -> None:
    """Raise InputError if ``out`` must not be written."""
    if out.suffix not in SUFFIXES:
        raise InputError(f"--out {out}: ends in {out.suffix!r}, allowed: {', '.join(SUFFIXES)}")
    check_output(out, force)


def add_level(parser: Parser) -> None:
    """The option ``--level`` of commands that generate background."""
    parser.add_argument(
        "--level", type=level_argument, metavar="L",
        help="frequency of the background over that of the training events, 0..10, or by type, "
        "two_photon=2,synchrotron=0.5",
    )  # fmt: skip


def sweep_outputs(out: Path) -> None:
    """Delete what killed processes left of the file ``out``."""
    target = behind_links(out)
    sweep_partials(target.parent.glob(f"{PARTIAL}*-{target.name}*"))


def main(argv: list[str] | None = None) -> int:
    """Command ``generate``; see the module."""
    parser = Parser(prog="kerasgen generate", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "run",
        metavar="RUN",
        help="run folder, recipe with released weights, or exported model",
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
    add_level(parser)
    add_mask(parser)
    add_mask_run(parser)
    add_force(parser)
    a = parser.parse_args(argv)
    if (a.shards is None) != (a.shard is None):
        raise InputError("--shards and --shard go together")
    if a.first_event + a.events > MAX_EVENT:
        raise InputError(f"--first-event {a.first_event} and --events {a.events} pass 2**63 - 1")
    numbers = shard_range(a.first_event, a.events, a.shards or 1, a.shard or 0)
    check_out(a.out, a.force or a.resume)
    if a.resume and (a.force or a.out.suffix == ".npz"):
        raise InputError("--resume: goes with .h5 and .root, and not with --force")
    sweep_outputs(a.out)
    from kerasgen.zoo.lookup import (
        check_calibration,
        check_conditions,
        description_of,
        load_to_generate,
        with_mask,
    )

    kind = description_of(a.run)[0].kind
    if a.resume and not kind.can_resume:
        raise InputError(f"--resume: not for {kind.noun}, whose file does not say its job")
    if a.no_calibration:
        check_calibration(a.run)
    model = with_mask(load_to_generate(a.run, not a.no_calibration), a.mask, a.run_number)
    given = {name: getattr(a, name) for name in ("pt", LEVEL)}
    conditions = {name: value for name, value in given.items() if value is not None}
    check_conditions(a.run, model, conditions)
    mask = model.mask.identity if model.mask is not None else ""
    creator, n = creator_of(model.name, model.identity, mask, conditions), len(numbers)
    if a.resume and kind.is_complete(a.out, numbers, a.seed, creator):
        print(f"{a.out}: complete already")
        return 0
    start = time.perf_counter()
    stream = kind.stream(model, numbers, a.seed, a.out.name, conditions)
    written = kind.write(model, stream, a.out, n, creator, a.seed)
    rate = n / (time.perf_counter() - start)
    print(f"{a.out}: {n} {kind.noun}, {written}, {rate:.3g} {kind.noun}/s")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
