"""Evaluate generated events against real ones: metrics.json, pictures and one HTML report.

``kerasgen evaluate RUN`` generates events and compares them with the held-out events of the run's
data, without and with calibration; ``--reference A.h5 --candidate B.h5`` compares any two files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from kerasgen.cli import Parser, check_folder, integer, non_negative_int, run
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.points import is_point_file
from kerasgen.data.store import EventFile, checksum
from kerasgen.errors import InputError
from kerasgen.metrics import memorisation
from kerasgen.metrics.compare import (
    LEAST_EVENTS,
    add_metric,
    check_enough,
    compare,
    metrics_document,
)
from kerasgen.metrics.summary import check_same_geometry
from kerasgen.tracking.comparison import TrackingComparison
from kerasgen.training.run_folder import write_bytes
from kerasgen.zoo import pictures
from kerasgen.zoo.config import SPARSE_VAE, load_config, read_config
from kerasgen.zoo.report import BASELINE, render_html, terminal_table
from kerasgen.zoo.samples import (
    BLOCK,
    Library,
    Recorder,
    Sample,
    file_sample,
    held_out,
    number_of_events,
    read_library,
    sample,
    training_events,
)
from kerasgen.zoo.trained import CALIBRATION, WEIGHTS, check_calibration

# Seconds on two cores, PXD: reading and summarising an event, and comparing a pair of samples per
# event of both.
EVENT_SECONDS, COMPARE_SECONDS = 0.06, 0.006


class Study(Protocol):
    """A part of the evaluation that follows the events of all samples and judges at the end."""

    name: str

    def reference(self, geometry: Geometry, events: int) -> Sequence[Recorder]: ...

    def candidate(self, name: str) -> Sequence[Recorder]: ...

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]: ...

    def seconds(self, events: int, candidates: int) -> float: ...


def chosen_studies(names: Sequence[str], events: int, seed: int) -> list[Study]:
    """The studies of an evaluation by name: "tracking"; "networks" are two.

    Args:
        names: of the studies.
        events: of each candidate.
        seed: of their random numbers.
    """
    studies: list[Study] = []
    if "tracking" in names:
        studies.append(TrackingComparison(events, seed))
    if "networks" in names:
        from kerasgen.metrics.sensor_scores import SensorComparison
        from kerasgen.metrics.two_sample import NetworkComparison  # imports TensorFlow

        studies += [NetworkComparison(events, seed), SensorComparison(events, seed)]
    return studies


def evaluate_hits(
    reference: Hits,
    candidates: dict[str, Hits],
    geometry: Geometry,
    out: Path,
    title: str,
    config: dict[str, Any] | None = None,
    data: dict[str, str] | None = None,
    seed: int = 0,
    library: Library | None = None,
) -> dict[str, Any]:
    """Evaluate events in memory and write the report.

    Args:
        reference: real events.
        candidates: generated events by name, as {"uncalibrated": ..., "calibrated": ...}; the last
            one is the one that counts: its metrics are those of ``metrics.json``.
        geometry: the detector of all.
        out: folder for metrics.json, report.html and the pictures; made if missing.
        title: heading of the report.
        config: resolved configuration of the run.
        data: checksums of the data by name.
        seed: of the resampling.
        library: training events, for memorisation and as the baseline "reused".

    Returns:
        The content of ``metrics.json``: the form of ``compare`` for the last candidate, and
        ``candidate`` its name, ``candidates`` {name: the same form}, ``events`` {name: number},
        ``library`` what is stored and for how many events, None without one.

    Raises:
        InputError: fewer than 4 events, no whole events, or ``out`` is a file.
    """
    check_folder(out, "--out")
    return evaluate_samples(
        sample([reference], geometry),
        {name: sample([hits], geometry) for name, hits in candidates.items()},
        out,
        title,
        config,
        data or {},
        seed,
        library=library,
    )


def evaluate_samples(
    reference: Sample,
    candidates: dict[str, Sample],
    out: Path,
    title: str,
    config: dict[str, Any] | None,
    data: dict[str, str],
    seed: int,
    studies: Sequence[Study] = (),
    library: Library | None = None,
) -> dict[str, Any]:
    """As ``evaluate_hits``, from samples whose events the studies have seen."""
    if library is not None:
        candidates = {BASELINE: library.sample} | candidates
    with tqdm(total=len(candidates) + len(studies), desc="comparing", unit="", disable=None) as bar:
        found = {}
        for name, c in candidates.items():
            found[name] = compare(reference.summary, c.summary, seed=seed)
            bar.update()
        about = {}
        if library is not None:
            about["memorised"] = memorisation.ABOUT
            for name, c in candidates.items():
                both = reference.summary.signature, c.summary.signature
                metric = memorisation.memorised(*both, library.signatures, seed)
                add_metric(found[name], "memorised", metric)
        more = {}
        for study in studies:
            more[study.name] = study.judge(found)
            about |= more[study.name].pop("about")
            bar.update()
    last = list(found)[-1]
    document = metrics_document(found[last], config, data) | {
        "candidate": last,
        "candidates": found,
        "events": {
            "reference": len(reference.summary),
            **{name: len(c.summary) for name, c in candidates.items()},
        },
        "library": library.storage if library else None,
        "about": about,
        **more,
    }
    drawn = draw(reference, candidates)
    if "tracking" in more:
        for name, caption, figure in (
            (
                "track_resolution.png",
                "Resolution of tracks (half of the middle 68 % of residuals) by momentum.",
                pictures.track_resolution,
            ),
            (
                "track_residuals.png",
                "Residuals of tracks, fitted minus true, and ratio to those under real background.",
                pictures.track_residuals,
            ),
        ):
            drawn[name] = (caption, pictures.figure_to_png(figure(more["tracking"])))
    html = render_html(title, document, drawn)
    out.mkdir(parents=True, exist_ok=True)
    for name, (_, png) in drawn.items():
        write_bytes(out / name, png)
    write_bytes(out / "report.html", html.encode())
    write_bytes(out / "metrics.json", json.dumps(document, indent=1, allow_nan=False).encode())
    return document


def draw(reference: Sample, candidates: dict[str, Sample]) -> dict[str, tuple[str, bytes]]:
    """Every picture of a report: {file name: (caption, PNG)}."""
    geometry = reference.summary.geometry
    summaries = {name: c.summary for name, c in candidates.items()}
    figures = {
        f"hits_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.png": (
            f"Hits of one event, real (left) and {name} (right); below each the framed part.",
            pictures.hit_maps(reference.example, c.example, geometry, name),
        )
        for name, c in candidates.items()
        if name != BASELINE
    }
    real = reference.summary
    figures["adu.png"] = (
        "Charge of fired pixels, and ratio to the real events.",
        pictures.adu_spectrum(real, summaries),
    )
    figures["occupancy_per_sensor.png"] = (
        "Mean occupancy of each sensor, and ratio to the real events.",
        pictures.occupancy_per_sensor(real, summaries),
    )
    figures["occupancy.png"] = (
        "Occupancy of single images, by layer.",
        pictures.occupancy_distribution(real, summaries),
    )
    figures["clusters.png"] = (
        "Size, charge and extent of clusters (fired pixels that touch, also by a corner).",
        pictures.clusters(real, summaries),
    )
    return {name: (text, pictures.figure_to_png(f)) for name, (text, f) in figures.items()}


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
        a = file_sample(real, range(real.n_events), _reference_recorders(parts))
        if training:
            with EventFile(training) as known:
                every = range(known.n_events)
                library = read_library(known, every, n, seed, _recorders(parts, BASELINE), {})
        b = file_sample(generated, range(n), _recorders(parts, "candidate"))
    data = {Path(p).name: checksum(p) for p in paths}
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

    Where the file that it was trained on is still there, also with its training events.

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
    folder = Path(name)
    check_folder(out, "--out")
    n = events or config.evaluation.events
    parts = chosen_studies(studies, n, seed)
    from kerasgen.zoo.generate import generate_events, load  # after the checks: TensorFlow

    kinds = ("uncalibrated", "calibrated")[: 2 if calibrate else 1]
    models = {kind: load(name, kind == "calibrated") for kind in kinds}
    with training_events(config.data) as known:
        stored = len(known[1]) if known else 0
        announce(config.data.held_out, n, len(kinds) + bool(known), stored, parts)
        reference, data = held_out(config.data, source, _reference_recorders(parts))
        geometry = reference.summary.geometry
        library = None
        if known and known[0].geometry == geometry:
            weights = {kinds[-1]: model_bytes(folder)} if folder.is_dir() else {}
            library = read_library(*known, n, seed, _recorders(parts, BASELINE), weights)
    candidates = {}
    for kind, model in models.items():
        stream = tqdm(
            generate_events(model, n, seed), f"generating, {kind}", n, unit=" events", disable=None
        )
        recorders = _recorders(parts, kind)(geometry, n)
        candidates[kind] = sample(_blocks(stream), geometry, recorders)
    title = f"Evaluation of {name}"
    document = evaluate_samples(
        reference, candidates, out, title, asdict(config), data, seed, parts, library
    )
    if folder.is_dir():
        append_line(folder / "metrics.jsonl", document, config.training.steps)
    return document


def _reference_recorders(studies: Sequence[Study]) -> Any:
    return lambda geometry, events: [r for s in studies for r in s.reference(geometry, events)]


def _recorders(studies: Sequence[Study], name: str) -> Any:
    return lambda geometry, events: [r for s in studies for r in s.candidate(name)]


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


def model_bytes(folder: Path) -> int:
    """What has to be stored of a run to generate events."""
    return sum((folder / k).stat().st_size for k in (WEIGHTS, CALIBRATION) if (folder / k).exists())


def announce(
    real: int, generated: int, candidates: int, stored: int, studies: Sequence[Study]
) -> None:
    """Print what an evaluation costs before it starts, generation itself apart.

    Args:
        real: events of the reference.
        generated: events of each candidate.
        candidates: their number.
        stored: training events to look through.
        studies: that are to be done.
    """
    all_events = real + candidates * generated
    parts = {
        "events": EVENT_SECONDS * all_events + 0.2 * EVENT_SECONDS * stored,
        "metrics": COMPARE_SECONDS * candidates * (real + generated),
    }
    parts |= {s.name: s.seconds(real, candidates) for s in studies}
    each = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in parts.items())
    print(
        f"{real} real and {candidates} x {generated} events: about {sum(parts.values()):.0f} s "
        f"for PXD events on two cores ({each})",
        flush=True,
    )


def run_config(name: str) -> Any:
    """The configuration of a run folder, or of a recipe by name."""
    if Path(name).is_dir():
        return read_config(name)
    if "/" in name or Path(name).exists():
        raise InputError(f"{name}: no run folder (a run folder holds config.toml)")
    return load_config(name)


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
    parser.add_argument("--data", metavar="SOURCE", help="real events other than the run's")
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
