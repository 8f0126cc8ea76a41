"""Search the best values of recipe keys: ``kerasgen tune STUDY``, resumed by the same command."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from kerasgen.command import Parser, check_folder, positive_int, run
from kerasgen.config import as_table
from kerasgen.errors import InputError
from kerasgen.file_lock import file_lock
from kerasgen.run_folder import write_text
from kerasgen.tuning.study import Study, document, read_study

STUDY = "study.json"
FREE = ("trials", "time_limit")  # may change while a study goes on


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="kerasgen tune", description=__doc__.splitlines()[0])
    parser.add_argument("study", help="name of a study that comes with kerasgen, or a file.toml")
    parser.add_argument(
        "--trials", type=positive_int, metavar="N", help="trials of the search, in all"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the study, default runs/tuning/<study>"
    )
    parser.add_argument(
        "--workers", type=positive_int, metavar="N", help="trials at the same time, here"
    )
    parser.add_argument("--quick", action="store_true", help="the quick form of study and recipe")
    a = parser.parse_args(argv)
    study = read_study(a.study, a.quick, a.trials)
    out = (a.out or Path("runs") / "tuning" / study.name).absolute()
    check_folder(out, "--out")
    check_study(study, out)
    if a.workers is None:
        return tune(study, out)
    from kerasgen.tuning.workers import check_workers, started

    if "KERASTUNER_ORACLE_IP" in os.environ:
        raise InputError("--workers starts a chief of its own; leave KERASTUNER_ORACLE_IP unset")
    check_workers(a.workers, study.trials)
    command = [a.study, "--out", str(out), "--trials", str(study.trials)]
    with started(a.workers, [*command, *(["--quick"] if a.quick else [])]):
        return tune(study, out)


def tune(study: Study, out: Path) -> int:
    """Search, compare the winner with the recipe, report."""
    from kerasgen.tuning.data import prepare
    from kerasgen.tuning.oracles import make_oracle
    from kerasgen.tuning.table import log_space, row
    from kerasgen.tuning.tuner import StudyTuner, role

    part = role()
    oracle = make_oracle(study)
    out.mkdir(parents=True, exist_ok=True)
    busy = f"{out}: another search is at work there"
    with nullcontext() if part == "worker" else file_lock(out / ".lock", busy):
        data, test = prepare(study, out)
        claim(study, out)  # workers too, which may be the first
        if part != "worker" and not (out / "logs").is_dir():
            log_space(study, out)
        oracle.ended = lambda trial_id: print(
            row(study, out, trial_id, len(oracle.tuner_ids)), flush=True
        )
        tuner = StudyTuner(oracle, study, out, data)
        announce(study, out, part)
        tuner.search()
        if part == "worker":
            print("No trials left; the chief compares and reports")
            return 0
        finish(study, out, data, test)
    return 0


def finish(study: Study, out: Path, data: dict[str, Any], test: dict[str, int]) -> None:
    """What comes after the last trial."""
    from kerasgen.tuning.comparison import run_again
    from kerasgen.tuning.report import summary, write_report

    run_again(study, out, data, test)
    print(summary(study, write_report(study, out)))
    print(f"Report: {out / 'report.html'}\nWinner: {out / 'best.toml'}")


def identity(study: Study) -> dict[str, Any]:
    """What makes two studies the same: all but the number of trials, and the recipe itself."""
    found = {key: value for key, value in document(study).items() if key not in FREE}
    return {"study": found, "recipe": json.loads(json.dumps(as_table(study.config({}))))}


def check_study(study: Study, out: Path) -> None:
    """Raise unless the folder is new or of this study.

    Raises:
        InputError: it is of another study, or holds something else.
    """
    path = out / STUDY
    if not path.is_file():
        others = [x.name for x in out.iterdir() if x.name != ".lock"] if out.is_dir() else []
        if others and set(others) - {"data.h5", "data.lock"}:
            raise InputError(f"{out}: exists already and is no folder of a study; name another")
        return
    before, now = json.loads(path.read_text("utf-8")), identity(study)
    changed = sorted(
        f"{part}.{key}" if part == "recipe" else key
        for part in now
        for key in now[part]
        if before.get(part, {}).get(key) != now[part][key]
    )
    if changed:
        raise InputError(
            f"{out}: holds another study (other {', '.join(changed)}); name another folder by --out"
        )


def claim(study: Study, out: Path) -> None:
    """Say in the folder which study it is of."""
    if not (out / STUDY).is_file():
        write_text(out / STUDY, json.dumps(identity(study), indent=1))


def announce(study: Study, out: Path, part: str) -> None:
    """What is about to be done."""
    from kerasgen.tuning.table import header

    done = len(list((out / "trials").glob("*.json")))
    before = f", {done} of them done" if done else ""
    print(f"Study {study.name}: {study.trials} trials of {study.recipe}{before}, {study.oracle}")
    print(f"Folder {out}; TensorBoard: tensorboard --logdir {str(out)!r}", flush=True)
    if part != "worker":
        print(header(study), flush=True)


if __name__ == "__main__":
    raise SystemExit(run(main))
