"""``kerasgen evaluate`` for point sets: metrics with floors, pictures, one HTML report."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.cli import check_folder
from kerasgen.data.points import PointFile, PointForm, PointSets, concatenate
from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.metrics.compare import metrics_document
from kerasgen.metrics.point_sets import (
    compare_sets,
    jet_metrics,
    jet_sample,
    superpixel_metrics,
    superpixel_sample,
)
from kerasgen.training.data import cache_folder
from kerasgen.training.point_data import point_file, read_sets
from kerasgen.training.run_folder import append_metrics, write_bytes
from kerasgen.zoo.pictures import figure_to_png
from kerasgen.zoo.point_sets import pictures
from kerasgen.zoo.point_sets.config import PointEvaluationSettings, VAEConfig
from kerasgen.zoo.point_sets.generate import generated_blocks
from kerasgen.zoo.report import render_html
from kerasgen.zoo.trained import is_point_model, shipped

OF_FILES = PointEvaluationSettings()  # the batches of COV and MMD where no run says others


def evaluate_trained(
    trained: Any,
    training: PointSets,
    held_out: PointSets,
    file: PointFile,
    out: Path,
    events: int | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Generated against held-out sets, into ``out`` and ``metrics.jsonl``.

    Args:
        trained: ``TrainedPoints``.
        training: real sets to train the classifier of superpixels on.
        held_out: real sets to compare with.
        file: of both.
        out: folder of the report.
        events: sets to generate; None: as the configuration says.
        seed: of the generated sets; None: the next after that of the training.
    """
    from kerasgen.training.point_monitor import reconstructed_sets

    config: VAEConfig = trained.config
    n = events or config.evaluation.events
    generated = generate_sets(trained.generator, range(n), seed or config.training.seed + 1)
    rebuilt = reconstructed_sets(trained.generator, held_out.take(slice(0, pictures.SHOWN)))
    document = evaluate_sets(
        held_out, generated, training, trained.form, out, f"{config.recipe}: {trained.name}",
        config.evaluation, asdict(config), {file.path.name: checksum(file.path)}, rebuilt,
    )  # fmt: skip
    if trained.folder not in shipped().values():  # those stay as they were recorded
        append_metrics(trained.folder, config.training.steps + config.prior.steps, document)
    return document


def generate_sets(generator: Any, events: range, seed: int) -> PointSets:
    """Generated sets of these event numbers, computed a block at a time."""
    return concatenate(generated_blocks(generator, events, seed, "generating"))


