"""An evaluation as a reader sees it: a table for the terminal and one HTML page.

The page holds its pictures and its style; it opens without a network and can be sent by mail.
"""

from __future__ import annotations

import base64
import json
import math
from importlib import resources
from itertools import pairwise
from typing import Any

from jinja2 import Environment, StrictUndefined

from kerasgen.metrics.pixel import METRICS

MARKS = {True: "within", False: "outside", None: "no floor"}


def render_html(
    title: str, document: dict[str, Any], pictures: dict[str, tuple[str, bytes]]
) -> str:
    """The report.

    Args:
        title: heading.
        document: content of ``metrics.json``.
        pictures: PNG files with their captions, {file name: (caption, bytes)}.
    """
    text = (resources.files("kerasgen.zoo") / "report.html.j2").read_text("utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    names = list(document["candidates"])
    return template.from_string(text).render(
        title=title,
        document=document,
        names=names,
        verdicts=[(n, verdict_line(document["candidates"][n])) for n in names],
        metrics=[_metric_row(document, name) for name in document["metrics"]],
        quantities=[_quantity_row(document, name) for name in document["quantities"]],
        pictures=[
            (name, caption, base64.b64encode(png).decode("ascii"))
            for name, (caption, png) in pictures.items()
        ],
        tracking=_tracking(document),
        config=json.dumps(document["config"], indent=2),
    )


def terminal_table(document: dict[str, Any]) -> str:
    """The metrics of every candidate as aligned plain text."""
    lines = []
    for name, found in document["candidates"].items():
        rows = [("metric", "value", "real vs real", "", "unit")]
        rows += [
            (
                metric,
                measured(m["value"], m["error"]),
                measured(m["floor"], m["floor_error"]),
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
    """One line: the verdict, and how many metrics are compatible with real against real."""
    judged = [m for m in found["metrics"].values() if m["within"] is not None]
    within = sum(m["within"] for m in judged)
    counted = f"{within} of {len(judged)} metrics compatible with real against real (3 sigma)"
    return f"{found['verdict']}, {counted}"


def measured(value: float | None, error: float | None) -> str:
    """``value ± error`` with two digits of the error; "-" where not defined."""
    if value is None:
        return "-"
    if error is None or not error > 0:
        return f"{value:.3g}"
    if error < 1e-3:
        power = math.floor(math.log10(max(abs(value), error)))
        digits = max(0, power - math.floor(math.log10(error)) + 1)
        scale = 10.0**power
        return f"({value / scale:.{digits}f} ± {error / scale:.{digits}f})e{power}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _metric_row(document: dict[str, Any], name: str) -> dict[str, Any]:
    cells = []
    for found in document["candidates"].values():
        m = found["metrics"][name]
        cells.append(
            {
                "value": measured(m["value"], m["error"]),
                "floor": measured(m["floor"], m["floor_error"]),
                "mark": MARKS[m["within"]],
            }
        )
    about = document.get("about", {}).get(name)
    about = about or (METRICS[name][0].__doc__ or "").strip().splitlines()[0]
    unit = document["metrics"][name]["unit"]
    return {"name": name, "about": about, "unit": unit, "cells": cells}


def _quantity_row(document: dict[str, Any], name: str) -> dict[str, Any]:
    real = document["quantities"][name]["reference"]
    cells = []
    for found in document["candidates"].values():
        value = found["quantities"][name]["candidate"]
        known = value is not None and real
        change = f"{round(100 * (value / real - 1), 1) + 0.0:+.1f} %" if known else "-"
        cells.append({"value": _number(value), "change": change})
    unit = document["quantities"][name]["unit"]
    return {
        "name": name.replace("_", " "),
        "unit": unit,
        "real": _number(real),
        "cells": cells,
    }


def _tracking(document: dict[str, Any]) -> dict[str, Any] | None:
    """The table of tracks under each background, by bins of momentum and by layers."""
    found = document.get("tracking")
    if found is None:
        return None
    edges = found["pt_edges"]
    bins = [f"pT {a:g} to {b:g} GeV" for a, b in pairwise(edges)]
    kinds = (
        ("d0", "d0 resolution", "um", bins),
        ("z0", "z0 resolution", "um", bins),
        ("efficiency", "right cluster attached", "share", None),
        ("wrong", "wrong among attached clusters", "share", None),
    )
    rows = []
    for key, name, unit, labels in kinds:
        values = [case[key] for case in found["cases"].values()]
        for k in range(len(values[0])):
            label = labels[k] if labels else f"pixel layer {k + 1}"
            cells = [measured(*v[k]) for v in values]
            rows.append({"name": f"{name}, {label}", "unit": unit, "cells": cells})
    changes = [
        f"{candidate}: "
        + ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
        for candidate, shares in found["effect"].items()
    ]
    tracks = next(iter(found["cases"].values()))["tracks"]
    note = (
        f"{tracks} tracks of each kind, the same for every background; resolution is half of the "
        "middle 68 % of fitted minus true. Difference between generated and real background, as a "
        f"share of what real background changes: {'; '.join(changes)}."
    )
    return {"cases": list(found["cases"]), "rows": rows, "note": note}


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
