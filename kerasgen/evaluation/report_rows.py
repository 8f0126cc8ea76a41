"""Rows of the tables of a report: numbers with errors, biases, tracks, bootstrap baseline."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

# Quantities that an analysis depends on; the others describe the sample.
OF_PIXELS = ("fired_per_event", "adu_mean", "cluster_size_u", "cluster_size_v", "cluster_charge")
OF_TRACKS = ("d0_resolution", "z0_resolution", "hit_efficiency", "wrong_hit_rate")
WIDEST = 24  # characters of a number with its error
SIZES = (1000, 100_000, 10_000_000)  # numbers of events, for the table of the bootstrap baseline


def value_with_error(value: float | None, error: float | None) -> str:
    """Format ``value ± error`` with two digits of the error; "-" where not defined.

    Small and large numbers have a power of ten. Nothing is longer than ``WIDEST``.
    """
    if value is None:
        return "-"
    if error is None or not error > 1e-12 * abs(value):  # none, or rounding alone
        return f"{value:.3g}"
    short = f"{value:.5g} ± {error:.1g}"
    if not math.isfinite(value) or not math.isfinite(error):
        return short
    largest = max(abs(value), error)
    scaled = largest >= 1e6 or (error < 1e-3 and abs(value) < 0.1)
    power = max(math.floor(math.log10(largest)), -300) if scaled else 0
    digits = max(0, power - math.floor(math.log10(error)) + 1)
    scale = 10.0**power
    text = f"{value / scale:.{digits}f} ± {error / scale:.{digits}f}"
    text = f"({text})e{power}" if scaled else text
    return text if len(text) <= WIDEST else short


def scaled_with_error(value: float | None, error: float | None, factor: float) -> str:
    """Format a value and its error, both times a factor; "-" where not defined."""
    if value is None:
        return "-"
    return value_with_error(factor * value, None if error is None else factor * error)


def quantity_row(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Row of a quantity: its value in each sample, and the events from which its bias counts."""
    of_last = document["quantities"][name]
    real = of_last["reference"]
    cells = []
    for found in document["candidates"].values():
        q = found["quantities"][name]
        value = q["candidate"]
        known = value is not None and real
        change = f"{round(100 * (value / real - 1), 1) + 0.0:+.1f} %" if known else "-"
        cells.append(
            {
                "value": value_with_error(value, q.get("candidate_error")),
                "change": change,
                "events": _events(q),
            }
        )
    return {
        "name": name.replace("_", " "),
        "unit": of_last["unit"],
        "real": value_with_error(real, of_last.get("reference_error")),
        "cells": cells,
    }


def jetnet_table(document: dict[str, Any]) -> dict[str, Any] | None:
    """Table of W1 as the JetNet library computes it; None without jets."""
    found = document.get("jetnet")
    if found is None:
        return None
    rows = [
        (
            name,
            value_with_error(m["value"], m["error"]),
            value_with_error(m["floor"], m["floor_error"]),
        )
        for name, m in found["metrics"].items()
    ]
    jets = f"{found['batch']:,}".replace(",", " ")
    title = f"W1 of {found['batches']} batches of {jets} jets drawn with replacement, as JetNet's"
    return {"title": title, "rows": rows}


def class_table(document: dict[str, Any]) -> dict[str, Any] | None:
    """Table of the metrics of each class of sets, or type of hits; None without any.

    A cell is the value, and in brackets that of real against real.
    """
    of_types = document.get("types", {}).get("metrics")
    classes = document.get("classes") or of_types
    if not classes:
        return None
    names = next(iter(classes.values()))
    rows = [
        (
            name,
            *(
                f"{value_with_error(m['value'], m['error'])} "
                f"({value_with_error(m['floor'], m['floor_error'])})"
                for m in (metrics[name] for metrics in classes.values())
            ),
        )
        for name in names
    ]
    title = f"Metrics by {'type of hits' if of_types else 'class'} (real against real)"
    return {"title": title, "names": list(classes), "rows": rows}


