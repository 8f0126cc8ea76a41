"""Comparison of the winner with the untuned recipe: same seeds, same steps.

The winner's objective in the search is biased low, because the best of many noisy trials is partly
the luckiest. The comparison uses events that no trial has seen.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.errors import RunFailure
from kerasgen.tuning.study import HeldOutTest, Study
from kerasgen.tuning.trials import Result, read_results, training_result, training_seed

SEEDS = 3
TUNED, RECIPE = "tuned", "recipe"
MIN_SIGMAS = 2.0  # standard errors from which on two means differ


def winner(trials: list[Result]) -> Result:
    """The trial with the lowest objective among the completed trials with the most steps.

    Raises:
        RunFailure: no trial was completed.
    """
    completed = [x for x in trials if x["objective"] is not None]
    if not completed:
        reason = trials[-1]["reason"] if trials else "there is none"
        raise RunFailure(f"no trial was completed; the last one: {reason}")
    most = max(x["steps"] for x in completed)
    return min((x for x in completed if x["steps"] == most), key=lambda x: x["objective"])


def train_reruns(study: Study, out: Path, data: dict[str, Any], test: HeldOutTest) -> None:
    """Train winner and recipe with every seed; reruns that have a result are not repeated."""
    best = winner(read_results(out / "trials"))
    for number in range(SEEDS):
        for name, values in ((TUNED, best["values"]), (RECIPE, {})):
            details: Result = {
                "run": f"{name}-{number}", "kind": name, "values": values,
                "steps": study.config(values).training.steps,
                "seed": training_seed(study, "reruns", number),
            }  # fmt: skip
            run = out / "reruns" / details["run"]
            result = training_result(study, run, data, details, 1.0, test, lambda: None)
            value = result.get("test_objective", result["reason"])
            text = value if isinstance(value, str) else f"{value:.4g}"
            print(f"{details['run']}: {text}", flush=True)


def compare_with_recipe(reruns: list[Result]) -> dict[str, Any]:
    """Mean and standard error of winner and recipe over the seeds, and their difference.

    Args:
        reruns: results of ``train_reruns``.

    Returns:
        {"tuned", "recipe": {"values", "mean", "error", "failed"}, "difference", "error",
        "verdict"}: the objective on the test events, and the standard error of its mean over
        the seeds; the difference is recipe - tuned, None if one of the two has fewer than two
        results.
    """
    sides: dict[str, dict[str, Any]] = {}
    for name in (TUNED, RECIPE):
        runs = [x for x in reruns if x["kind"] == name]
        values = [x["test_objective"] for x in runs if x["objective"] is not None]
        several = len(values) > 1
        sides[name] = {
            "values": values,
            "mean": float(np.mean(values)) if values else None,
            "error": float(np.std(values, ddof=1)) / math.sqrt(len(values)) if several else None,
            "failed": [x["reason"] for x in runs if x["objective"] is None],
        }
    tuned, recipe = sides[TUNED], sides[RECIPE]
    if tuned["error"] is None or recipe["error"] is None:
        return sides | {"difference": None, "error": None, "verdict": "not compared"}
    difference, error = recipe["mean"] - tuned["mean"], math.hypot(tuned["error"], recipe["error"])
    verdict = "the same within errors"
    if abs(difference) > MIN_SIGMAS * error:
        verdict = "tuned is better" if difference > 0 else "the recipe is better"
    return sides | {"difference": difference, "error": error, "verdict": verdict}
