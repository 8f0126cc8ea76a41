"""Evaluate generated events against real ones: metrics.json, figures and one HTML report.

``kerasgen evaluate RUN`` generates events and compares them with the held-out events of the run's
data, without and with calibration; ``--reference A.h5 --candidate B.h5`` compares any two files,
or a file and a model. Files of jets may be JetNet's.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kerasgen.command import (
    Parser,
    check_folder,
    integer,
    non_negative_int,
    positive_int,
    run,
)
from kerasgen.errors import InputError
from kerasgen.metrics.compare import MIN_EVENTS
from kerasgen.tracking.study import TRACKS


def evaluate_files(given: argparse.Namespace, out: Path, studies: list[str]) -> dict[str, Any]:
    """Compare a file of events with another, or with a model; arguments as parsed."""
    from kerasgen.kinds import kind_of_file
    from kerasgen.kinds.kind import EvaluationRequest
    from kerasgen.zoo.hub import is_address
    from kerasgen.zoo.lookup import load_model, released

    reference, candidate = given.reference, given.candidate
    path = Path(candidate)
    named = candidate in released() or is_address(candidate)
    is_model = path.is_dir() or (named and not path.exists())
    model = load_model(candidate) if is_model else None
    name = model.title if model else path.name
    request = EvaluationRequest(
        out=out,
        title=f"{name} against {Path(reference).name}",
        events=given.events,
        seed=given.seed or 0,
        studies=tuple(studies),
        tracks=given.tracks,
    )
    kind = kind_of_file(Path(reference))
    if model and model.algorithm.kind is not kind:
        raise InputError(
            f"{candidate}: a model of {model.algorithm.kind.name}, {reference} holds {kind.name}"
        )
    return kind.evaluate_files(reference, candidate, model, given.training, request)


def evaluate_named(given: argparse.Namespace, out: Path, studies: list[str]) -> dict[str, Any]:
    """Compare a run or a recipe with its held-out events, and record it; arguments as parsed."""
    from kerasgen.models.algorithm import algorithm_of
    from kerasgen.models.trained import read_config
    from kerasgen.run_folder import append_metrics, last_step
    from kerasgen.zoo.hub import is_address
    from kerasgen.zoo.lookup import check_calibration, find_run, released
    from kerasgen.zoo.run import evaluate_run

    folder = find_run(given.run)
    config = read_config(folder)
    if given.no_calibration:
        check_calibration(given.run)
    algorithm_of(config.algorithm).kind.check_studies(studies)
    document = evaluate_run(
        folder,
        config.data,
        given.data,
        title=f"Evaluation of {given.run}",
        out=out,
        events=given.events,
        seed=given.seed,
        calibrated=not given.no_calibration,
        studies=tuple(studies),
        tracks=given.tracks,
    )
    # Recipes and models on a hub stay as they were recorded.
    if folder not in released().values() and not is_address(given.run):
        append_metrics(folder, last_step(folder, config.training.steps), document)
    return document


def main(argv: list[str] | None = None) -> int:
    """Command ``evaluate``; see the module."""
    parser = Parser(
        prog="kerasgen evaluate",
        description="Compare generated events with real ones: metrics with real-vs-real floors, "
        "figures, one HTML report.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder or recipe name")
    parser.add_argument("--reference", metavar="A.h5", help="real events, instead of RUN")
    parser.add_argument(
        "--candidate",
        metavar="B.h5|RUN",
        help="generated events, or a run, recipe or exported model that generates them",
    )
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="real events other than the run's; its training events are then not read",
    )
    parser.add_argument("--events", type=integer(MIN_EVENTS), help="generated events to evaluate")
    parser.add_argument(
        "--out", type=Path, help="folder of the report (default: RUN/report or evaluation)"
    )
    parser.add_argument(
        "--seed", type=non_negative_int,
        help="of generation and resampling (default: 1 + that of RUN's training; of files 0)",
    )  # fmt: skip
    parser.add_argument(
        "--no-calibration", action="store_true", help="evaluate the uncalibrated generator alone"
    )
    parser.add_argument(
        "--tracking",
        action="store_true",
        help="lay the events over simulated signal tracks: resolution, efficiency, wrong hits",
    )
    parser.add_argument(
        "--tracks",
        type=positive_int,
        help=f"signal tracks of --tracking (default: {TRACKS})",
    )
    parser.add_argument(
        "--networks",
        action="store_true",
        help="train networks to tell real from generated: pixel hits on patches, physics features "
        "and images, jets on their constituents",
    )
    parser.add_argument(
        "--training",
        metavar="T.h5",
        help="events that the candidate's model was trained on: copies of them, and bootstrap "
        "samples of them as the baseline (of RUN its own)",
    )
    given = parser.parse_args(argv)
    studies = [name for name in ("tracking", "networks") if getattr(given, name)]
    if given.tracks and not given.tracking:
        raise InputError("--tracks goes with --tracking")
    files = given.reference, given.candidate
    if given.run is None and None in files:
        raise InputError("give RUN, or both --reference A.h5 and --candidate B.h5")
    if given.run is not None and files != (None, None):
        raise InputError("give RUN or two files, not both")
    if given.run is None and (given.data or given.no_calibration):
        raise InputError("--data and --no-calibration go with RUN, not with two files")
    if given.run is not None and given.training:
        raise InputError("--training goes with two files; RUN knows its own training events")
    in_run = given.run is not None and Path(given.run).is_dir()
    out = given.out or (Path(given.run) / "report" if in_run else Path("evaluation"))
    check_folder(out, "--out")
    replaced = (out / "report.html").exists()
    from kerasgen.evaluation.report import terminal_table
    from kerasgen.evaluation.systematic import systematic, systematic_text

    if given.run is None:
        document = evaluate_files(given, out, studies)
    else:
        document = evaluate_named(given, out, studies)
    for remark in document["remarks"]:
        print(remark)
    print(terminal_table(document))
    uncertainty = systematic(document)
    if uncertainty:
        print(systematic_text(uncertainty))
    print(f"All metrics, definitions and figures: {out / 'report.html'}")
    if replaced:
        print(f"The earlier report in {out} was replaced.")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
