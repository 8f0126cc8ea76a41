"""The winner and the untuned recipe, trained anew with the same seeds and steps.

The best of many noisy trials is partly the luckiest one, so that its own objective flatters it.
Both are judged on events that no trial has seen.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.errors import RunFailure
from kerasgen.tuning.study import Study
from kerasgen.tuning.trials import finished, own_seed, results

SEEDS = 3
TUNED, RECIPE = "tuned", "recipe"
SIGMAS = 2.0  # standard errors that make a difference


def winner(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The trial with the lowest objective among those with the most steps.

    Raises:
        RunFailure: no trial was completed.
    """
    completed = [x for x in found if x["objective"] is not None]
    if not completed:
        reason = found[-1]["reason"] if found else "there is none"
        raise RunFailure(f"no trial was completed; the last one: {reason}")
    longest = max(x["steps"] for x in completed)
    return min((x for x in completed if x["steps"] == longest), key=lambda x: x["objective"])


def run_again(study: Study, out: Path, data: dict[str, Any], test: dict[str, int]) -> None:
    """Train winner and recipe with every seed; what is there already is not repeated."""
    best = winner(results(out / "trials"))
    for number in range(SEEDS):
        for name, values in ((TUNED, best["values"]), (RECIPE, {})):
            about: dict[str, Any] = {
                "run": f"{name}-{number}", "kind": name, "values": values,
                "steps": study.config(values).training.steps,
                "seed": own_seed(study, "reruns", number),
            }  # fmt: skip
            run = out / "reruns" / about["run"]
            found = finished(study, run, data, about, 1.0, test, lambda: None)
            told = found.get("test_objective", found["reason"])
            print(f"{about['run']}: {told if isinstance(told, str) else f'{told:.4g}'}", flush=True)


def compared(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard error of both over the seeds, and their difference.

    Args:
        found: results of ``run_again``.

    Returns:
        {"tuned", "recipe": {"values", "mean", "error", "failed"}, "difference", "error",
        "verdict"}: the objective on the test, the error of a mean of 3 seeds; the difference is
        recipe - tuned, None where one of the two has fewer than two results.
    """
    sides: dict[str, dict[str, Any]] = {}
    for name in (TUNED, RECIPE):
        runs = [x for x in found if x["kind"] == name]
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
    if abs(difference) > SIGMAS * error:
        verdict = "tuned is better" if difference > 0 else "the recipe is better"
    return sides | {"difference": difference, "error": error, "verdict": verdict}