def bias_lines(found: dict[str, Any]) -> list[str]:
    """Lines on the number of events from which the bias of a candidate exceeds the error.

    Args:
        found: comparison of the candidate.
    """
    lines = []
    for kind, names in (("pixels", OF_PIXELS), ("tracks", OF_TRACKS)):
        known = {n: q for n in names if (q := found["quantities"].get(n, {})).get("events")}
        seen = {n: q["events"] for n, q in known.items() if q["seen"]}
        if seen:
            first = min(seen, key=lambda n: seen[n])
            others = ", ".join(
                f"{n.replace('_', ' ')} {format_events(seen[n])}"
                for n in sorted(seen, key=lambda n: seen[n])
            )
            events = f"{format_events(seen[first])} events"
            start = "the first event" if seen[first] <= 1 else events
            lines.append(f"{kind}: from {start} on ({others})")
        elif known:
            least = min(q["events"] for q in known.values())
            excluded = f"excluded up to {format_events(least)} events (95 %)"
            limit = excluded if least >= 2 else "none excluded"
            lines.append(f"{kind}: no bias seen, {limit}")
    return lines


def baseline_rows(document: dict[str, Any]) -> dict[str, Any] | None:
    """Rows on storage and statistics of the bootstrap baseline and of the model."""
    stored = document.get("baseline")
    if stored is None:
        return None
    model = stored["models"].get(document["candidate"])
    kept = stored["events"]
    biased = bias_lines(document["candidates"][document["candidate"]])
    rows = [
        ("stored", f"{kept} events, {megabytes(stored['bytes'])}", megabytes(model)),
        (
            "stored per event, of 100 000 events",
            *(bytes_per_event(b) for b in (stored["bytes"], model)),
        ),
        ("statistics per event, of few events", "1", "1"),
    ]
    at_most = "at most " if model is None else ""  # the model behind a file is not known
    for n in SIZES:
        rows.append(
            (
                f"independent events in {format_events(n)}",
                format_events(1 / (1 / n + 1 / kept)),
                at_most + format_events(n),
            )
        )
    rows.append(("bias exceeds the statistical error", "never", "; ".join(biased) or "-"))
    return {"rows": rows, "kilobytes": stored["bytes_per_event"] / 1000}


def megabytes(size: float | None) -> str:
    """Format bytes as MB; "-" where unknown."""
    return "-" if size is None else f"{size / 1e6:.3g} MB"


def bytes_per_event(size: float | None) -> str:
    """Format bytes divided by 100 000 events; "-" where unknown."""
    return "-" if size is None else f"{size / 1e5:.3g} bytes"


def format_events(n: float) -> str:
    """Format a number of events with two digits."""
    if n < 1:
        return "1"
    digits = 10 ** max(0, math.floor(math.log10(n)) - 1)
    return f"{round(n / digits) * digits:,.0f}".replace(",", " ")


def _events(q: dict[str, Any]) -> str:
    if q.get("events") is None:
        return "-"
    return format_events(q["events"]) if q["seen"] else f"> {format_events(q['events'])}"


def tracking_tables(document: dict[str, Any]) -> dict[str, Any] | None:
    """Tables of tracks under each background, by momentum and layer; None without tracks."""
    found = document.get("tracking")
    if found is None:
        return None
    bins = [f"pT {a:g} to {b:g} GeV" for a, b in pairwise(found["pt_edges"])]
    kinds = (
        ("d0", "d0 resolution", "um", bins),
        ("z0", "z0 resolution", "um", bins),
        ("efficiency", "right cluster attached", "fraction", None),
        ("wrong", "wrong among attached clusters", "fraction", None),
    )
    rows = []
    for key, name, unit, labels in kinds:
        values = [case[key] for case in found["cases"].values()]
        for k in range(len(values[0])):
            label = labels[k] if labels else f"pixel layer {k + 1}"
            cells = [value_with_error(*v[k]) for v in values]
            rows.append({"name": f"{name}, {label}", "unit": unit, "cells": cells})
    tracks = next(iter(found["cases"].values()))["tracks"]
    note = (
        f"{tracks} tracks, the same under each background; the resolution is the half width of "
        "the central 68 % of fitted minus true; errors come from resampling background events."
    )
    frechet = [(f"{a} - {b}", value_with_error(v, e)) for a, b, v, e in found["frechet"]]
    return {
        "cases": list(found["cases"]),
        "rows": rows,
        "note": note,
        "frechet": frechet,
    }
