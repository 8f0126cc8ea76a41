"""Result tables of README and ``docs/results.md``, and generated parts of model cards.

All are functions of ``metrics.json`` alone, so that a test can compare them with it.
"""

from __future__ import annotations

import json
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.errors import InputError
from kerasgen.evaluation.key_metrics import PUBLISHED, KeyMetric, sort_of
from kerasgen.evaluation.report import BASELINE, verdict_sentence
from kerasgen.evaluation.report_rows import bias_lines, scaled_with_error, value_with_error

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
    """Replace what stands between the two markers of a text.

    Args:
        text: with the markers.
        content: new text between them.
        where: file of the text, for the message.

    Raises:
        InputError: the text does not have both markers in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{where}: lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{content.strip()}\n\n{END}{after}"


def markdown_row(*cells: str) -> str:
    """Format cells as a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(markdown_row(*cells) for cells in lines)


def ordered_candidates(record: dict[str, Any]) -> list[str]:
    """Names of the candidates of an evaluation, the bootstrap baseline last."""
    return sorted(record["candidates"], key=lambda name: name == BASELINE)


COLUMN_TITLES = {
    "uncalibrated": "without calibration",
    "calibrated": "with calibration",
    BASELINE: "bootstrap baseline",
}


def key_table(records: dict[str, dict[str, Any]]) -> str:
    """Format the key metrics of recipes that were evaluated with the same events.

    Args:
        records: content of ``metrics.json`` by recipe.
    """
    columns = [(r, name) for r in records.values() for name in ordered_candidates(r)]
    head = [COLUMN_TITLES.get(name, name) for _, name in columns]
    if len(records) == len(columns) > 1:
        head = [f"`{name}`" for name in records]
    metrics, published, rows = columns[0][0]["metrics"], have_published_numbers(records), []
    for metric, key in sort_of(metrics).metrics.items():
        if metric not in metrics:
            continue
        found = [record["candidates"][name]["metrics"][metric] for record, name in columns]
        cells = [scaled_with_error(m["value"], m["error"], key.factor) for m in found]
        cells.append(scaled_with_error(found[0]["floor"], found[0]["floor_error"], key.factor))
        rows.append([key.title, *cells, *([PUBLISHED.get(metric, "")] if published else [])])
    last = ["real against real", *(["IEA-GAN, published"] if published else [])]
    return markdown_table(["difference to held-out events", *head, *last], rows)


# The README shows the first two of these that a model has.
README_METRICS = (
    "occupancy_per_sensor",
    "auc_images",
    "cluster_charge_w1",
    "w1m",
    "fpd",
    "misclassified",
    "cov",
)


def results_table(records: dict[str, dict[str, Any]]) -> str:
    """Format the result table of the README, one row per model.

    Args:
        records: content of ``metrics.json`` by recipe.
    """
    rows = []
    for name, record in sorted(records.items(), key=published_first):
        found = record["candidates"][record["candidate"]]
        judged = [m["within"] for m in found["metrics"].values() if m["within"] is not None]
        keys = sort_of(found["metrics"]).metrics
        shown = [x for x in README_METRICS if x in found["metrics"]][:2]
        columns = zip(
            *(metric_with_floor(keys[x], found["metrics"][x]) for x in shown), strict=True
        )
        rows.append(
            [
                f"[`{name}`](zoo/{name}/README.md)",
                *("<br>".join(lines) for lines in columns),
                f"{sum(judged)} of {len(judged)}",
            ]
        )
    head = ["model", "metric", "generated", "real against real", "metrics at the floor"]
    return markdown_table(head, rows)


def metric_with_floor(key: KeyMetric, metric: dict[str, Any]) -> tuple[str, str, str]:
    """Format a key metric: its label, its value, and its value for real against real."""
    value, floor = (
        scaled_with_error(metric[x], metric[y], key.factor)
        for x, y in (("value", "error"), ("floor", "floor_error"))
    )
    return key.title, value, floor


def published_first(item: tuple[str, dict[str, Any]]) -> bool:
    """Sort key of recipes: those that can be compared with published numbers come first."""
    name, record = item
    return not have_published_numbers({name: record})


def results_section(records: dict[str, dict[str, Any]]) -> str:
    """Format the result tables of ``docs/results.md``.

    Recipes with the same metrics and events share a table if each has one candidate. Recipes that
    can be compared with published numbers come first.

    Args:
        records: content of ``metrics.json`` by recipe.
    """
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for name, record in records.items():
        alike = [
            record["data"],
            record["events"],
            ordered_candidates(record),
            list(record["metrics"]),
        ]
        alone = name if len(ordered_candidates(record)) > 1 else ""
        groups.setdefault(f"{alone} {alike}", {})[name] = record
    parts = []
    for group in sorted(groups.values(), key=lambda g: not have_published_numbers(g)):
        titles = [
            f"[`{name}`](../zoo/{name}/README.md), {training_cost(r)}" for name, r in group.items()
        ]
        first = next(iter(group.values()))
        parts.append(f"{'; '.join(titles)}; {compared_events(first)}:\n\n{key_table(group)}")
        for record in group.values():
            parts += [f"Bias exceeds the statistical error, {x}." for x in model_bias(record)]
    return "\n\n".join(parts)


def have_published_numbers(records: dict[str, dict[str, Any]]) -> bool:
    """Whether published numbers exist for a metric of these recipes."""
    return any(name in record["metrics"] for record in records.values() for name in PUBLISHED)


def compared_events(record: dict[str, Any]) -> str:
    """Format the numbers of generated and held-out events."""
    events = record["events"]
    generated, real = events[record["candidate"]], events["reference"]
    return f"{with_spaces(generated)} generated against {with_spaces(real)} held-out events"


