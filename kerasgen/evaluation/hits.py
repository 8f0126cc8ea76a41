"""Evaluation of pixel hits: from samples to metrics.json, figures and the report."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kerasgen.command import check_folder
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.evaluation import hit_figures, track_figures
from kerasgen.evaluation.figure_style import figure_to_png
from kerasgen.evaluation.report import BASELINE, render_html
from kerasgen.evaluation.samples import Baseline, Sample, summarise_blocks
from kerasgen.evaluation.studies import Study
from kerasgen.metrics import cluster_memorisation, cluster_repeats, memorisation
from kerasgen.metrics.cluster_memorisation import memorised_by_event
from kerasgen.metrics.cluster_repeats import add_repeats
from kerasgen.metrics.compare import add_metric, compare, metrics_document
from kerasgen.run_folder import write_bytes


def evaluate_hits(
    reference: Hits,
    candidates: dict[str, Hits],
    geometry: Geometry,
    out: Path,
    title: str,
    config: dict[str, Any] | None = None,
    data: dict[str, str] | None = None,
    seed: int = 0,
    baseline: Baseline | None = None,
) -> dict[str, Any]:
    """Evaluate events in memory and write the report.

    Args:
        reference: real events.
        candidates: generated events by name, as {"uncalibrated": ..., "calibrated": ...}; the last
            one is the model that is judged: its metrics are those of ``metrics.json``.
        geometry: the detector.
        out: folder for metrics.json, report.html and the figures; made if missing.
        title: heading of the report.
        config: resolved configuration of the run.
        data: checksums of the data by name.
        seed: of the resampling.
        baseline: training events, for memorisation and as the candidate "bootstrap".

    Returns:
        The content of ``metrics.json``: the fields of ``compare`` for the last candidate, and
        ``candidate`` its name, ``candidates`` {name: the same fields}, ``events`` {name: number},
        ``baseline`` the storage of the training events, None without them. The bootstrap baseline
        has no verdict (None).

    Raises:
        InputError: fewer than 4 events, no whole events, or ``out`` is a file.
    """
    check_folder(out, "--out")
    return evaluate_samples(
        summarise_blocks([reference], geometry),
        {name: summarise_blocks([hits], geometry) for name, hits in candidates.items()},
        out,
        title,
        config,
        data or {},
        seed,
        baseline=baseline,
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
    baseline: Baseline | None = None,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate samples whose events the studies have seen; see ``evaluate_hits``.

    Args:
        reference: real events.
        candidates: generated events by name; the last one is the model that is judged.
        out, title, config, data, seed, baseline: as of ``evaluate_hits``.
        studies: further studies, which have recorded the events of all samples.
        remarks: see ``metrics_document``.
    """
    if baseline is not None:
        candidates = {BASELINE: baseline.sample} | candidates
    with tqdm(total=len(candidates) + len(studies), desc="comparing", unit="", disable=None) as bar:
        found = {}
        sensors = len(reference.summary.geometry.sensors)
        for name, c in candidates.items():
            found[name] = compare(reference.summary, c.summary, seed=seed)
            add_repeats(found[name], reference.clusters, c.clusters, sensors)
            bar.update()
        about = dict(cluster_repeats.ABOUT)
        if baseline is not None:
            about["memorised"] = memorisation.ABOUT
            about["cluster_memorised"] = cluster_memorisation.ABOUT
            real = memorised_by_event(reference.clusters, baseline.clusters, seed)
            for name, c in candidates.items():
                both = reference.summary.signature, c.summary.signature
                metric = memorisation.memorised(*both, baseline.signatures, seed)
                add_metric(found[name], "memorised", metric)
                made = memorised_by_event(c.clusters, baseline.clusters, seed)
                metric = cluster_memorisation.cluster_memorised(real, made, seed)
                add_metric(found[name], "cluster_memorised", metric)
        more = {}
        for study in studies:
            more[study.name] = study.judge(found)
            about |= more[study.name].pop("about")
            bar.update()
    if baseline is not None:
        found[BASELINE]["verdict"] = None  # it repeats training events by construction
    last = list(found)[-1]
    document = metrics_document(found[last], config, data, remarks) | {
        "candidate": last,
        "candidates": found,
        "events": {
            "reference": len(reference.summary),
            **{name: len(c.summary) for name, c in candidates.items()},
        },
        "baseline": baseline.storage if baseline else None,
        "about": about,
        **more,
    }
    figures = report_figures(reference, candidates)
    if "tracking" in more:
        for name, caption, figure in (
            (
                "track_resolution.png",
                "Resolution of tracks (half width of the central 68 % of residuals) by momentum.",
                track_figures.track_resolution,
            ),
            (
                "track_residuals.png",
                "Residuals of tracks, fitted minus true, and ratio to those under real background.",
                track_figures.track_residuals,
            ),
        ):
            figures[name] = (caption, figure_to_png(figure(more["tracking"])))
    html = render_html(title, document, figures)
    for name, (_, png) in figures.items():
        write_bytes(out / name, png)
    write_bytes(out / "report.html", html.encode())
    write_bytes(out / "metrics.json", json.dumps(document, indent=1, allow_nan=False).encode())
    return document


def report_figures(
    reference: Sample, candidates: dict[str, Sample]
) -> dict[str, tuple[str, bytes]]:
    """Figures of a report without studies, the four beside the verdict first.

    Returns:
        {file name: (caption, PNG)}.
    """
    geometry = reference.summary.geometry
    summaries = {name: c.summary for name, c in candidates.items()}
    real, last = reference.summary, list(candidates)[-1]
    figures = {
        "hits.png": (
            f"Hits of one sensor in one event, real (left) and {last} (right); below, the framed "
            "part. A spot of the whole sensor is the highest charge of several pixels.",
            hit_figures.hit_maps(
                reference.example, candidates[last].example, geometry, last, layers=1
            ),
        ),
        "adu.png": (
            "Charge of fired pixels, and ratio to the real events.",
            hit_figures.adu_spectrum(real, summaries),
        ),
        "cluster_size.png": (
            "Number of pixels of a cluster (fired pixels that touch, also by a corner), and ratio "
            "to the real events.",
            hit_figures.cluster_sizes(real, summaries),
        ),
        "occupancy_per_sensor.png": (
            "Mean occupancy of each sensor, and ratio to the real events.",
            hit_figures.sensor_occupancies(real, summaries),
        ),
    }
    for name, c in candidates.items():
        if name != BASELINE:
            figures[f"hits_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.png"] = (
                f"Hits of one event, real (left) and {name} (right), with the framed part below.",
                hit_figures.hit_maps(reference.example, c.example, geometry, name),
            )
    figures["occupancy.png"] = (
        "Occupancy of single images, by layer.",
        hit_figures.occupancy_distribution(real, summaries),
    )
    figures["clusters.png"] = (
        "Size, charge and extent of clusters.",
        hit_figures.cluster_distributions(real, summaries),
    )
    return {name: (text, figure_to_png(f)) for name, (text, f) in figures.items()}
