"""The travel form of a run for another machine: ``kerasgen pack RUN --out DIR``.

DIR gets configuration, schema, metrics and the last checkpoint in float16 without the moments of
the optimisers, in files of at most 15 MB, 35 MB together. ``train RECIPE --run DIR --resume`` goes
on from it.
"""

from __future__ import annotations

from pathlib import Path

from kerasgen.command import Parser, check_folder, run
from kerasgen.errors import InputError
from kerasgen.run_folder import check_run, locked


def main(argv: list[str] | None = None) -> int:
    """Command ``pack``; see the module."""
    parser = Parser(prog="kerasgen pack", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of a training")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    a = parser.parse_args(argv)
    check_run(a.run)
    check_folder(a.out, "--out")
    if a.out.is_dir() and any(a.out.iterdir()):
        raise InputError(f"--out {a.out}: is not empty, name another folder")
    from kerasgen.training.travel import pack

    with locked(a.run):
        size, whole = pack(a.run, a.out)
    averages = "" if whole else "; the moving average restarts from the generator"
    print(f"{a.out}: {size / 1e6:.1f} MB of weights in float16{averages}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
