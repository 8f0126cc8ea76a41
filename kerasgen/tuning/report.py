"""The results of a study: ``results.json``, ``report.html`` (one file) and ``best.toml``."""

from __future__ import annotations

import base64
import json
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from jinja2 import Environment, StrictUndefined

from kerasgen.config import merge, parse_change
from kerasgen.evaluation.figure_style import figure_to_png
from kerasgen.evaluation.report_rows import value_with_error
from kerasgen.metrics.compare import package_versions
from kerasgen.run_folder import write_text
from kerasgen.tuning import figures
from kerasgen.tuning.comparison import RECIPE, SEEDS, TUNED, compare_with_recipe, winner
from kerasgen.tuning.objective import objective_metrics
from kerasgen.tuning.progress import value_text
from kerasgen.tuning.study import Study, study_as_json
from kerasgen.tuning.trials import Result, read_results
from kerasgen.zoo.recipes import load_config

# What a training used; rounded in results.json.
USAGE = ("seconds", "processor_seconds", "memory_mib", "search_memory_mib")


def write_report(study: Study, out: Path) -> dict[str, Any]:
    """Write ``results.json``, ``report.html`` and ``best.toml``; return the content of the first.

    Args:
        study: that has ended.
        out: folder of the study.
    """
    results = gather_results(study, out)
    write_text(out / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
    write_text(out / "report.html", render_report(study, results))
    write_text(out / "best.toml", best_toml(study, results))
    load_config(study.recipe, str(out / "best.toml"))
    return results


def gather_results(study: Study, out: Path) -> dict[str, Any]:
    """The content of ``results.json``: study, versions, results of all trainings, comparison."""
    trials, reruns = read_results(out / "trials"), read_results(out / "reruns")
    best = winner(trials)
    return {
        "study": study_as_json(study),
        "versions": package_versions("keras-tuner"),
        "data": best["metrics"]["data"],
        "trials": [recorded_result(study, x, ("trial",)) for x in trials],
        "best": {
            "trial": best["trial"],
            "values": best["values"],
            "objective": best["objective"],
            "steps": best["steps"],
        },
        "reruns": [recorded_result(study, x, ("run", "kind")) for x in reruns],
        "comparison": compare_with_recipe(reruns),
    }


def recorded_result(study: Study, result: Result, names: tuple[str, ...]) -> dict[str, Any]:
    """A result as ``results.json`` holds it, with the metrics of the objective only.

    Args:
        study: that the training belongs to.
        result: of the training.
        names: keys of the result that identify the training.
    """
    keys = (*names, "values", "steps", "seed", "status", "reason", "objective", "test_objective")
    full: dict[str, Any] = {**result}
    recorded = {key: full[key] for key in keys if key in full}
    recorded |= {key: round(full[key], 2) for key in USAGE if key in full}
    for part in ("metrics", "test"):
        if part in full:
            metrics = objective_metrics(full[part])
            recorded[part] = {name: metrics[name] for name in study.objective}
    return recorded


def best_toml(study: Study, results: dict[str, Any]) -> str:
    """The winner's values of the searched keys, as a file for ``train --config``."""
    table: dict[str, Any] = {"recipe": study.recipe}
    for key, value in results["best"]["values"].items():
        merge(table, parse_change(f"{key}={json.dumps(value)}"))
    verdict = results["comparison"]["verdict"]
    head = (
        f"# Study {study.name}: trial {results['best']['trial']} of {len(results['trials'])}, "
        f"{results['best']['steps']} steps; on held-out events of {SEEDS} seeds: {verdict}.\n"
        f"# kerasgen train {study.recipe} --config best.toml\n"
    )
    return head + tomli_w.dumps(table)


def render_report(study: Study, results: dict[str, Any]) -> str:
    """The report as one self-contained HTML page."""
    text = (resources.files("kerasgen.tuning") / "report.html.j2").read_text("utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    captioned = {
        "Every trial from its values to its objective; dark is good.": (
            figures.parallel_coordinates(study, results)
        ),
        "Objective against every searched key. The star is the winner, the line the recipe's own "
        "value.": figures.objective_by_key(study, results),
        "Winner and untuned recipe, three seeds each, with the standard error of their mean.": (
            figures.comparison_figure(results)
        ),
    }
    return template.from_string(text).render(
        study=study,
        results=results,
        comparison=comparison_rows(results),
        failed=[x for x in results["trials"] if x["objective"] is None],
        trials=sorted(results["trials"], key=best_first),
        keys=[p.name for p in study.space],
        value_text=value_text,
        config=json.dumps(results["study"], indent=2),
        figures=[
            (caption, base64.b64encode(figure_to_png(figure)).decode("ascii"))
            for caption, figure in captioned.items()
        ],
    )


def best_first(trial: dict[str, Any]) -> tuple[bool, float]:
    """Sort key of a trial: the best first, failed trials last."""
    failed = trial["objective"] is None
    return failed, 0.0 if failed else trial["objective"]


def comparison_rows(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, winner, recipe): objective and its metrics on the test events, mean over seeds."""
    sides = [results["comparison"][name] for name in (TUNED, RECIPE)]
    rows = [("objective", mean_text(sides[0]), mean_text(sides[1]))]
    for name in results["study"]["objective"]:
        cells = []
        for kind in (TUNED, RECIPE):
            values = [x["test"][name]["value"] for x in results["reruns"]
                      if x["kind"] == kind and "test" in x]  # fmt: skip
            known = [v for v in values if v is not None]
            cells.append(value_text(sum(known) / len(known)) if known else "-")
        rows.append((name, cells[0], cells[1]))
    return rows


def mean_text(side: dict[str, Any]) -> str:
    """Mean and error of one side of the comparison."""
    if side["mean"] is None:
        return "-"
    return value_with_error(side["mean"], side["error"])


def summary(results: dict[str, Any]) -> str:
    """The last lines that the search prints: the winner and its comparison with the recipe."""
    best, comparison = results["best"], results["comparison"]
    values = ", ".join(f"{key} = {value_text(x)}" for key, x in best["values"].items())
    tuned, recipe = (mean_text(comparison[name]) for name in (TUNED, RECIPE))
    return (
        f"Best trial {best['trial']}: objective {best['objective']:.4g} with {values}\n"
        f"{SEEDS} seeds on held-out events: tuned {tuned}, recipe {recipe}: "
        f"{comparison['verdict']}"
    )
