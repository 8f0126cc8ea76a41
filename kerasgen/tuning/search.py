"""Search the best values of recipe keys: ``kerasgen tune STUDY``, resumed by the same command."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from kerasgen.atomic import PARTIAL, make_folder
from kerasgen.command import Parser, check_folder, positive_int, run
from kerasgen.config import as_table
from kerasgen.errors import InputError
from kerasgen.file_lock import file_lock
from kerasgen.run_folder import write_text
from kerasgen.tuning.study import HeldOutTest, Study, read_study, study_as_json

STUDY = "study.json"
BEFORE_STUDY = (".lock", "data.h5", "data.lock")  # what a search may write before ``STUDY``
MUTABLE_KEYS = ("trials", "time_limit")  # may change when a search is resumed


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="kerasgen tune", description=__doc__.splitlines()[0])
    parser.add_argument("study", help="name of a study that comes with kerasgen, or a file.toml")
    parser.add_argument(
        "--trials", type=positive_int, metavar="N", help="trials of the search, in total"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the study, default runs/tuning/<study>"
    )
    parser.add_argument(
        "--workers", type=positive_int, metavar="N", help="parallel trials on this machine"
    )
    parser.add_argument(
        "--quick", action="store_true", help="the quick variant of study and recipe"
    )
    a = parser.parse_args(argv)
    study = read_study(a.study, a.quick, a.trials)
    out = (a.out or Path("runs") / "tuning" / study.name).absolute()
    check_folder(out, "--out")
    check_study(study, out)
    if a.workers is None:
        return tune(study, out)
    from kerasgen.tuning.workers import check_workers, running_workers

    if "KERASTUNER_ORACLE_IP" in os.environ:
        raise InputError("--workers starts a chief of its own; leave KERASTUNER_ORACLE_IP unset")
    check_workers(a.workers, study.trials)
    command = [a.study, "--out", str(out), "--trials", str(study.trials)]
    with running_workers(a.workers, [*command, *(["--quick"] if a.quick else [])]):
        return tune(study, out)


def tune(study: Study, out: Path) -> int:
    """Search, compare the winner with the recipe, and write the report."""
    from kerasgen.tuning.data import prepare_events
    from kerasgen.tuning.oracles import make_oracle
    from kerasgen.tuning.progress import log_search_space, trial_table_row
    from kerasgen.tuning.tuner import StudyTuner, process_role

    role = process_role()
    oracle = make_oracle(study)
    make_folder(out)
    busy = f"{out}: another search is at work there"
    with nullcontext() if role == "worker" else file_lock(out / ".lock", busy):
        data, test = prepare_events(study, out)
        write_study_file(study, out)  # workers too: a worker may be the first process
        if role != "worker" and not (out / "logs").is_dir():
            log_search_space(study, out)
        oracle.on_end = lambda trial_id: print(
            trial_table_row(study, out, trial_id, len(oracle.tuner_ids)), flush=True
        )
        tuner = StudyTuner(oracle, study, out, data)
        print_start(study, out, role)
        tuner.search()
        if role == "worker":
            print("No trials left; the chief compares and reports")
            return 0
        compare_and_report(study, out, data, test)
    return 0


def compare_and_report(study: Study, out: Path, data: dict[str, Any], test: HeldOutTest) -> None:
    """After the last trial: train the reruns and write the report."""
    from kerasgen.tuning.comparison import train_reruns
    from kerasgen.tuning.report import summary, write_report

    train_reruns(study, out, data, test)
    print(summary(write_report(study, out)))
    print(f"Report: {out / 'report.html'}\nWinner: {out / 'best.toml'}")


def study_identity(study: Study) -> dict[str, Any]:
    """Study and recipe without ``MUTABLE_KEYS``: two studies are the same if these are equal."""
    items = study_as_json(study).items()
    fixed = {key: value for key, value in items if key not in MUTABLE_KEYS}
    return {"study": fixed, "recipe": json.loads(json.dumps(as_table(study.config({}))))}


def check_study(study: Study, out: Path) -> None:
    """Raise unless the folder is new or of this study.

    Raises:
        InputError: the folder is of another study, or holds something else.
    """
    path = out / STUDY
    names = [x.name for x in out.iterdir()] if out.is_dir() else []
    others = [x for x in names if x not in BEFORE_STUDY and not x.startswith(PARTIAL)]
    if not path.is_file():  # asked after the listing: who claims the folder writes it first
        if others:
            raise InputError(f"{out}: exists already and is no folder of a study; name another")
        return
    before, now = json.loads(path.read_text("utf-8")), study_identity(study)
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


def write_study_file(study: Study, out: Path) -> None:
    """Write the identity of the study into its folder, unless it is there."""
    if not (out / STUDY).is_file():
        write_text(out / STUDY, json.dumps(study_identity(study), indent=1))


def print_start(study: Study, out: Path, role: str) -> None:
    """Print study, folder and the header of the table of trials."""
    from kerasgen.tuning.progress import trial_table_header

    done = len(list((out / "trials").glob("*.json")))
    before = f", {done} of them done" if done else ""
    print(f"Study {study.name}: {study.trials} trials of {study.recipe}{before}, {study.oracle}")
    print(f"Folder {out}; TensorBoard: tensorboard --logdir {str(out)!r}", flush=True)
    if role != "worker":
        print(trial_table_header(study), flush=True)


if __name__ == "__main__":
    raise SystemExit(run(main))
