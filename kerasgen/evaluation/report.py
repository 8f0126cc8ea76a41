"""Presentation of an evaluation: a table for the terminal and one HTML page.

Both begin with the verdict and the key metrics. The page contains its figures and style: it needs
no network and no other file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from textwrap import wrap
from typing import Any

from jinja2 import Environment, StrictUndefined

from kerasgen.evaluation.key_metrics import sort_of
from kerasgen.evaluation.report_rows import (
    baseline_rows,
    bias_lines,
    class_table,
    jetnet_table,
    quantity_row,
    scaled_with_error,
    tracking_tables,
    value_with_error,
)
from kerasgen.evaluation.systematic import systematic
from kerasgen.metrics.pixel import METRICS
from kerasgen.metrics.verdict import sigmas_above

BASELINE = "bootstrap"  # candidate of training events, drawn with replacement
MARKS = {True: "within", False: "outside", None: "no floor"}
COLUMNS = 100  # of the terminal table
LEADING = 4  # figures beside the verdict; the others are folded


def render_html(title: str, document: dict[str, Any], figures: dict[str, tuple[str, bytes]]) -> str:
    """Render the report as HTML.

    Args:
        title: heading.
        document: content of ``metrics.json``.
        figures: PNG files with their captions, {file name: (caption, bytes)}; the first four are
            shown beside the verdict.
    """
    text = (resources.files("kerasgen.evaluation") / "report.html.j2").read_text("utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    names = _baseline_last(document)
    document = document | {"candidates": {name: document["candidates"][name] for name in names}}
    shown = [
        (name, caption, base64.b64encode(png).decode("ascii"))
        for name, (caption, png) in figures.items()
    ]
    return template.from_string(text).render(
        title=title,
        document=document,
        names=names,
        baseline_name=BASELINE,
        verdict=verdict_sentence(document),
        noun=sort_of(document["metrics"]).noun,
        keys=key_rows(document, names),
        verdicts=[(n, compatible_metrics(document["candidates"][n])) for n in names],
        metrics=[_metric_row(document, name) for name in document["metrics"]],
        quantities=[quantity_row(document, name) for name in document["quantities"]],
        biases={n: bias_lines(document["candidates"][n]) for n in names},
        within={n: within_floor(document["candidates"][n]) for n in names},
        baseline=baseline_rows(document),
        leading=shown[:LEADING],
        figures=shown[LEADING:],
        classes=class_table(document),
        jetnet=jetnet_table(document),
        tracking=tracking_tables(document),
        systematic=systematic(document),
        config=json.dumps(document["config"], indent=2),
    )


def terminal_table(document: dict[str, Any]) -> str:
    """Format the verdict, and the key metrics of every candidate, as plain text.

    No line is longer than ``COLUMNS``, whatever the names and numbers are.
    """
    lines = wrap(verdict_sentence(document), COLUMNS)
    names = _baseline_last(document)
    rows = key_rows(document, names)
    for i, name in enumerate(names):
        lines += wrap(f"{_cut(name)}: {compatible_metrics(document['candidates'][name])}", COLUMNS)
        table = [("difference to real events", "value", "real against real", "")]
        table += [(r.title, c.value, c.floor, c.mark) for r in rows for c in r.cells[i : i + 1]]
        lines += aligned(table)
        first = max(len(cells[0]) for cells in table)
        lines += [f"  {r.title.ljust(first)}  {r.unmeasured}" for r in rows if r.unmeasured]
    published = jetnet_table(document)
    if published:
        head = ("metric", "value", "real against real")
        lines += [published["title"], *aligned([head, *published["rows"]])]
    return "\n".join(lines)


def aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table with aligned columns, indented."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  " + "  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table]


def _cut(name: str) -> str:
    """The name of a candidate, at most half a line long."""
    name = " ".join(name.split())
    return name if len(name) <= COLUMNS // 2 else f"{name[: COLUMNS // 2 - 3]}..."


@dataclass(frozen=True)
class Cell:
    """A metric of a candidate: value, real against real, and whether they are compatible."""

    value: str
    floor: str
    mark: str


@dataclass(frozen=True)
class KeyRow:
    """A key metric of all candidates.

    Attributes:
        name, title: of the metric; the title has its unit.
        cells: one per candidate; none if it was not measured.
        unmeasured: says so; empty if it was measured.
    """

    name: str
    title: str
    cells: list[Cell]
    unmeasured: str


def key_rows(document: dict[str, Any], names: list[str]) -> list[KeyRow]:
    """Rows of the key metrics: those measured first, in the order of their list.

    Args:
        document: content of ``metrics.json``.
        names: of the candidates.
    """
    rows = []
    for name, key in sort_of(document["metrics"]).metrics.items():
        if name in document["metrics"]:
            found = [document["candidates"][c]["metrics"][name] for c in names]
            cells = [_cell(m, key.factor) for m in found]
            rows.append(KeyRow(name, key.title, cells, ""))
        else:
            why = f"not measured: {key.option}" if key.option else "not measured"
            rows.append(KeyRow(name, key.title, [], why))
    return sorted(rows, key=lambda row: bool(row.unmeasured))


def _cell(metric: dict[str, Any], factor: float = 1) -> Cell:
    value, floor = (
        scaled_with_error(metric[x], metric[error], factor)
        for x, error in (("value", "error"), ("floor", "floor_error"))
    )
    return Cell(value, floor, MARKS[metric["within"]])


def verdict_sentence(document: dict[str, Any]) -> str:
    """Say in one sentence whether the last candidate differs from the real events, and where most.

    Args:
        document: content of ``metrics.json``.
    """
    found = document["candidates"][document["candidate"]]
    noun = sort_of(found["metrics"]).noun
    judged = [name for name, m in found["metrics"].items() if m["within"] is not None]
    outside = [name for name in judged if not found["metrics"][name]["within"]]
    counted = f"{len(outside)} of {len(judged)} metrics"
    exceed = "exceeds" if len(outside) == 1 else "exceed"
    if found["verdict"] == "within floor":
        real, generated = (document["events"][x] for x in ("reference", document["candidate"]))
        chance = f"; {counted} {exceed} this spread, as is expected by chance" if outside else ""
        return (
            f"No difference is seen between {generated} generated and {real} real {noun}: they "
            f"agree within the spread between parts of the real {noun}{chance}."
        )
    return (
        f"Generated {noun} differ from real ones: {counted} {exceed} the spread between parts of "
        f"the real {noun}{_most_significant(found['metrics'], outside)}."
    )


def _most_significant(metrics: dict[str, Any], outside: list[str]) -> str:
    """The key metric that is farthest outside, with its value; another one if no key metric is."""
    keys = sort_of(metrics).metrics
    known = [name for name in outside if name in keys]
    if not outside:
        return ""
    # Higher is better for some metrics, whose excess is negative.
    worst = max(known or outside, key=lambda name: abs(sigmas_above(metrics[name])))
    m = metrics[worst]
    if worst in keys:
        key = keys[worst]
        value = f"{scaled_with_error(m['value'], m['error'], key.factor)} {key.unit}".rstrip()
        return f"; the key metric farthest beyond it is {key.label}, {value}"
    value = f"{value_with_error(m['value'], m['error'])} {m['unit']}".rstrip()
    return f", no key metric among them; farthest beyond it is {worst.replace('_', ' ')}, {value}"


def compatible_metrics(found: dict[str, Any]) -> str:
    """Format the number of metrics that are compatible with real against real.

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


def _baseline_last(document: dict[str, Any]) -> list[str]:
    """Names of the candidates, the bootstrap baseline last."""
    return sorted(document["candidates"], key=lambda name: name == BASELINE)


def _metric_row(document: dict[str, Any], name: str) -> dict[str, Any]:
    about = document.get("about", {}).get(name)
    about = about or (METRICS[name][0].__doc__ or "").strip().splitlines()[0]
    unit = document["metrics"][name]["unit"]
    cells = [_cell(found["metrics"][name]) for found in document["candidates"].values()]
    return {"name": name, "about": about, "unit": unit, "cells": cells}
