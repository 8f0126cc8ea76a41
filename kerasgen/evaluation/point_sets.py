"""Evaluation of point sets: from samples to metrics.json, figures and the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from kerasgen.command import check_folder
from kerasgen.config import MAX_INT, Range
from kerasgen.data.cache import cache_folder, writable_cache
from kerasgen.data.points import PointSchema, PointSets
from kerasgen.evaluation import point_figures
from kerasgen.evaluation.figure_style import figure_to_png
from kerasgen.evaluation.report import render_html
from kerasgen.metrics.compare import metrics_document
from kerasgen.metrics.jetnet_w1 import BATCH, BATCHES, jetnet_w1
from kerasgen.metrics.point_sets import (
    Sample,
    compare_sets,
    jet_metrics,
    jet_sample,
    superpixel_metrics,
    superpixel_sample,
    take_sets,
)
from kerasgen.run_folder import write_bytes


@dataclass(frozen=True)
class PointEvaluationSettings:
    """The evaluation at the end of a run.

    Attributes:
        events: number of generated sets that are compared with the held-out ones.
        batches: number of batches over which COV and MMD are averaged.
        batch: number of real sets, and of generated sets, of a batch.
    """

    events: Annotated[int, Range(100, MAX_INT)] = 10000
    batches: Annotated[int, Range(2, MAX_INT)] = 10
    batch: Annotated[int, Range(2, MAX_INT)] = 100


MIN_OF_CLASS = 1000  # jets of a class in each sample, for metrics of its own
WITHOUT_RUN = PointEvaluationSettings()  # for two files


def evaluate_sets(
    real: PointSets,
    generated: PointSets,
    training: PointSets,
    schema: PointSchema,
    out: Path,
    title: str,
    coverage: PointEvaluationSettings,
    config: dict[str, Any] | None,
    data: dict[str, str],
    reconstructed: PointSets | None = None,
    seed: int = 0,
    remarks: Sequence[str] = (),
    networks: bool = False,
) -> dict[str, Any]:
    """Compare two samples and write metrics.json, report.html and the figures.

    Args:
        real: held-out sets.
        generated: generated sets.
        training: sets that train the classifier of superpixels.
        schema: coordinates and classes of the sets.
        out: folder of the report; made if missing.
        title: heading of the report.
        coverage: batches of COV and MMD.
        config: resolved configuration of the run, None without one.
        data: checksums of the data by name.
        reconstructed: reconstructions of the first real sets; None without them.
        seed: of the resampling.
        remarks: see ``metrics_document``.
        networks: whether a network is trained to tell real from generated jets.

    Returns:
        The content of ``metrics.json``.
    """
    check_folder(out, "--out")
    jets = schema.name == "jets"
    if jets:
        a, b = (jet_sample(x) for x in (real, generated))
        metrics = jet_metrics(coverage.batch, coverage.batches, networks)
    else:
        from kerasgen.metrics.classifier import train_classifier

        several = len(np.unique(training.label)) > 1  # one class teaches a classifier nothing
        n = len(schema.classes)
        with writable_cache():
            classify = train_classifier(training, n, cache=cache_folder()) if several else None
        a, b = (superpixel_sample(x, classify) for x in (real, generated))
        metrics = superpixel_metrics(coverage.batch, coverage.batches, judged=several)
    found = compare_sets(a, b, metrics, seed)
    document = metrics_document(found, config, data, remarks) | {
        "candidate": "generated",
        "candidates": {"generated": found},
        "events": {"reference": len(real), "generated": len(generated)},
    }
    if jets:
        document["jetnet"] = {
            "batches": BATCHES, "batch": BATCH, "metrics": jetnet_w1(a, b, seed)
        }  # fmt: skip
        document["classes"] = metrics_by_class(a, b, schema.classes, coverage, seed)
    figures = report_figures(real, generated, reconstructed, schema)
    if jets:
        figures["substructure.png"] = (
            "N-subjettiness ratios tau2 / tau1 and tau3 / tau2, and D2: real (grey) and generated.",
            figure_to_png(point_figures.substructure_distributions(a, {"generated": b})),
        )
    contents = {name: png for name, (_, png) in figures.items()}
    contents["report.html"] = render_html(title, document, figures).encode()
    contents["metrics.json"] = json.dumps(document, indent=1, allow_nan=False).encode()
    for name, content in contents.items():
        write_bytes(out / name, content)
    return document


def metrics_by_class(
    real: Sample,
    generated: Sample,
    names: tuple[str, ...],
    coverage: PointEvaluationSettings,
    seed: int,
) -> dict[str, Any]:
    """The metrics of each class of jets: {class: {metric: value, error, floor ...}}.

    Args:
        real, generated: of ``jet_sample``, with ``label``.
        names: of the classes, by label.
        coverage: batches of COV and MMD.
        seed: of the resampling.

    Returns:
        Empty with one class alone; a class of which either sample has fewer than
        ``MIN_OF_CLASS`` jets is left out.
    """
    labels = np.union1d(real["label"], generated["label"])
    found = {}
    for label in labels if len(labels) > 1 else ():
        a, b = (take_sets(x, np.flatnonzero(x["label"] == label)) for x in (real, generated))
        if min(len(a["label"]), len(b["label"])) >= MIN_OF_CLASS and label < len(names):
            metrics = jet_metrics(coverage.batch, coverage.batches)
            found[names[label]] = compare_sets(a, b, metrics, seed)["metrics"]
    return found


def report_figures(
    real: PointSets, generated: PointSets, reconstructed: PointSets | None, schema: PointSchema
) -> dict[str, tuple[str, bytes]]:
    """Figures of a report, the four beside the verdict first: {file name: (caption, PNG)}."""
    jets = schema.name == "jets"
    sets = {"generated": generated}
    figures = {
        "examples.png": (
            "The first real sets (left) and generated sets (right).",
            point_figures.example_sets(real, generated, jets),
        )
    }
    leading = point_figures.LEADING_JETS if jets else point_figures.LEADING_SUPERPIXELS
    for name, (label, caption) in leading.items():
        figure = point_figures.feature_distribution(real, sets, jets, label)
        figures[f"{name}.png"] = (caption, figure)
    figures |= {
        "features.png": (
            "Distributions of points and sets: real (grey) and generated.",
            point_figures.feature_distributions(real, sets, jets),
        ),
        "classes.png": (
            "Generated sets by class.",
            point_figures.sets_by_class(generated, schema.classes, jets),
        ),
    }
    if reconstructed is not None:
        rows = {"input": real, "reconstruction": reconstructed, "generated": generated}
        figures["sets.png"] = (
            "Real sets, their reconstructions, and generated sets, which are independent of the "
            "sets above them.",
            point_figures.side_by_side(rows, point_figures.SHOWN, jets),
        )
    return {name: (text, figure_to_png(figure)) for name, (text, figure) in figures.items()}
