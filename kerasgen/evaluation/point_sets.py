"""Samples of real and generated point sets to metrics.json, figures and the report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from kerasgen.command import check_folder
from kerasgen.config import MAX_INT, Range
from kerasgen.data.cache import cache_folder
from kerasgen.data.points import PointSchema, PointSets
from kerasgen.evaluation import point_figures
from kerasgen.evaluation.figure_style import figure_to_png
from kerasgen.evaluation.report import render_html
from kerasgen.metrics.compare import metrics_document
from kerasgen.metrics.point_sets import (
    compare_sets,
    jet_metrics,
    jet_sample,
    superpixel_metrics,
    superpixel_sample,
)
from kerasgen.run_folder import write_bytes


@dataclass(frozen=True)
class PointEvaluationSettings:
    """The evaluation at the end of a run.

    Attributes:
        events: generated sets, compared with the held-out ones.
        batches: how many batches COV and MMD are the mean of.
        batch: real sets, and as many generated ones, of such a batch.
    """

    events: Annotated[int, Range(100, MAX_INT)] = 10000
    batches: Annotated[int, Range(2, MAX_INT)] = 10
    batch: Annotated[int, Range(2, MAX_INT)] = 100


WITHOUT_RUN = PointEvaluationSettings()  # the batches of COV and MMD where no run says others


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
    rebuilt: PointSets | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare two samples and write metrics.json, report.html and the point_figures."""
    check_folder(out, "--out")
    jets = schema.name == "jets"
    if jets:
        a, b = (jet_sample(x) for x in (real, generated))
        metrics = jet_metrics(coverage.batch, coverage.batches)
    else:
        from kerasgen.metrics.classifier import train_classifier

        several = len(np.unique(training.label)) > 1  # one class teaches a classifier nothing
        n = len(schema.classes)
        classify = train_classifier(training, n, cache=cache_folder()) if several else None
        a, b = (superpixel_sample(x, classify) for x in (real, generated))
        metrics = superpixel_metrics(coverage.batch, coverage.batches, judged=several)
    found = compare_sets(a, b, metrics, seed)
    document = metrics_document(found, config, data) | {
        "candidate": "generated",
        "candidates": {"generated": found},
        "events": {"reference": len(real), "generated": len(generated)},
    }
    drawn = draw(real, generated, rebuilt, schema)
    contents = {name: png for name, (_, png) in drawn.items()}
    contents["report.html"] = render_html(title, document, drawn).encode()
    contents["metrics.json"] = json.dumps(document, indent=1, allow_nan=False).encode()
    for name, content in contents.items():
        write_bytes(out / name, content)
    return document


def draw(
    real: PointSets, generated: PointSets, rebuilt: PointSets | None, schema: PointSchema
) -> dict[str, tuple[str, bytes]]:
    """Every picture of a report: {file name: (caption, PNG)}."""
    jets = schema.name == "jets"
    figures = {
        "features.png": (
            "Distributions of points and sets: real (grey) and generated.",
            point_figures.features(real, {"generated": generated}, jets),
        ),
        "classes.png": (
            "Generated sets by class.",
            point_figures.by_class(generated, schema.classes, jets),
        ),
    }
    if rebuilt is not None:
        figures["sets.png"] = (
            "Real sets, their reconstruction, and generated sets (which have nothing to do with "
            "the ones above them).",
            point_figures.side_by_side(real, rebuilt, generated, point_figures.SHOWN, jets),
        )
    return {name: (text, figure_to_png(figure)) for name, (text, figure) in figures.items()}