def evaluate_sets(
    real: PointSets,
    generated: PointSets,
    training: PointSets,
    form: PointForm,
    out: Path,
    title: str,
    coverage: PointEvaluationSettings,
    config: dict[str, Any] | None,
    data: dict[str, str],
    rebuilt: PointSets | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare two samples and write metrics.json, report.html and the pictures."""
    check_folder(out, "--out")
    jets = form.name == "jets"
    if jets:
        a, b = (jet_sample(x) for x in (real, generated))
        metrics = jet_metrics(coverage.batch, coverage.batches)
    else:
        from kerasgen.metrics.classifier import train_classifier

        several = len(np.unique(training.label)) > 1  # one class teaches a classifier nothing
        n = len(form.classes)
        classify = train_classifier(training, n, cache=cache_folder()) if several else None
        a, b = (superpixel_sample(x, classify) for x in (real, generated))
        metrics = superpixel_metrics(coverage.batch, coverage.batches, judged=several)
    found = compare_sets(a, b, metrics, seed)
    document = metrics_document(found, config, data) | {
        "candidate": "generated",
        "candidates": {"generated": found},
        "events": {"reference": len(real), "generated": len(generated)},
    }
    drawn = draw(real, generated, rebuilt, form)
    contents = {name: png for name, (_, png) in drawn.items()}
    contents["report.html"] = render_html(title, document, drawn).encode()
    contents["metrics.json"] = json.dumps(document, indent=1, allow_nan=False).encode()
    for name, content in contents.items():
        write_bytes(out / name, content)
    return document


def draw(
    real: PointSets, generated: PointSets, rebuilt: PointSets | None, form: PointForm
) -> dict[str, tuple[str, bytes]]:
    """Every picture of a report: {file name: (caption, PNG)}."""
    jets = form.name == "jets"
    figures = {
        "features.png": (
            "Distributions of points and sets: real (grey) and generated.",
            pictures.features(real, {"generated": generated}, jets),
        ),
        "classes.png": (
            "Generated sets by class.",
            pictures.by_class(generated, form.classes, jets),
        ),
    }
    if rebuilt is not None:
        figures["sets.png"] = (
            "Real sets, their reconstruction, and generated sets (which have nothing to do with "
            "the ones above them).",
            pictures.side_by_side(real, rebuilt, generated, pictures.SHOWN, jets),
        )
    return {name: (text, figure_to_png(figure)) for name, (text, figure) in figures.items()}


def evaluate_point_run(
    name: str, config: VAEConfig, source: str | None, events: int | None, out: Path, seed: int
) -> dict[str, Any]:
    """Generate sets of a run and compare them with the held-out sets of its data.

    Args:
        name: run folder, or a recipe that ships weights.
        config: its configuration.
        source: other data than the run's.
        events, out, seed: as in ``evaluate_trained``.
    """
    from kerasgen.zoo.point_sets.trained import load_trained_points
    from kerasgen.zoo.trained import find_run

    trained = load_trained_points(find_run(name))
    settings = replace(config.data, source=source) if source else config.data
    with point_file(settings) as file:
        if file.form.name != trained.form.name:
            raise InputError(
                f"{file.path}: holds {file.form.name}, {name} is of {trained.form.name}"
            )
        training, held_out = read_sets(file, settings)
        return evaluate_trained(trained, training, held_out, file, out, events, seed)


def check_same_form(reference: str, form: PointForm, candidate: str, other: PointForm) -> None:
    """Raise InputError unless sets of two sources mean the same."""
    if (form.name, form.coordinates) != (other.name, other.coordinates):
        raise InputError(f"{reference} holds {form.name}, {candidate} {other.name}")


def evaluate_point_files(
    reference: str, candidate: str, events: int | None, out: Path, seed: int
) -> dict[str, Any]:
    """Compare two kerasgen HDF5 files of point sets, or a file and an exported model.

    Of a file the first ``events`` are used; a model generates ``events``, or as many as the
    reference has.
    """
    with PointFile(reference) as real:
        a, form = real.read(0, len(real)), real.form
    if is_point_model(Path(candidate)):
        from kerasgen.serving.point_model import load_exported_points  # imports TensorFlow

        model = load_exported_points(Path(candidate))
        name, version = f"{model.name} (exported)", model.identity
        check_same_form(reference, form, candidate, model.form)
        b = generate_sets(model, range(events or len(a)), seed)
    else:
        name, version = Path(candidate).name, checksum(candidate)
        with PointFile(candidate) as file:
            check_same_form(reference, form, candidate, file.form)
            if events is not None and events > len(file):
                raise InputError(f"{candidate}: has {len(file)} sets, {events} were asked for")
            b = file.read(0, events or len(file))
    size = min(a.points.shape[1], b.points.shape[1])
    if a.points.shape[1] != b.points.shape[1]:
        raise InputError(f"sets of at most {a.points.shape[1]} and of {size} points do not compare")
    alike = name == Path(reference).name
    data = {(reference if alike else Path(reference).name): checksum(reference)}
    data[candidate if alike else name] = version
    title = f"{name} against {Path(reference).name}"
    half = np.arange(len(a)) % 2 == 0  # of superpixels: half trains the classifier
    training, held_out = (a, a) if form.name == "jets" else (a.take(half), a.take(~half))
    return evaluate_sets(held_out, b, training, form, out, title, OF_FILES, None, data, seed=seed)
