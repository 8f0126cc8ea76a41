"""Evaluate generated events against real ones: metrics.json, pictures and one HTML report.

``kerasgen evaluate RUN`` generates events and compares them with the held-out events of the run's
data, without and with calibration; ``--reference A.h5 --candidate B.h5`` compares any two files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from kerasgen.cli import Parser, check_folder, integer, non_negative_int, run
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.points import is_point_file
from kerasgen.data.store import EventFile, checksum
from kerasgen.errors import InputError
from kerasgen.metrics.compare import LEAST_EVENTS, check_enough, compare, metrics_document
from kerasgen.metrics.summary import Summary, check_same_geometry, join, summarise
from kerasgen.tracking.comparison import TrackingComparison
from kerasgen.training.data import division, event_file, event_path
from kerasgen.training.run_folder import write_bytes
from kerasgen.zoo import pictures
from kerasgen.zoo.config import SPARSE_VAE, DataSettings, load_config, read_config
from kerasgen.zoo.report import render_html, terminal_table
from kerasgen.zoo.trained import check_calibration

BLOCK = 16  # events of a file that are in memory at a time
GENERATED_BLOCK = 256  # events of a generator: its model is built anew for each block


class Recorder(Protocol):
    """Sees events pass."""

    def add(self, hits: Hits, /) -> None: ...


class Study(Protocol):
    """A part of the evaluation that follows the events of all samples and judges at the end."""

    name: str

    def reference(self, geometry: Geometry, events: int) -> Sequence[Recorder]: ...

    def candidate(self, name: str) -> Sequence[Recorder]: ...

    def judge(self, found: dict[str, dict[str, Any]]) -> dict[str, Any]: ...


def chosen_studies(names: Sequence[str], events: int, seed: int) -> list[Study]:
    """The studies of an evaluation by name: "tracking", "networks".

    Args:
        names: of the studies.
        events: of each candidate.
        seed: of their random numbers.
    """
    studies: list[Study] = []
    if "tracking" in names:
        studies.append(TrackingComparison(events, seed))
    if "networks" in names:
        from kerasgen.metrics.two_sample import NetworkComparison  # imports TensorFlow

        studies.append(NetworkComparison(events, seed))
    return studies


@dataclass(frozen=True)
class Sample:
    """The summary of some events, and one of them to be shown."""

    summary: Summary
    example: Hits


def sample(
    blocks: Iterable[Hits], geometry: Geometry, recorders: Sequence[Recorder] = ()
) -> Sample:
    """Summarise whole events that arrive in blocks; memory holds one block at a time.

    Args:
        blocks: of events.
        geometry: the detector.
        recorders: see the same events pass.
    """
    parts, example = [], None
    for hits in blocks:
        if example is None:
            example = first_event(hits, geometry)
        parts.append(summarise(hits, geometry))
        for recorder in recorders:
            recorder.add(hits)
    if example is None:
        raise InputError("nothing to evaluate: no events")
    return Sample(join(parts), example)


def first_event(hits: Hits, geometry: Geometry) -> Hits:
    """The images of the first event."""
    return hits.take(np.arange(min(len(hits), len(geometry.sensors))))


def evaluate_hits(
    reference: Hits,
    candidates: dict[str, Hits],
    geometry: Geometry,
    out: Path,
    title: str,
    config: dict[str, Any] | None = None,
    data: dict[str, str] | None = None,
    seed: int = 0,
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

    Returns:
        The content of ``metrics.json``: the form of ``compare`` for the last candidate, and
        ``candidate`` its name, ``candidates`` {name: the same form}, ``events`` {name: number}.

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
) -> dict[str, Any]:
    """As ``evaluate_hits``, from samples whose events the studies have seen."""
    found = {
        name: compare(reference.summary, c.summary, seed=seed) for name, c in candidates.items()
    }
    more = {study.name: study.judge(found) for study in studies}
    last = list(found)[-1]
    document = metrics_document(found[last], config, data) | {
        "candidate": last,
        "candidates": found,
        "events": {
            "reference": len(reference.summary),
            **{name: len(c.summary) for name, c in candidates.items()},
        },
    }
    drawn = draw(reference, candidates)
    if more:
        about = {k: text for study in more.values() for k, text in study.pop("about").items()}
        document |= {**more, "about": about}
    if "tracking" in more:
        caption = "Resolution of tracks (half of the middle 68 % of residuals) by momentum."
        png = pictures.figure_to_png(pictures.track_resolution(more["tracking"]))
        drawn["tracking.png"] = (caption, png)
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
) -> dict[str, Any]:
    """Compare two kerasgen HDF5 files of any length; of the candidate the first ``events``."""
    check_folder(out, "--out")
    if is_point_file(reference):
        check_no_studies(studies)
        from kerasgen.zoo.point_sets.evaluate import evaluate_point_files

        return evaluate_point_files(reference, candidate, events, out, seed)
    with EventFile(reference) as real, EventFile(candidate) as generated:
        n = number_of_events(generated, events)
        check_enough(reference, real.n_events)
        check_enough(candidate, n)
        check_same_geometry(real.geometry, generated.geometry)
        parts = chosen_studies(studies, n, seed)
        recorders = [r for s in parts for r in s.reference(real.geometry, real.n_events)]
        a = sample(_file_blocks(real, 0, real.n_events), real.geometry, recorders)
        recorders = [r for s in parts for r in s.candidate("candidate")]
        b = sample(_file_blocks(generated, 0, n), generated.geometry, recorders)
    data = {Path(p).name: checksum(p) for p in (reference, candidate)}
    title = f"{Path(candidate).name} against {Path(reference).name}"
    return evaluate_samples(a, {"candidate": b}, out, title, None, data, seed, parts)


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
    reference, data = held_out(config.data, source, parts)
    geometry = reference.summary.geometry
    from kerasgen.zoo.generate import generate_hits  # after the checks: it imports TensorFlow

    candidates = {}
    for kind in ("uncalibrated", "calibrated")[: 2 if calibrate else 1]:
        blocks = (
            generate_hits(
                name,
                events=min(GENERATED_BLOCK, n - start),
                seed=seed,
                first_event=start,
                calibrated=kind == "calibrated",
            )
            for start in range(0, n, GENERATED_BLOCK)
        )
        recorders = [r for s in parts for r in s.candidate(kind)]
        candidates[kind] = sample(blocks, geometry, recorders)
    title = f"Evaluation of {name}"
    document = evaluate_samples(
        reference, candidates, out, title, asdict(config), data, seed, parts
    )
    if folder.is_dir():
        append_line(folder / "metrics.jsonl", document, config.training.steps)
    return document


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


def held_out(
    settings: DataSettings, source: str | None, studies: Sequence[Study] = ()
) -> tuple[Sample, dict[str, str]]:
    """The real events that training never saw, and the checksum of their file.

    Args:
        settings: data section of the configuration.
        source: another source instead of that of the settings.
        studies: their recorders of the reference see the events.
    """
    chosen = source or settings.source
    n, unseen, seed, types = settings.events, settings.held_out, settings.seed, settings.channels
    own = chosen == settings.source
    trained_on = own and event_path(chosen, n, seed).exists()
    # Without the cache of the training, no more is simulated than is needed.
    events, first = (n, 0) if trained_on else (unseen, n - unseen if own else 0)
    with event_file(chosen, events, seed, types, first) as file:
        used = division(file, n, unseen)[1] if trained_on else range(file.n_events)
        check_enough(chosen, len(used))
        recorders = [r for s in studies for r in s.reference(file.geometry, len(used))]
        found = sample(_file_blocks(file, used.start, used.stop), file.geometry, recorders)
    return found, {file.path.name: checksum(file.path)}


def number_of_events(file: EventFile, wanted: int | None) -> int:
    """Events to use of a file."""
    if wanted is not None and wanted > file.n_events:
        raise InputError(f"{file.path}: has {file.n_events} events, {wanted} were asked for")
    return wanted or file.n_events


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


def _file_blocks(file: EventFile, start: int, stop: int) -> Iterator[Hits]:
    """Events of a file a few at a time, with a progress bar on a terminal."""
    with tqdm(total=stop - start, desc=file.path.name, unit=" events", disable=None) as bar:
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            yield file.read_events(first, last)
            bar.update(last - first)


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
    given = parser.parse_args(argv)
    studies = [name for name in ("tracking", "networks") if getattr(given, name)]
    files = given.reference, given.candidate
    if given.run is None and None in files:
        raise InputError("give RUN, or both --reference A.h5 and --candidate B.h5")
    if given.run is not None and files != (None, None):
        raise InputError("give RUN or two files, not both")
    if given.run is None and (given.data or given.no_calibration):
        raise InputError("--data and --no-calibration go with RUN, not with two files")
    in_run = given.run is not None and Path(given.run).is_dir()
    out = given.out or (Path(given.run) / "report" if in_run else Path("evaluation"))
    if given.run is None:
        document = evaluate_files(
            *files, events=given.events, out=out, seed=given.seed, studies=studies
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
