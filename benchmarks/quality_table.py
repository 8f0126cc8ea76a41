"""Quality of generators of PXD background, side by side, from reports of ``kerasgen evaluate``.

    kerasgen simulate pxd --engine geant4 --events 1600 --seed 1 --processes 2 --out train.h5
    kerasgen simulate pxd --engine geant4 --events 800 --seed 2 --processes 2 --out held_out.h5
    kerasgen simulate pxd --events 800 --seed 3 --out fast.h5
    kerasgen train pxd_biggan --data train.h5 --set data.held_out=100 --run runs/geant4
    kerasgen evaluate runs/geant4 --data held_out.h5 --events 300 --networks
    kerasgen evaluate --reference held_out.h5 --candidate fast.h5 --networks --out fast_report
    python benchmarks/quality_table.py pxd_biggan=runs/geant4/report fast=fast_report

Of the 1600 events of the training, the last 100 choose the checkpoint; the 800 held-out events have
another seed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

NAMES = {"calibrated": "with calibration", "uncalibrated": "without calibration"}


def columns(name: str, document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Title and metrics of every candidate of a report."""
    candidates = document["candidates"]
    if len(candidates) == 1:
        return [(name, next(iter(candidates.values()))["metrics"])]
    return [(f"{name}, {NAMES.get(k, k)}", c["metrics"]) for k, c in candidates.items()]


def cell(metric: dict[str, Any] | None) -> str:
    if not metric or metric["value"] is None:
        return "-"
    error = metric.get("error")
    return f"{metric['value']:.3g}" + (f" ± {error:.1g}" if error else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path, help="Markdown file")
    a = parser.parse_args()
    documents = {}
    for given in a.reports:
        name, folder = given.split("=", 1)
        documents[name] = json.loads((Path(folder) / "metrics.json").read_text("utf-8"))
    found = [column for name, d in documents.items() for column in columns(name, d)]
    first = next(iter(documents.values()))
    lines = [
        "# PXD background against held-out Geant4 events",
        "",
        "The commands stand in `benchmarks/quality_table.py`: 800 held-out events of Geant4, 300 "
        "of the model, 800 of the fast simulator. Lower is better; an AUC of 0.5 means "
        "that a network cannot tell the events apart.",
        "",
        f"| metric | {' | '.join(title for title, _ in found)} | real against real | unit |",
        "|---|" + "---|" * (len(found) + 2),
    ]
    for metric, of in first["metrics"].items():
        cells = [cell(metrics.get(metric)) for _, metrics in found]
        floor = cell({"value": of["floor"], "error": of["floor_error"]})
        lines.append(f"| `{metric}` | {' | '.join(cells)} | {floor} | {of['unit']} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if a.out:
        a.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
