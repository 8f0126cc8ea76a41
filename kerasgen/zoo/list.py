"""``kerasgen list``: the recipes, their data, their size and what the recorded run reached."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from textwrap import wrap
from typing import Any

from kerasgen.command import Parser, run
from kerasgen.errors import InputError
from kerasgen.evaluation.key_metrics import sort_of
from kerasgen.zoo.catalogue import recipes

METRICS = "recorded metrics"


def recipe_row(name: str, recipe: Path) -> dict[str, str]:
    """Name, data, parameters, metrics and description of one recipe, as text.

    Data and description come from ``recipe.toml``; parameters and metrics from ``metrics.json``
    beside it, and are empty for a recipe without a recorded run.

    Raises:
        InputError: one of the two files cannot be read.
    """
    try:
        settings = tomllib.loads(recipe.read_text(encoding="utf-8"))
        record_path = recipe.with_name("metrics.json")
        record = json.loads(record_path.read_text("utf-8")) if record_path.is_file() else {}
    except ValueError as error:
        raise InputError(f"recipe {name!r} in {recipe.parent} cannot be read: {error}") from None
    return {
        "recipe": name,
        "data": _data_name(settings),
        "parameters": _parameters(record),
        METRICS: _metrics(record),
        "description": str(settings.get("description", "")),
    }


def _data_name(settings: dict[str, Any]) -> str:
    data = settings.get("data", "")
    return str(data.get("source", "")) if isinstance(data, dict) else str(data)


def _parameters(record: dict[str, Any]) -> str:
    """Millions of trainable numbers per network, ``generator 11.58 M``."""
    return ", ".join(
        f"{network} {count / 1e6:.2f} M" for network, count in record.get("parameters", {}).items()
    )


def _metrics(record: dict[str, Any]) -> str:
    """What the README shows too, of the model as it is used: with its calibration."""
    found = record.get("metrics", {})
    return "; ".join(
        f"{key.label} {key.factor * found[name]['value']:.3g} {key.unit}".rstrip()
        for name, key in sort_of(found).metrics.items()
        if name in found and found[name]["value"] is not None
    )


def table(rows: list[dict[str, str]]) -> str:
    """The rows as text columns, recorded metrics in lines of their own below their recipe."""
    if not rows:
        return "no recipes"
    columns = [c for c in rows[0] if c != METRICS and any(row[c] for row in rows)]
    widths = {c: max(len(c), *(len(row[c]) for row in rows)) for c in columns}
    lines = ["  ".join(c.ljust(widths[c]) for c in columns).rstrip()]
    for row in rows:
        lines.append("  ".join(row[c].ljust(widths[c]) for c in columns).rstrip())
        lines += wrap(row[METRICS], 100, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the table of recipes."""
    parser = Parser(prog="kerasgen list", description="The recipes that come with kerasgen.")
    parser.parse_args(argv)
    print(table([recipe_row(name, path) for name, path in recipes().items()]))
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
