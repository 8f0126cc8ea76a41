"""Evaluate generated events against real ones: metrics.json, pictures and one HTML report.

``kerasgen evaluate RUN`` generates events and compares them with the held-out events of the run's
data, without and with calibration; ``--reference A.h5 --candidate B.h5`` compares any two files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kerasgen.cli import Parser, check_folder, integer, non_negative_int, run
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.points import is_point_file
from kerasgen.data.store import EventFile, checksum
from kerasgen.errors import InputError
from kerasgen.metrics.compare import LEAST_EVENTS, check_enough
from kerasgen.metrics.summary import check_same_geometry
from kerasgen.training.run_folder import read_metrics, write_bytes
from kerasgen.zoo.config import SPARSE_VAE, load_config, read_config
from kerasgen.zoo.evaluation import evaluate_samples
from kerasgen.zoo.report import BASELINE, terminal_table
from kerasgen.zoo.samples import (
    BLOCK,
    file_sample,
    held_out,
    number_of_events,
    read_library,
    sample,
    training_events,
)
from kerasgen.zoo.studies import (
    announce,
    candidate_recorders,
    chosen_studies,
    reference_recorders,
)
from kerasgen.zoo.trained import CALIBRATION, WEIGHTS, check_calibration, find_run, shipped


def evaluate_files(
    reference: str,
    candidate: str,
    events: int | None,
    out: Path,
    seed: int,
    studies: Sequence[str] = (),
    training: str | None = None,
) -> dict[str, Any]:
    """Compare two kerasgen HDF5 files of any length.

    Args:
        reference: real events.
        candidate: generated events, of which the first ``events`` are used.
        events: None for all.
        out: folder of the report.
        seed: of the resampling.
        studies: see ``chosen_studies``.
        training: file of the events that the candidate's model was trained on.
    """
    check_folder(out, "--out")
    if is_point_file(reference):
        check_no_studies([*studies, *(["training"] if training else [])])
        from kerasgen.zoo.point_sets.evaluate import evaluate_point_files

        return evaluate_point_files(reference, candidate, events, out, seed)
    paths = [reference, candidate, *([training] if training else [])]
    library = None
    with EventFile(reference) as real, EventFile(candidate) as generated:
        n = number_of_events(generated, events)
        check_enough(reference, real.n_events)
        check_enough(candidate, n)
        check_same_geometry(real.geometry, generated.geometry)
        parts = chosen_studies(studies, n, seed)
        stored = 0
        if training:
            with EventFile(training) as known:
                check_same_geometry(real.geometry, known.geometry)
                stored = known.n_events
        announce(real.n_events, n, 2 if training else 1, stored, parts)
        a = file_sample(real, range(real.n_events), reference_recorders(parts))
        if training:
            with EventFile(training) as known:
                every = range(known.n_events)
                library = read_library(
                    known, every, n, seed, candidate_recorders(parts, BASELINE), {}
                )
        b = file_sample(generated, range(n), candidate_recorders(parts, "candidate"))
    alike = len({Path(p).name for p in paths}) < len(paths)
    data = {p if alike else Path(p).name: checksum(p) for p in paths}
    title = f"{Path(candidate).name} against {Path(reference).name}"
    return evaluate_samples(a, {"candidate": b}, out, title, None, data, seed, parts, library)


def evaluate_run(
    name: str,
    source: str | None,
    events: int | None,
    out: Path,
    seed: int,
    calibrate: bool,
    studies: Sequence[str] = (),
) -> dict[str, Any]:
    """Generate events of a run and compare them with the held-out events of its data.

    Where the file that it was trained on is still there, also with its training events; they are
    not read if other data are given.

    Args:
        name: run folder, or a recipe that ships weights.
        source: other data than the run's, "simulate:pxd" or a file; of the run's own file only
            the held-out events are used, of another file all.
        events: to generate; None: as the run's configuration says.
        out: folder of the report.
        seed: of generation and resampling.
        calibrate: evaluate the calibrated generator too.
        studies: see ``chosen_studies``.
    """
    config = run_config(name)
    if config.architecture == SPARSE_VAE:
        from kerasgen.zoo.point_sets.evaluate import evaluate_point_run

        check_calibration(not calibrate)
        check_no_studies(studies)
        return evaluate_point_run(name, config, source, events, out, seed)
    folder = find_run(name)
    check_folder(out, "--out")
    n = events or config.evaluation.events
    parts = chosen_studies(studies, n, seed)
    from kerasgen.zoo.generate import generate_events, load  # after the checks: TensorFlow

    kinds = ("uncalibrated", "calibrated")[: 2 if calibrate else 1]
    models = {kind: load(name, kind == "calibrated") for kind in kinds}
    own = source in (None, config.data.source)
    library_file = training_events(config.data, trained_on(folder)) if own else nullcontext()
    with library_file as known:
        stored = len(known[1]) if known else 0
        announce(config.data.held_out, n, len(kinds) + bool(known), stored, parts)
        reference, data = held_out(config.data, source, reference_recorders(parts))
        geometry = reference.summary.geometry
        library = None
        if known and known[0].geometry == geometry:
            weights = {kinds[-1]: model_bytes(folder)}
            library = read_library(*known, n, seed, candidate_recorders(parts, BASELINE), weights)
    candidates = {}
    for kind, model in models.items():
        stream = tqdm(
            generate_events(model, n, seed), f"generating, {kind}", n, unit=" events", disable=None
        )
        recorders = candidate_recorders(parts, kind)(geometry, n)
        candidates[kind] = sample(_blocks(stream), geometry, recorders)
    title = f"Evaluation of {name}"
    document = evaluate_samples(
        reference, candidates, out, title, asdict(config), data, seed, parts, library
    )
    if Path(name).is_dir():
        append_line(folder / "metrics.jsonl", document, config.training.steps)
    return document


def _blocks(events: Iterator[Hits]) -> Iterator[Hits]:
    """A few events together, as metrics of pairs of events want them."""
    some: list[Hits] = []
    for hits in events:
        some.append(hits)
        if len(some) == BLOCK:
            yield concatenate(some)
            some = []
    if some:
        yield concatenate(some)


def trained_on(folder: Path) -> dict[str, str]:
    """Checksums of the data by file name, from the evaluation that ended the training of a run."""
    recorded = [line["data"] for line in read_metrics(folder) if "data" in line]
    return recorded[0] if recorded else {}


def model_bytes(folder: Path) -> int:
    """What has to be stored of a run to generate events."""
    return sum((folder / k).stat().st_size for k in (WEIGHTS, CALIBRATION) if (folder / k).exists())


def run_config(name: str) -> Any:
    """The configuration of a run folder, or of a recipe by name."""
    if Path(name).is_dir():
        return read_config(name)
    if "/" in name or Path(name).exists():
        raise InputError(f"{name}: no run folder (a run folder holds config.toml)")
    return read_config(shipped()[name]) if name in shipped() else load_config(name)


def check_no_studies(studies: Sequence[str]) -> None:
    """Raise InputError if studies of pixel hits are asked for with point sets."""
    if studies:
        raise InputError(f"--{studies[0]}: goes with events of a pixel detector, not with points")


def append_line(path: Path, document: dict[str, Any], steps: int) -> None:
    """Append one evaluation to ``metrics.jsonl``; a reader never sees half a line.

    Args:
        path: the file.
        document: content of ``metrics.json``.
        steps: of the run; used where no earlier line says how far training got.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    step = json.loads(lines[-1])["step"] if lines else steps
    lines.append(json.dumps({"step": step, **document}, allow_nan=False))
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def main(argv: list[str] | None = None) -> int:
    parser = Parser(
        prog="kerasgen evaluate",
        description="Compare generated events with real ones: metrics with real-vs-real floors, "
        "pictures, one HTML report.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder or recipe name")
    parser.add_argument("--reference", metavar="A.h5", help="real events, instead of RUN")
    parser.add_argument("--candidate", metavar="B.h5", help="generated events, instead of RUN")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="real events other than the run's; its training events are then not read",
    )
    parser.add_argument("--events", type=integer(LEAST_EVENTS), help="generated events to evaluate")
    parser.add_argument(
        "--out", type=Path, help="folder of the report (default: RUN/report or evaluation)"
    )
    parser.add_argument("--seed", type=non_negative_int, default=0)
    parser.add_argument(
        "--no-calibration", action="store_true", help="evaluate the uncalibrated generator alone"
    )
    parser.add_argument(
        "--tracking",
        action="store_true",
        help="lay the events over simulated signal tracks: resolution, efficiency, wrong hits",
    )
    parser.add_argument(
        "--networks",
        action="store_true",
        help="train networks to tell real from generated, on patches and on whole images",
    )
    parser.add_argument(
        "--training",
        metavar="T.h5",
        help="events that the candidate's model was trained on: copies of them, and their re-use "
        "as the baseline (of RUN its own)",
    )
    given = parser.parse_args(argv)
    studies = [name for name in ("tracking", "networks") if getattr(given, name)]
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
    if given.run is None:
        document = evaluate_files(
            *files,
            events=given.events,
            out=out,
            seed=given.seed,
            studies=studies,
            training=given.training,
        )
    else:
        document = evaluate_run(
            given.run,
            given.data,
            given.events,
            out,
            given.seed,
            not given.no_calibration,
            studies,
        )
    print(terminal_table(document))
    print(f"report: {out / 'report.html'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
