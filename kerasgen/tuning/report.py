"""What a study found: ``results.json``, ``report.html`` (one file) and ``best.toml``."""

from __future__ import annotations

import base64
import json
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import tomli_w
from jinja2 import Environment, StrictUndefined

from kerasgen.config import merge, parse_change
from kerasgen.evaluation.figure_style import figure_to_png
from kerasgen.evaluation.report_rows import value_with_error
from kerasgen.run_folder import write_text
from kerasgen.tuning import figures as pictures
from kerasgen.tuning.comparison import RECIPE, SEEDS, TUNED, compared, winner
from kerasgen.tuning.objective import chosen
from kerasgen.tuning.study import Study, document
from kerasgen.tuning.table import shown
from kerasgen.tuning.trials import results
from kerasgen.zoo.recipes import load_config

KEPT = ("seconds", "processor_seconds", "memory_mib", "search_memory_mib")


def write_report(study: Study, out: Path) -> dict[str, Any]:
    """Everything that a finished study leaves, into its folder; the content of results.json."""
    found = gather(study, out)
    write_text(out / "results.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_text(out / "report.html", render(study, found))
    write_text(out / "best.toml", best_toml(study, found))
    load_config(study.recipe, str(out / "best.toml"))
    return found


def gather(study: Study, out: Path) -> dict[str, Any]:
    """The results of all trainings, without what nobody reads again."""
    trials, reruns = results(out / "trials"), results(out / "reruns")
    best = winner(trials)
    return {
        "study": document(study),
        "versions": {
            name: metadata.version(name)
            for name in ("kerasgen", "keras", "keras-tuner", "tensorflow")
        },
        "data": best["metrics"]["data"],
        "trials": [kept(study, x, ("trial",)) for x in trials],
        "best": {key: best[key] for key in ("trial", "values", "objective", "steps")},
        "reruns": [kept(study, x, ("run", "kind")) for x in reruns],
        "comparison": compared(reruns),
    }


def kept(study: Study, result: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A result with the metrics of its objective alone."""
    keys = (*names, "values", "steps", "seed", "status", "reason", "objective", "test_objective")
    found = {key: result[key] for key in keys if key in result}
    found |= {key: round(result[key], 2) for key in KEPT if key in result}
    for part in ("metrics", "test"):
        if part in result:
            metrics = chosen(result[part])
            found[part] = {name: metrics[name] for name in study.objective}
    return found


def best_toml(study: Study, found: dict[str, Any]) -> str:
    """The searched keys at the winner's values, as ``train --config`` takes them."""
    table: dict[str, Any] = {"recipe": study.recipe}
    for key, value in found["best"]["values"].items():
        merge(table, parse_change(f"{key}={json.dumps(value)}"))
    verdict = found["comparison"]["verdict"]
    head = (
        f"# Study {study.name}: trial {found['best']['trial']} of {len(found['trials'])}, "
        f"{found['best']['steps']} steps; on held-out events of {SEEDS} seeds: {verdict}.\n"
        f"# kerasgen train {study.recipe} --config best.toml\n"
    )
    return head + tomli_w.dumps(table)


def render(study: Study, found: dict[str, Any]) -> str:
    """The report as one HTML page that needs nothing else."""
    text = (resources.files("kerasgen.tuning") / "report.html.j2").read_text("utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    drawn = {
        "Every trial from its values to its objective; dark is good.": pictures.parallel(
            study, found
        ),
        "Objective against every searched key. The star is the winner, the line the recipe's own "
        "value.": pictures.against(study, found),
        "Winner and untuned recipe, three seeds each, with the standard error of their mean.": (
            pictures.compared(found)
        ),
    }
    return template.from_string(text).render(
        study=study,
        found=found,
        comparison=comparison_rows(found),
        failed=[x for x in found["trials"] if x["objective"] is None],
        rows=sorted(found["trials"], key=order),
        keys=[p.name for p in study.space],
        shown=shown,
        config=json.dumps(found["study"], indent=2),
        pictures=[
            (caption, base64.b64encode(figure_to_png(figure)).decode("ascii"))
            for caption, figure in drawn.items()
        ],
    )


def order(trial: dict[str, Any]) -> tuple[bool, float]:
    """Best first, failed ones last."""
    failed = trial["objective"] is None
    return failed, 0.0 if failed else trial["objective"]


def comparison_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what, winner, recipe): objective and its metrics on the test, mean over the seeds."""
    sides = [found["comparison"][name] for name in (TUNED, RECIPE)]
    rows = [("objective", mean_text(sides[0]), mean_text(sides[1]))]
    for name in found["study"]["objective"]:
        cells = []
        for kind in (TUNED, RECIPE):
            values = [x["test"][name]["value"] for x in found["reruns"]
                      if x["kind"] == kind and "test" in x]  # fmt: skip
            known = [v for v in values if v is not None]
            cells.append(shown(sum(known) / len(known)) if known else "-")
        rows.append((name, cells[0], cells[1]))
    return rows


def mean_text(side: dict[str, Any]) -> str:
    """Mean and error of one side of the comparison."""
    if side["mean"] is None:
        return "-"
    return value_with_error(side["mean"], side["error"])


def summary(study: Study, found: dict[str, Any]) -> str:
    """The last lines of the search on the terminal."""
    best, comparison = found["best"], found["comparison"]
    values = ", ".join(f"{key} = {shown(x)}" for key, x in best["values"].items())
    tuned, recipe = (mean_text(comparison[name]) for name in (TUNED, RECIPE))
    return (
        f"Best trial {best['trial']}: objective {best['objective']:.4g} with {values}\n"
        f"{SEEDS} seeds on held-out events: tuned {tuned}, recipe {recipe}: "
        f"{comparison['verdict']}"
    )
