"""Progress of a search: the table of trials on the terminal, and TensorBoard's HParams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasgen.tuning.objective import OBJECTIVE_TAG
from kerasgen.tuning.space import Parameter
from kerasgen.tuning.study import Study
from kerasgen.tuning.trials import read_results

RERUNS = 6  # trainings after the search: three seeds of winner and recipe


def trial_table_header(study: Study) -> str:
    """The first line of the table of trials."""
    return aligned_cells(
        ["trial", "objective", "best so far", "minutes", "left, min"]
        + [p.name for p in study.space]
    )


def trial_table_row(study: Study, out: Path, trial_id: str, workers: int) -> str:
    """The line of a trial that has ended.

    Args:
        study: that the trial belongs to.
        out: folder of the study.
        trial_id: of the trial.
        workers: number of workers that share the remaining trials.
    """
    trials = read_results(out / "trials")
    this = next(x for x in trials if x["trial"] == trial_id)
    completed = [x["objective"] for x in trials if x["objective"] is not None]
    seconds = [x["seconds"] for x in trials if "seconds" in x]
    mean = sum(seconds) / len(seconds) if seconds else 0.0
    left = (study.trials - len(trials)) / max(workers, 1) + RERUNS
    cells = [
        trial_id,
        this["status"] if this["objective"] is None else f"{this['objective']:.4g}",
        f"{min(completed):.4g}" if completed else "-",
        f"{this['seconds'] / 60:.1f}" if "seconds" in this else "-",
        f"{left * mean / 60:.0f}" if mean else "-",
    ]
    cells += [value_text(this["values"][p.name]) for p in study.space]
    text = aligned_cells(cells)
    return f"{text}  ({this['reason']})" if this["reason"] else text


def aligned_cells(cells: list[str]) -> str:
    """One line of the table: every cell right-aligned in 11 characters."""
    return "  ".join(f"{cell:>11s}" for cell in cells)


def value_text(value: Any) -> str:
    """A value of a recipe key as text, floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def log_search_space(study: Study, out: Path) -> None:
    """Write searched keys and objective for the HParams page of TensorBoard."""
    from tensorboard.plugins.hparams import summary_v2 as hparams

    from kerasgen.training.event_log import EventLog

    table = hparams.hparams_config_pb(
        hparams=[hparams.HParam(p.name, hparams_domain(p)) for p in study.space],
        metrics=[hparams.Metric(OBJECTIVE_TAG, display_name="objective")],
    )
    with EventLog(out / "logs") as log:
        log.summary(table, 0)


def hparams_domain(p: Parameter) -> Any:
    """The values of a parameter as an HParams domain; lists become text, as in the runs."""
    from tensorboard.plugins.hparams import summary_v2 as hparams

    if p.choices:
        return hparams.Discrete([str(x) if isinstance(x, list) else x for x in p.choices])
    kind = hparams.IntInterval if isinstance(p.low, int) else hparams.RealInterval
    return kind(p.low, p.high)
