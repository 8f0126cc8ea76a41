"""What generated in place of simulated background does to tracks, as a paper can quote it."""

from __future__ import annotations

from typing import Any

from kerasgen.evaluation.report_rows import value_with_error

# Quantity: name in the table, name in a sentence, unit.
TITLES = {
    "hit_efficiency": ("pixel hits found", "the pixel hit efficiency", ""),
    "wrong_hit_rate": ("wrong among attached hits", "the rate of wrong hits on tracks", ""),
    "ghost_seeds": ("ghost seeds per event", "the number of ghost track seeds", ""),
    "d0_resolution": ("d0 resolution", "the d0 resolution", "um"),
    "z0_resolution": ("z0 resolution", "the z0 resolution", "um"),
}


def systematic(document: dict[str, Any]) -> dict[str, Any] | None:
    """Table and sentence of the candidate that is judged; None without tracks.

    The systematic uncertainty of a quantity is its difference or the error of that, whichever is
    larger.

    Args:
        document: of ``evaluate_samples``, with the study "tracking".

    Returns:
        ``rows``: (quantity, real, generated, difference, uncertainty), formatted; ``sentence``.
    """
    if "tracking" not in document:
        return None
    rows, parts = [], []
    for name, (title, in_sentence, unit) in TITLES.items():
        q = document["quantities"].get(name)
        if q is None or None in (q["reference"], q["candidate"], q["difference_error"]):
            continue
        gap, error = q["candidate"] - q["reference"], q["difference_error"]
        real, made = (value_with_error(q[k], q[f"{k}_error"]) for k in ("reference", "candidate"))
        with_unit = f" {unit}" if unit else ""
        gap_text = f"{'+' if gap >= 0 else ''}{value_with_error(gap, error)}"
        size = max(abs(gap), error)
        uncertainty = f"{size:.0f}" if size >= 100 else f"{size:.2g}{with_unit}"
        rows.append((f"{title}{f' ({unit})' if unit else ''}", real, made, gap_text, uncertainty))
        if name == "ghost_seeds":  # a number that says nothing without the detector
            gap_text = f"({gap_text}) of {q['reference']:.0f}"
            uncertainty = f"{100 * size / q['reference']:.2g} %"
        parts.append((in_sentence, f"{gap_text}{with_unit}", uncertainty))
    cases = document["tracking"]["cases"]
    tracks = next(iter(cases.values()))["tracks"]
    events = document["events"][document["candidate"]]
    changes = _listed([f"{name} by {change}" for name, change, _ in parts])
    sizes = _listed([f"{size} for {name}" for name, _, size in parts])
    sentence = (
        f"Generated in place of simulated background ({events} events each, {tracks} tracks) "
        f"changes {changes}; we take the larger of each difference and its uncertainty, {sizes}, "
        "as the systematic uncertainty of the background."
    )
    return {"rows": rows, "sentence": sentence}


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def systematic_text(found: dict[str, Any]) -> str:
    """The table and the sentence of ``systematic`` for a terminal."""
    head = ("tracks", "simulated", "generated", "difference", "systematic")
    rows = [head, *found["rows"]]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, found["sentence"]])
