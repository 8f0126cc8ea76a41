"""Which metrics see which planted defect, and how often real against real is within the floor.

python benchmarks/power_table.py --out benchmarks/power_table.md
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from planted_defects import DEFECTS

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.simulation.pxd import simulate_event
from kerasgen.metrics import structure
from kerasgen.metrics.compare import SIGMAS, compare, sigmas_above
from kerasgen.metrics.pixel import METRICS
from kerasgen.metrics.pool import pool
from kerasgen.metrics.summary import Summary, join, summarise

GEOMETRY = load_geometry("belle2-pxd")
SEED, TRIAL_SEED = 31, 37
BLOCK = 16


def events(seed: int, first: int, n: int) -> Hits:
    """Simulated events."""
    return concatenate([simulate_event(GEOMETRY, seed, k) for k in range(first, first + n)])


def summary(hits: Hits) -> Summary:
    return summarise(hits, GEOMETRY)


def simulated(seed: int, first: int, n: int) -> Summary:
    """Summary of simulated events, a block in memory at a time."""
    stop = first + n
    return join(summary(events(seed, k, min(BLOCK, stop - k))) for k in range(first, stop, BLOCK))


def trial(number: int, n: int) -> tuple[str, list[str]]:
    """Verdict and metrics outside, of two disjoint samples of n real events."""
    first = 2 * n * number
    a, b = simulated(TRIAL_SEED, first, n), simulated(TRIAL_SEED, first + n, n)
    found = compare(a, b, seed=number)
    return found["verdict"], found["outside"]


def defect(name: str, reference: Summary) -> tuple[str, float, dict[str, float]]:
    """Verdict, its limit, and the excess of every metric in sigma, of one defect."""
    plant: Callable[[Hits, np.random.Generator], Hits] = DEFECTS[name]
    n = len(reference)
    spoilt = plant(events(SEED, n, n), np.random.default_rng(1))
    numbers = np.repeat(np.arange(n), len(GEOMETRY.sensors))
    found = compare(reference, summary(replace(spoilt, event=numbers)), seed=0)
    excess = {k: sigmas_above(m) for k, m in found["metrics"].items()}
    return found["verdict"], found["sigmas"], excess


def cell(excess: float) -> str:
    if excess <= SIGMAS:
        return ""
    return "> 999" if excess > 999 else f"{excess:.0f}"


def render(
    n: int,
    m: int,
    trials: list[tuple[str, list[str]]],
    found: dict[str, tuple[str, float, dict[str, float]]],
    sensors: str,
) -> str:
    within = sum(verdict == "within floor" for verdict, _ in trials)
    lone = sum(bool(outside) for _, outside in trials)
    counts = Counter(name for _, outside in trials for name in outside)
    seen = ", ".join(f"`{k}` {v}" for k, v in counts.most_common()) or "none"
    names = list(DEFECTS)
    lines = [
        "# What the metrics see",
        "",
        "`python benchmarks/power_table.py --out benchmarks/power_table.md`",
        "",
        f"Built-in simulation of the PXD. {n} events with a planted defect against {n} other "
        f"events (seed {SEED}); {len(trials)} trials of {m} against {m} real events, all disjoint "
        f"(seed {TRIAL_SEED}).",
        "",
        f"Real against real: verdict `within floor` in **{within} of {len(trials)}** trials; in "
        f"{lone} at least one metric was beyond 3 sigma on its own ({seen}).",
        "",
        sensors,
        "",
        "(value - floor) / sqrt(error^2 + floor_error^2) where it exceeds 3:",
        "",
        "| metric | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for metric in METRICS:
        row = [cell(found[name][2][metric]) for name in names]
        lines.append(f"| `{metric}` | " + " | ".join(row) + " |")
    number = [str(sum(x > SIGMAS for x in found[name][2].values())) for name in names]
    lines.append("| metrics beyond 3 sigma | " + " | ".join(number) + " |")
    limits = [f"{found[name][0].split()[0]} ({found[name][1]:.1f})" for name in names]
    lines.append("| verdict (its limit in sigma) | " + " | ".join(limits) + " |")
    return "\n".join(lines) + "\n"


def about_sensors(reference: Summary) -> str:
    """What the simulation has of correlation between sensors."""
    n = len(reference)
    sample = pool(reference)
    matrix = structure.correlation(sample)
    above = matrix[np.triu_indices(len(matrix), 1)]
    return (
        f"Sensors of the simulation are weakly correlated: over {n} events the mean correlation of "
        f"two is {above.mean():.3f}, the largest {above.max():.2f} (noise {n**-0.5:.3f}); the "
        f"variance of all hits is {structure.common_ratio(sample):.2f} times that of independent "
        "sensors. Geant4's correlations are not public."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--events", type=int, default=256, help="of each side, with a defect")
    parser.add_argument("--trials", type=int, default=100, help="real against real")
    parser.add_argument("--trial-events", type=int, default=24, help="of each side of a trial")
    parser.add_argument("--processes", type=int, default=2)
    a = parser.parse_args()
    start = time.perf_counter()
    reference = simulated(SEED, 0, a.events)
    with ProcessPoolExecutor(a.processes) as workers:
        defects = {name: workers.submit(defect, name, reference) for name in DEFECTS}
        trials = [workers.submit(trial, k, a.trial_events) for k in range(a.trials)]
        found = {name: job.result() for name, job in defects.items()}
        results = [job.result() for job in trials]
    text = render(a.events, a.trial_events, results, found, about_sensors(reference))
    a.out.write_text(text)
    print(f"{a.out}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