def training_cost(record: dict[str, Any]) -> str:
    """Format the steps and hours of the training."""
    training = record["training"]
    return f"{with_spaces(training['steps'])} steps in {training['hours']:.2g} h"


def stages_of(record: dict[str, Any]) -> str:
    """Format the steps of each stage, where there are several."""
    ends = record["training"].get("stages", {})  # name: last step; older records have none
    steps = [end - before for before, end in pairwise([0, *ends.values()])]
    listed = (f"{with_spaces(n)} {name}" for name, n in zip(ends, steps, strict=True))
    return f"; stages: {', '.join(listed)} steps" if len(steps) > 1 else ""


def with_spaces(n: int) -> str:
    """Format an integer with a space between thousands."""
    return f"{n:,}".replace(",", " ")


def model_bias(record: dict[str, Any]) -> list[str]:
    """Lines on the number of events from which the bias of the model exceeds the error."""
    return bias_lines(record["candidates"][record["candidate"]])


def model_card(record: dict[str, Any]) -> str:
    """Format the generated part of a model card.

    Args:
        record: content of ``metrics.json``.
    """
    parts = [
        "## Data and training",
        markdown_table(["", ""], [[a, b] for a, b in origin_rows(record)]),
        f"The released weights are {record['weights']['bytes'] / 1e6:.2g} MB: matrices in float16, "
        "vectors in float32. The metrics are those of the run, in float32.",
        "![Training curves](training.png)",
        "## Evaluation",
        f"{compared_events(record).capitalize()}, seed {record['config']['training']['seed'] + 1}. "
        f"{verdict_sentence(record)}",
        *(f"Bias exceeds the statistical error, {line}." for line in model_bias(record)),
        key_table({record["config"]["recipe"]: record}),
        "All metrics:",
        metric_table(record),
        *geant4_part(record),
        *(f"![{name}]({name})" for name in record["figures"]),
    ]
    return "\n\n".join(parts)


def origin_rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows on data, size, cost, seed, checksums and versions."""
    config, training = record["config"], record["training"]
    data, seed = config["data"], config["training"]["seed"]
    held_out = f"{with_spaces(data['held_out'])} held out"
    sums = {**record["data"], **record["weights"]["sha256"]}
    rows = [
        ("data", f"`{data['source']}`, seed {data['seed']}, {held_out}"),
        ("reproduce", f"`kerasgen train {config['recipe']} --config config.toml` (in this folder)"),
        (
            "parameters",
            ", ".join(f"{k} {with_spaces(n)}" for k, n in record["parameters"].items()),
        ),
        (
            "training",
            f"{training_cost(record)} of wall-clock time with evaluations, "
            f"{with_spaces(training['seen'])} {training['unit']}, seed {seed}{stages_of(record)}",
        ),
        ("versions", ", ".join(f"{k} {v}" for k, v in record["versions"].items())),
    ]
    return rows + [(f"SHA-256 of {name}", f"`{digest}`") for name, digest in sums.items()]


def metric_table(record: dict[str, Any]) -> str:
    """Format every metric of every candidate with error and floor."""
    names, rows = ordered_candidates(record), []
    for metric, m in record["metrics"].items():
        found = [record["candidates"][name]["metrics"].get(metric) for name in names]
        cells = [value_with_error(x["value"], x["error"]) if x else "-" for x in found]
        rows.append(
            [f"`{metric}`", *cells, value_with_error(m["floor"], m["floor_error"]), m["unit"]]
        )
    head = ["metric", *(COLUMN_TITLES.get(n, n) for n in names), "real against real", "unit"]
    return markdown_table(head, rows)


def geant4_part(record: dict[str, Any]) -> list[str]:
    """Table of published Geant4 numbers beside those of the data and of the candidates."""
    if "occupancy" not in record["quantities"] or not record["published"]:
        return []
    rows = []
    for name, target in record["published"].items():
        first = record["candidates"][record["candidate"]]["quantities"].get(name)
        if first is None:
            continue
        found = [record["candidates"][n]["quantities"][name] for n in ordered_candidates(record)]
        cells = [f"{x:.4g}" for x in (target, first["reference"], *(q["candidate"] for q in found))]
        rows.append([name.replace("_", " "), *cells, first["unit"]])
    head = [
        "",
        "Geant4",
        "held-out events",
        *(COLUMN_TITLES.get(n, n) for n in ordered_candidates(record)),
        "unit",
    ]
    return ["Against Geant4 (10 000 events, arXiv:2303.08046):", markdown_table(head, rows)]


def geant4_numbers() -> dict[str, float]:
    """Published numbers of Geant4 events: mean occupancy, mean charge (ADU), variance / mean."""
    folder = resources.files("kerasgen.data.simulation")
    targets = json.loads((folder / "targets.json").read_text("utf-8"))
    counts = np.array(targets["adu"]["counts"], np.float64)
    charge = targets["adu"]["first"] + np.arange(len(counts))
    return {
        "occupancy": float(np.mean(targets["mean_occupancy"])),
        "adu_mean": float((counts * charge).sum() / counts.sum()),
        **{
            f"variance_over_mean_layer_{layer}": float(x)
            for layer, x in targets["dispersion"].items()
        },
    }


def recorded_metrics(zoo: Path) -> dict[str, dict[str, Any]]:
    """Read ``metrics.json`` of every recipe that has one, by recipe.

    Args:
        zoo: folder of the recipes.
    """
    paths = sorted(zoo.glob("*/metrics.json"))
    return {p.parent.name: json.loads(p.read_text("utf-8")) for p in paths}
