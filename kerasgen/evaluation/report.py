"""Presentation of an evaluation: a table for the terminal and one HTML page.

The page contains its figures and style: it needs no network and no other file.
"""

from __future__ import annotations

import base64
import json
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from kerasgen.evaluation.report_rows import (
    baseline_rows,
    bias_lines,
    quantity_row,
    tracking_tables,
    value_with_error,
)
from kerasgen.metrics.pixel import METRICS

BASELINE = "bootstrap"  # candidate of training events, drawn with replacement
MARKS = {True: "within", False: "outside", None: "no floor"}


def render_html(title: str, document: dict[str, Any], figures: dict[str, tuple[str, bytes]]) -> str:
    """Render the report as HTML.

    Args:
        title: heading.
        document: content of ``metrics.json``.
        figures: PNG files with their captions, {file name: (caption, bytes)}.
    """
    text = (resources.files("kerasgen.evaluation") / "report.html.j2").read_text("utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    names = sorted(document["candidates"], key=lambda name: name == BASELINE)
    document = document | {"candidates": {name: document["candidates"][name] for name in names}}
    return template.from_string(text).render(
        title=title,
        document=document,
        names=names,
        baseline_name=BASELINE,
        verdicts=[(n, verdict_line(document["candidates"][n])) for n in names],
        metrics=[_metric_row(document, name) for name in document["metrics"]],
        quantities=[quantity_row(document, name) for name in document["quantities"]],
        biases={n: bias_lines(document["candidates"][n]) for n in names},
        within={n: within_floor(document["candidates"][n]) for n in names},
        baseline=baseline_rows(document),
        figures=[
            (name, caption, base64.b64encode(png).decode("ascii"))
            for name, (caption, png) in figures.items()
        ],
        tracking=tracking_tables(document),
        config=json.dumps(document["config"], indent=2),
    )


def terminal_table(document: dict[str, Any]) -> str:
    """Format the metrics of every candidate as aligned plain text."""
    lines = []
    for name, found in document["candidates"].items():
        rows = [("metric", "value", "real vs real", "", "unit")]
        rows += [
            (
                metric,
                value_with_error(m["value"], m["error"]),
                value_with_error(m["floor"], m["floor_error"]),
                MARKS[m["within"]],
                m["unit"],
            )
            for metric, m in found["metrics"].items()
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines.append(f"{name}: {verdict_line(found)}")
        lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def verdict_line(found: dict[str, Any]) -> str:
    """Format the verdict and the number of metrics that are compatible with real against real.

    The bootstrap baseline has no verdict: its metrics of copies are outside by construction.
    """
    judged = [m for m in found["metrics"].values() if m["within"] is not None]
    within = sum(m["within"] for m in judged)
    counted = f"{within} of {len(judged)} metrics compatible with real against real (3 sigma)"
    verdict = found["verdict"] or "no verdict, because a bootstrap sample repeats events"
    return f"{verdict}, {counted}"


def within_floor(found: dict[str, Any]) -> list[str]:
    """Names of the metrics that are compatible with real against real."""
    return [name for name, m in found["metrics"].items() if m["within"]]


def _metric_row(document: dict[str, Any], name: str) -> dict[str, Any]:
    cells = []
    for found in document["candidates"].values():
        m = found["metrics"][name]
        cells.append(
            {
                "value": value_with_error(m["value"], m["error"]),
                "floor": value_with_error(m["floor"], m["floor_error"]),
                "mark": MARKS[m["within"]],
            }
        )
    about = document.get("about", {}).get(name)
    about = about or (METRICS[name][0].__doc__ or "").strip().splitlines()[0]
    unit = document["metrics"][name]["unit"]
    return {"name": name, "about": about, "unit": unit, "cells": cells}
