"""Text made from recorded metrics: the result tables of the README, and of model cards.

Both are functions of ``metrics.json`` alone, so that a test can tell whether they agree with it.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.errors import InputError
from kerasgen.evaluation.key_metrics import KEY_METRICS, PUBLISHED
from kerasgen.evaluation.report import BASELINE, verdict_line
from kerasgen.evaluation.report_rows import bias_lines, measured

BEGIN = "<!-- made by `python -m kerasgen.zoo.release`, begin -->"
END = "<!-- made by `python -m kerasgen.zoo.release`, end -->"
UNWRITTEN = "Not written yet."
TEMPLATE = f"""# {{name}}

{{description}}

{BEGIN}
{END}

## What it is for, and what not

{UNWRITTEN}

## Known failures

{UNWRITTEN}

## What was tried and did not help

{UNWRITTEN}
"""


def between_markers(text: str, content: str, where: str) -> str:
    """``text`` with ``content`` between its markers.

    Raises:
        InputError: ``where``, the file of the text, has not the two of them in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{where}: lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{content.strip()}\n\n{END}{after}"


def row(*cells: str) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join([row(*head), row(*["---"] * len(head)), *(row(*cells) for cells in rows)])


def scaled(value: float | None, error: float | None, factor: float) -> str:
    """A measured number times a factor."""
    if value is None:
        return "-"
    return measured(factor * value, None if error is None else factor * error)


def names_of(record: dict[str, Any]) -> list[str]:
    """Candidates of an evaluation, the model first and stored events after it."""
    return sorted(record["candidates"], key=lambda name: name == BASELINE)


COLUMNS = {
    "uncalibrated": "without calibration",
    "calibrated": "with calibration",
    BASELINE: "stored events, re-used",
}


def key_table(records: dict[str, dict[str, Any]]) -> str:
    """The metrics that the README shows of recipes that were judged by the same events."""
    columns = [(r, name) for r in records.values() for name in names_of(r)]
    head = [COLUMNS.get(name, name) for _, name in columns]
    if len(records) == len(columns) > 1:
        head = [f"`{name}`" for name in records]
    metrics, published, rows = columns[0][0]["metrics"], published_figures(records), []
    for metric, (label, factor, unit) in KEY_METRICS.items():
        if metric not in metrics:
            continue
        found = [record["candidates"][name]["metrics"][metric] for record, name in columns]
        cells = [scaled(m["value"], m["error"], factor) for m in found]
        cells.append(scaled(found[0]["floor"], found[0]["floor_error"], factor))
        name = f"{label}, {unit}" if unit else label
        rows.append([name, *cells, *([PUBLISHED.get(metric, "")] if published else [])])
    last = ["real against real", *(["IEA-GAN, published"] if published else [])]
    return table(["difference to held-out events", *head, *last], rows)


def results(records: dict[str, dict[str, Any]]) -> str:
    """The result section of the README, from ``metrics.json`` of recipes with released weights.

    Recipes of one kind that were judged by the same events share a table, if each has one column;
    what can be compared with published figures comes first.

    Args:
        records: content of the files by recipe.
    """
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for name, record in records.items():
        alike = [record["data"], record["events"], names_of(record), list(record["metrics"])]
        alone = name if len(names_of(record)) > 1 else ""
        groups.setdefault(f"{alone} {alike}", {})[name] = record
    parts = []
    for group in sorted(groups.values(), key=lambda g: not published_figures(g)):
        titles = [f"**[`{name}`](zoo/{name}/README.md)**, {cost(r)}" for name, r in group.items()]
        first = next(iter(group.values()))
        parts.append(f"{'; '.join(titles)}; {compared(first)}:\n\n{key_table(group)}")
        for record in group.values():
            parts += [f"Bias exceeds the statistical error, {x}." for x in model_bias(record)]
    return "\n\n".join(parts)


def published_figures(records: dict[str, dict[str, Any]]) -> bool:
    """Whether others have published figures of what these recipes are judged by."""
    return any(name in record["metrics"] for record in records.values() for name in PUBLISHED)


def compared(record: dict[str, Any]) -> str:
    """How many events are compared."""
    events = record["events"]
    return (
        f"{number(events[record['candidate']])} generated against {number(events['reference'])} "
        "held-out events"
    )


def cost(record: dict[str, Any]) -> str:
    """Steps and hours of the training."""
    training = record["training"]
    return f"{number(training['steps'])} steps in {training['hours']:.2g} h"


