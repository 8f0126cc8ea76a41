"""Which metrics see which planted defect, and how often real against real is within the floor.

python benchmarks/power_table.py --out benchmarks/power_table.md
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from planted_defects import DEFECTS, copied_from

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.simulation.pxd import simulate_event
from kerasgen.metrics import structure
from kerasgen.metrics.compare import SIGMAS, add_metric, compare, sigmas_above
from kerasgen.metrics.memorisation import memorised, training_signatures
from kerasgen.metrics.pool import pool
from kerasgen.metrics.sensor_scores import SensorComparison
from kerasgen.metrics.summary import Summary, join, summarise
from kerasgen.tracking.comparison import TrackingComparison
from kerasgen.zoo.studies import chosen_studies

GEOMETRY = load_geometry("belle2-pxd")
SENSORS = len(GEOMETRY.sensors)
SEED, TRIAL_SEED, TRAINING_SEED = 31, 37, 41
COPIED = "10 % copied from training"
BLOCK = 16  # events; those of a sample are a multiple
Found = dict[str, Any]


def events(seed: int, first: int, n: int) -> Hits:
    """Simulated events."""
    return concatenate([simulate_event(GEOMETRY, seed, k) for k in range(first, first + n)])


def summary(hits: Hits) -> Summary:
    return summarise(hits, GEOMETRY)


def trial(number: int, n: int, training: np.ndarray) -> tuple[str, list[str]]:
    """Verdict and metrics outside, of two disjoint samples of n real events.

    With tracks and the network that knows the sensors; without networks that are trained here.
    """
    first = 2 * n * number
    a, b = (events(TRIAL_SEED, k, n) for k in (first, first + n))
    found = compared(summary(a), summary(b), training, number)
    # Every event once: the errors are then those of so many tracks.
    tracking = TrackingComparison(n, number, tracks=1)
    for study in (tracking, SensorComparison(n, number)):
        for recorder in study.reference(GEOMETRY, n):
            recorder.add(a)
        for recorder in study.candidate("other"):
            recorder.add(b)
        study.judge({"other": found})
    return found["verdict"], found["outside"]


def compared(reference: Summary, other: Summary, training: np.ndarray, seed: int) -> Found:
    """All metrics that need no network and no tracks."""
    found = compare(reference, other, seed=seed)
    copies = memorised(reference.signature, other.signature, training, seed)
    add_metric(found, "memorised", copies)
    return found


def spoil(name: str, hits: Hits, training: Hits) -> Hits:
    """The events with a defect, numbered anew."""
    plants: dict[str, Callable[[Hits, np.random.Generator], Hits]] = DEFECTS | {
        COPIED: copied_from(training)
    }
    spoilt = plants[name](hits, np.random.default_rng(1))
    return replace(spoilt, event=np.repeat(np.arange(len(hits) // SENSORS), SENSORS))


def defect(name: str, reference: Summary, hits: Hits, training: Hits) -> Found:
    """What ``compare`` finds of one defect."""
    known = training_signatures([training], GEOMETRY)
    return compared(reference, summary(spoil(name, hits, training)), known, 0)


def with_studies(
    found: dict[str, Found], real: Hits, hits: Hits, training: Hits, n: int
) -> Iterator[str]:
    """Add tracks and networks, from the first n events of each defect; the name of each study."""
    some = np.arange(n * SENSORS)
    tracking, trained, sensors = chosen_studies(["tracking", "networks"], n, 0)
    for study in (tracking, sensors, trained):  # the slowest last
        for recorder in study.reference(GEOMETRY, len(real) // SENSORS):
            recorder.add(real)
        for name in found:
            for recorder in study.candidate(name):
                recorder.add(spoil(name, hits, training).take(some))
        study.judge(found)
        yield study.name


def processor_seconds() -> float:
    """Of this process and of its workers that have ended."""
    used = (resource.getrusage(k) for k in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def cell(excess: float) -> str:
    if excess <= SIGMAS:
        return ""
    return "> 999" if excess > 999 else f"{excess:.0f}"


def render(
    n: int,
    m: int,
    of_studies: int,
    trials: list[tuple[str, list[str]]],
    found: dict[str, Found],
    sensors: str,
) -> str:
    within = sum(verdict == "within floor" for verdict, _ in trials)
    lone = sum(bool(outside) for _, outside in trials)
    counts = Counter(name for _, outside in trials for name in outside)
    seen = ", ".join(f"`{k}` {v}" for k, v in counts.most_common()) or "none"
    names = list(found)
    excess = {
        name: {k: sigmas_above(x) for k, x in f["metrics"].items()} for name, f in found.items()
    }
    lines = [
        "# What the metrics see",
        "",
        "`python benchmarks/power_table.py --out benchmarks/power_table.md`",
        "",
        f"Built-in simulation of the PXD. {n} events with a planted defect against {n} other "
        f"events (seed {SEED}), {n} more as training events (seed {TRAINING_SEED}); tracks and "
        f"networks (`tracking_`, `auc_`, `sensor_`) from the first {of_studies} of them.",
        "",
        f"{len(trials)} trials of {m} against {m} real events, all disjoint (seed {TRIAL_SEED}), "
        "with tracks, every event used once, and with the shipped network (`sensor_`), but without "
        "those trained for each comparison (`auc_`), which would take hours: verdict "
        f"`within floor` in **{within} of {len(trials)}**; in {lone} at least one metric was "
        f'beyond 3 sigma on its own ({seen}). The column "nothing" is one more, with all networks.',
        "",
        f"All of it: {processor_seconds() / 60:.0f} minutes of processor time.",
        "",
        sensors,
        "",
        "(value - floor) / sqrt(error^2 + floor_error^2) where it exceeds 3:",
        "",
        "| metric | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for metric in next(iter(excess.values())):
        row = [cell(excess[name][metric]) for name in names]
        lines.append(f"| `{metric}` | " + " | ".join(row) + " |")
    number = [str(sum(x > SIGMAS for x in excess[name].values())) for name in names]
    lines.append("| metrics beyond 3 sigma | " + " | ".join(number) + " |")
    limits = [f"{f['verdict'].split()[0]} ({f['sigmas']:.1f})" for f in found.values()]
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
    parser.add_argument("--trial-events", type=int, default=16, help="of each side of a trial")
    parser.add_argument("--study-events", type=int, default=100, help="for tracks and networks")
    parser.add_argument("--processes", type=int, default=2)
    a = parser.parse_args()
    start = time.perf_counter()
    parts = {}
    with ProcessPoolExecutor(a.processes) as workers:
        for key, seed, first in (
            ("real", SEED, 0), ("made", SEED, a.events), ("training", TRAINING_SEED, 0),
        ):  # fmt: skip
            jobs = [workers.submit(events, seed, first + k, BLOCK)
                    for k in range(0, a.events, BLOCK)]  # fmt: skip
            parts[key] = concatenate([job.result() for job in jobs])
        real, made, training = parts.values()
        reference = join(workers.map(summary, blocks(real)))
        known = training_signatures(blocks(training), GEOMETRY)
        defects = {
            name: workers.submit(defect, name, reference, made, training)
            for name in (*DEFECTS, COPIED)
        }
        trials = [workers.submit(trial, k, a.trial_events, known) for k in range(a.trials)]
        found = {name: job.result() for name, job in defects.items()}
        print(f"defects: {time.perf_counter() - start:.0f} s", flush=True)
        results = [job.result() for job in trials]
        print(f"trials: {time.perf_counter() - start:.0f} s", flush=True)
    sensors = about_sensors(reference)

    def write() -> None:  # what is there so far: networks take long
        sizes = a.events, a.trial_events, a.study_events
        a.out.write_text(render(*sizes, results, found, sensors))

    write()
    for name in with_studies(found, real, made, training, a.study_events):
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        write()


def blocks(hits: Hits) -> list[Hits]:
    """A few events at a time."""
    size = BLOCK * SENSORS
    return [hits.take(np.arange(k, k + size)) for k in range(0, len(hits), size)]


if __name__ == "__main__":
    main()
