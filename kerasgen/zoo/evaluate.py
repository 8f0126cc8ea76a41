"""Evaluate generated events against real ones: metrics.json, pictures and one HTML report.

``kerasgen evaluate RUN`` generates events and compares them with the held-out events of the run's
data, without and with calibration; ``--reference A.h5 --candidate B.h5`` compares any two files,
or a file and an exported model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kerasgen.cli import Parser, check_folder, integer, non_negative_int, positive_int, run
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.points import is_point_file
from kerasgen.data.store import EventFile, checksum
from kerasgen.errors import InputError
from kerasgen.metrics.compare import LEAST_EVENTS, check_enough
from kerasgen.metrics.summary import check_same_geometry
from kerasgen.tracking.study import TRACKS
from kerasgen.training.run_folder import read_metrics, write_bytes
from kerasgen.zoo.config import SPARSE_VAE, load_config, read_config
from kerasgen.zoo.evaluation import evaluate_samples
from kerasgen.zoo.report import BASELINE, terminal_table
from kerasgen.zoo.samples import (
    BLOCK,
    file_blocks,
    file_sample,
    held_out,
    held_out_events,
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
from kerasgen.zoo.trained import (
    CALIBRATION,
    WEIGHTS,
    check_calibration,
    find_run,
    is_exported,
    shipped,
)


@dataclass(frozen=True)
class Candidate:
    """Events to be judged.

    Attributes:
        name: of the file or model.
        geometry: the detector.
        n: number of events.
        blocks: the events, a few at a time.
        checksum: of the file; of a model, of its weights and calibration.
    """

    name: str
    geometry: Geometry
    n: int
    blocks: Iterator[Hits]
    checksum: str


@contextmanager
def open_candidate(
    source: str, events: int | None, seed: int, reference: int
) -> Iterator[Candidate]:
    """The events of a file, or of an exported model.

    Args:
        source: kerasgen HDF5 file, or the folder of an exported model.
        events: None for all of a file; of a model as many as the reference has.
        seed: of generation.
        reference: events of the reference.
    """
    if not is_exported(Path(source)):
        with EventFile(source) as file:
            n = number_of_events(file, events)
            blocks = file_blocks(file, range(n))
            yield Candidate(Path(source).name, file.geometry, n, blocks, checksum(source))
        return
    from kerasgen.zoo.generate import load  # imports TensorFlow

    model = load(source, calibrated=True)
    n = events or reference
    yield Candidate(
        f"{model.name} (exported)", model.geometry, n, generated(model, n, seed, "generating"),
        model.identity,
    )  # fmt: skip


def evaluate_files(
    reference: str,
    candidate: str,
    events: int | None,
    out: Path,
    seed: int,
    studies: Sequence[str] = (),
    training: str | None = None,
    tracks: int = TRACKS,
) -> dict[str, Any]:
    """Compare two kerasgen HDF5 files of any length, or a file and an exported model.

    Args:
        reference: file of real events.
        candidate: file of generated events, of which the first ``events`` are used; or the folder
            of an exported model, which generates them.
        events: None for all; of a model, as many as there are real ones.
        out: folder of the report.
        seed: of generation and resampling.
        studies: see ``chosen_studies``.
        training: file of the events that the candidate's model was trained on.
        tracks: see ``chosen_studies``.
    """
    check_folder(out, "--out")
    if is_point_file(reference):
        check_no_studies([*studies, *(["training"] if training else [])])
        from kerasgen.zoo.point_sets.evaluate import evaluate_point_files

        return evaluate_point_files(reference, candidate, events, out, seed)
    paths = [reference, *([training] if training else [])]
    library = None
    with (
        EventFile(reference) as real,
        open_candidate(candidate, events, seed, real.n_events) as made,
    ):
        n = made.n
        check_enough(reference, real.n_events)
        check_enough(candidate, n)
        check_same_geometry(real.geometry, made.geometry)
        parts = chosen_studies(studies, n, seed, tracks)
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
        seen = candidate_recorders(parts, "candidate")(made.geometry, n)
        b = sample(made.blocks, made.geometry, seen)
    alike = len({made.name, *(Path(p).name for p in paths)}) <= len(paths)
    data = {p if alike else Path(p).name: checksum(p) for p in paths}
    data[candidate if alike else made.name] = made.checksum
    title = f"{made.name} against {Path(reference).name}"
    return evaluate_samples(a, {"candidate": b}, out, title, None, data, seed, parts, library)


def evaluate_run(
    name: str,
    source: str | None,
    events: int | None,
    out: Path,
    seed: int,
    calibrate: bool,
    studies: Sequence[str] = (),
    tracks: int = TRACKS,
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
        studies, tracks: see ``chosen_studies``.
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
    parts = chosen_studies(studies, n, seed, tracks)
    from kerasgen.zoo.generate import load  # after the checks: TensorFlow

    kinds = ("uncalibrated", "calibrated")[: 2 if calibrate else 1]
    models = {kind: load(name, kind == "calibrated") for kind in kinds}
    own = source in (None, config.data.source)
    library_file = training_events(config.data, trained_on(folder)) if own else nullcontext()
    with library_file as known:
        stored = len(known[1]) if known else 0
        real = held_out_events(config.data, source)
        announce(real, n, len(kinds) + bool(known), stored, parts)
        reference, data = held_out(config.data, source, reference_recorders(parts))
        geometry = reference.summary.geometry
        library = None
        if known and known[0].geometry == geometry:
            weights = {kinds[-1]: model_bytes(folder)}
            library = read_library(*known, n, seed, candidate_recorders(parts, BASELINE), weights)
    candidates = {}
    for kind, model in models.items():
        recorders = candidate_recorders(parts, kind)(geometry, n)
        stream = generated(model, n, seed, f"generating, {kind}")
        candidates[kind] = sample(stream, geometry, recorders)
    title = f"Evaluation of {name}"
    document = evaluate_samples(
        reference, candidates, out, title, asdict(config), data, seed, parts, library
    )
    if Path(name).is_dir():
        append_line(folder / "metrics.jsonl", document, config.training.steps)
    return document


def generated(model: Any, n: int, seed: int, name: str) -> Iterator[Hits]:
    """Events of a model, with a progress bar: a few together, as metrics of pairs want them."""
    from kerasgen.zoo.generate import generate_events  # imports TensorFlow

    some: list[Hits] = []
    for hits in tqdm(generate_events(model, n, seed), name, n, unit=" events", disable=None):
        some.append(hits)
        if len(some) == BLOCK:
            yield concatenate(some)
            some = []
    if some:
        yield concatenate(some)


def trained_on(folder: Path) -> dict[str, str]:
    """Checksums of the data by file name, from the evaluation that ended the training of a run.

    Of a recipe that ships weights, from its recorded metrics.
    """
    from kerasgen.serving.saved_model import last_report  # imports TensorFlow

    recorded = [line["data"] for line in read_metrics(folder) if "data" in line]
    return recorded[0] if recorded else last_report(folder).get("data", {})


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
    parser.add_argument(
        "--candidate",
        metavar="B.h5",
        help="generated events, or the folder of an exported model, instead of RUN",
    )
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
        "--tracks",
        type=positive_int,
        help=f"signal tracks of --tracking (default: {TRACKS})",
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
    if given.tracks and not given.tracking:
        raise InputError("--tracks goes with --tracking")
    tracks = given.tracks or TRACKS
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
            tracks=tracks,
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
            tracks,
        )
    print(terminal_table(document))
    print(f"report: {out / 'report.html'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