def number(n: int) -> str:
    """With a space between thousands, as in the tables of the documents."""
    return f"{n:,}".replace(",", " ")


def model_bias(record: dict[str, Any]) -> list[str]:
    """From how many events on the bias of the model exceeds the error of an analysis."""
    return bias_lines(record["candidates"][record["candidate"]])


def card(record: dict[str, Any]) -> str:
    """The part of a model card that follows from ``metrics.json``.

    Args:
        record: content of the file.
    """
    shipped = record["weights"]
    found = record["candidates"][record["candidate"]]
    parts = [
        "## How it was made",
        table(["", ""], [[a, b] for a, b in origin(record)]),
        f"The weights are {shipped['bytes'] / 1e6:.2g} MB: matrices in float16, vectors in "
        "float32. The metrics are those of the run, in float32.",
        "![Training curves](training.png)",
        "## What it reaches",
        f"{compared(record).capitalize()}, seed {record['config']['training']['seed'] + 1}: "
        f"{verdict_line(found)}.",
        *(f"Bias exceeds the statistical error, {line}." for line in model_bias(record)),
        metric_table(record),
        *geant4_part(record),
        *(f"![{name}]({name})" for name in record["figures"]),
    ]
    return "\n\n".join(parts)


def origin(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Data, size, cost, seed, checksums and versions."""
    config, training = record["config"], record["training"]
    data = config["data"]
    held_out = f"{number(data['held_out'])} held out"
    sums = {**record["data"], **record["weights"]["sha256"]}
    rows = [
        ("data", f"`{data['source']}`, seed {data['seed']}, {held_out}"),
        ("again", f"`kerasgen train {config['recipe']} --config config.toml` (in this folder)"),
        ("parameters", ", ".join(f"{k} {number(n)}" for k, n in record["parameters"].items())),
        (
            "training",
            f"{cost(record)} by the clock with evaluations, {number(training['seen'])} "
            f"{training['unit']}, seed {config['training']['seed']}",
        ),
        ("versions", ", ".join(f"{k} {v}" for k, v in record["versions"].items())),
    ]
    return rows + [(f"SHA-256 of {name}", f"`{digest}`") for name, digest in sums.items()]


def metric_table(record: dict[str, Any]) -> str:
    """Every metric with error and floor, of every candidate."""
    names, rows = names_of(record), []
    for metric, m in record["metrics"].items():
        found = [record["candidates"][name]["metrics"].get(metric) for name in names]
        cells = [measured(x["value"], x["error"]) if x else "-" for x in found]
        rows.append([f"`{metric}`", *cells, measured(m["floor"], m["floor_error"]), m["unit"]])
    head = ["metric", *(COLUMNS.get(n, n) for n in names), "real against real", "unit"]
    return table(head, rows)


def geant4_part(record: dict[str, Any]) -> list[str]:
    """Numbers of the detector of Geant4 events beside those of the data and of the model."""
    if "occupancy" not in record["quantities"] or not record["published"]:
        return []
    rows = []
    for name, target in record["published"].items():
        first = record["candidates"][record["candidate"]]["quantities"].get(name)
        if first is None:
            continue
        found = [record["candidates"][n]["quantities"][name] for n in names_of(record)]
        cells = [f"{x:.4g}" for x in (target, first["reference"], *(q["candidate"] for q in found))]
        rows.append([name.replace("_", " "), *cells, first["unit"]])
    head = ["", "Geant4", "held-out events", *(COLUMNS.get(n, n) for n in names_of(record)), "unit"]
    return ["Against Geant4 (10 000 events, arXiv:2303.08046):", table(head, rows)]


def geant4_numbers() -> dict[str, float]:
    """What the published Geant4 events have: mean occupancy, mean charge, variance / mean."""
    folder = resources.files("kerasgen.data.simulation")
    targets = json.loads((folder / "targets.json").read_text("utf-8"))
    counts = np.array(targets["adu"]["counts"], np.float64)
    charge = targets["adu"]["first"] + np.arange(len(counts))
    spread = targets["dispersion"]
    return {
        "occupancy": float(np.mean(targets["mean_occupancy"])),
        "adu_mean": float((counts * charge).sum() / counts.sum()),
        **{f"variance_over_mean_layer_{layer}": float(x) for layer, x in spread.items()},
    }


def records_of(zoo: Path) -> dict[str, dict[str, Any]]:
    """Content of ``metrics.json`` of every recipe that has one."""
    paths = sorted(zoo.glob("*/metrics.json"))
    return {p.parent.name: json.loads(p.read_text("utf-8")) for p in paths}
