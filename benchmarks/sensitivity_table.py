"""Sensitivity of the metrics to injected defects, and rate of real samples within the floor.

``python benchmarks/sensitivity_table.py --out benchmarks/sensitivity_table.md``. The judges, which
are trained for each comparison, have ``judge_sensitivity.py``.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from injected_defects import all_defects

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.simulation.pxd import simulate_event
from kerasgen.evaluation.samples import Sample, summarise_blocks
from kerasgen.metrics import structure
from kerasgen.metrics.background_types import BackgroundTypes
from kerasgen.metrics.cluster_memorisation import (
    TrainingClusters,
    TrainingRecorder,
    cluster_memorised,
    memorised_by_event,
)
from kerasgen.metrics.cluster_repeats import add_repeats
from kerasgen.metrics.cluster_samples import join_samples
from kerasgen.metrics.compare import compare
from kerasgen.metrics.event_pairs import EventPairs
from kerasgen.metrics.memorisation import memorised, training_signatures
from kerasgen.metrics.pool import pool
from kerasgen.metrics.sensor_scores import SensorComparison
from kerasgen.metrics.summary import Summary, join_summaries
from kerasgen.metrics.verdict import SIGMAS, add_metric, sigmas_above
from kerasgen.tracking.comparison import TrackingComparison

GEOMETRY = load_geometry("belle2-pxd")
SENSORS = len(GEOMETRY.sensors)
SEED, TRIAL_SEED, TRAINING_SEED = 31, 37, 41
STUDIES = ["pairs", "types", "tracking", "sensors"]
BLOCK = 16  # events; the size of a sample is a multiple
Comparison = dict[str, Any]


def simulated_events(seed: int, first: int, n: int) -> Hits:
    """Simulated events."""
    return concatenate([simulate_event(GEOMETRY, seed, k) for k in range(first, first + n)])


def summarise_pxd(hits: Hits) -> Sample:
    """Summary and clusters of events of ``GEOMETRY``."""
    return summarise_blocks(blocks(hits), GEOMETRY)


class Known(NamedTuple):
    """What metrics of memorisation know of the training events."""

    signatures: np.ndarray
    clusters: TrainingClusters


def known_events(training: Hits) -> Known:
    """Signatures and clusters of training events."""
    recorder = TrainingRecorder(GEOMETRY)
    for hits in blocks(training):
        recorder.add(hits)
    return Known(training_signatures(blocks(training), GEOMETRY), recorder.clusters)


def run_trial(number: int, n: int, training: Known) -> tuple[str, list[str]]:
    """Verdict and metrics outside the floor for two disjoint samples of n real events.

    With tracks and the classifier of sensors; without classifiers trained for the comparison.
    """
    first = 2 * n * number
    a, b = (simulated_events(TRIAL_SEED, k, n) for k in (first, first + n))
    found = compare_hits(summarise_pxd(a), summarise_pxd(b), training, number)
    # Every event is used once, so that the errors are those of the tracks.
    tracking = TrackingComparison(n, number, tracks=1)
    types, sensors = BackgroundTypes(number), SensorComparison(n, number)
    for study in (EventPairs(number), types, tracking, sensors):
        for recorder in study.reference(GEOMETRY, n):
            recorder.add(a)
        for recorder in study.candidate("other"):
            recorder.add(b)
        study.judge({"other": found})
    return found["verdict"], found["outside"]


def compare_hits(reference: Sample, other: Sample, training: Known, seed: int) -> Comparison:
    """Compare samples in all metrics without networks and tracks."""
    a, b = reference.summary, other.summary
    found = compare(a, b, seed=seed)
    add_repeats(found, reference.clusters, other.clusters, SENSORS)
    copies = memorised(a.signature, b.signature, training.signatures, seed)
    add_metric(found, "memorised", copies)
    counts = [memorised_by_event(x.clusters, training.clusters, seed) for x in (reference, other)]
    add_metric(found, "cluster_memorised", cluster_memorised(*counts, seed))
    return found


def inject_defect(name: str, hits: Hits, training: Hits) -> Hits:
    """Events with a defect, renumbered from 0."""
    defective = all_defects(training)[name](hits, np.random.default_rng(1))
    return replace(defective, event=np.repeat(np.arange(len(hits) // SENSORS), SENSORS))


def compare_defect(name: str, reference: Sample, hits: Hits, training: Hits) -> Comparison:
    """Compare events with one defect to the reference."""
    other = summarise_pxd(inject_defect(name, hits, training))
    return compare_hits(reference, other, known_events(training), 0)


def add_studies(
    found: dict[str, Comparison], real: Hits, hits: Hits, training: Hits, n: int, names: list[str]
) -> Iterator[str]:
    """Add studies of n events of each defect; yield the name of each."""
    some = np.arange(n * SENSORS)
    made = {
        "pairs": EventPairs(0), "types": BackgroundTypes(0),
        "tracking": TrackingComparison(n, 0), "sensors": SensorComparison(n, 0),
    }  # fmt: skip
    for study in (made[name] for name in names):
        for recorder in study.reference(GEOMETRY, len(real) // SENSORS):
            recorder.add(real)
        for name in found:
            for recorder in study.candidate(name):
                recorder.add(inject_defect(name, hits, training).take(some))
        study.judge(found)
        yield study.name


def processor_seconds() -> float:
    """Processor time of this process and of its finished workers."""
    used = (resource.getrusage(k) for k in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def excess_cell(excess: float) -> str:
    """A cell of the table: empty up to 3 sigma."""
    if excess <= SIGMAS:
        return ""
    return "> 999" if excess > 999 else f"{excess:.0f}"


def render(
    n: int,
    m: int,
    of_studies: int,
    trials: list[tuple[str, list[str]]],
    found: dict[str, Comparison],
    sensors: str,
    studies: list[str],
) -> str:
    """The content of ``sensitivity_table.md``.

    Args:
        n: events of each sample with a defect.
        m: events of each sample of a trial.
        of_studies: events of the studies.
        trials: verdict and metrics outside the floor of each trial.
        found: comparison of each defect.
        sensors: from ``about_sensors``.
        studies: names of those that the comparisons have.
    """
    options = "" if studies == STUDIES else " --studies " + " ".join(studies)
    within = sum(verdict == "within floor" for verdict, _ in trials)
    lone = sum(bool(outside) for _, outside in trials)
    counts = Counter(name for _, outside in trials for name in outside)
    seen = ", ".join(f"`{k}` {v}" for k, v in counts.most_common()) or "none"
    names = list(found)
    excess = {
        name: {k: sigmas_above(x) for k, x in f["metrics"].items()} for name, f in found.items()
    }
    lines = [
        "# Sensitivity table",
        "",
        f"`python benchmarks/sensitivity_table.py --out benchmarks/sensitivity_table.md{options}`",
        "",
        f"Built-in simulation of the PXD. {n} events with an injected defect against {n} other "
        f"events (seed {SEED}), {n} more as training events (seed {TRAINING_SEED}); studies "
        f"({', '.join(studies) or 'none'}) of the first {of_studies} of them. Judges (`auc_`), "
        "which are trained for each comparison, have [a table of their own](judge_sensitivity.md).",
        "",
        f"{len(trials)} trials of {m} against {m} real events, all disjoint (seed {TRIAL_SEED}), "
        "with tracks, every event used once, and with the released network: verdict "
        f"`within floor` in **{within} of {len(trials)}**; in {lone} at least one metric was "
        f'beyond 3 sigma on its own ({seen}). The column "nothing" is one more.',
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
        row = [excess_cell(excess[name][metric]) for name in names]
        lines.append(f"| `{metric}` | " + " | ".join(row) + " |")
    number = [str(sum(x > SIGMAS for x in excess[name].values())) for name in names]
    lines.append("| metrics beyond 3 sigma | " + " | ".join(number) + " |")
    limits = [f"{f['verdict'].split()[0]} ({f['sigmas']:.1f})" for f in found.values()]
    lines.append("| verdict (its limit in sigma) | " + " | ".join(limits) + " |")
    return "\n".join(lines) + "\n"


def about_sensors(reference: Summary) -> str:
    """One paragraph on the correlation of sensors in the simulation."""
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
    parser.add_argument("--study-events", type=int, default=100, help="of the studies")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--studies", nargs="*", choices=STUDIES, default=STUDIES)
    a = parser.parse_args()
    start = time.perf_counter()
    events = {}
    with ProcessPoolExecutor(a.processes) as workers:
        for key, seed, first in (
            ("real", SEED, 0), ("made", SEED, a.events), ("training", TRAINING_SEED, 0),
        ):  # fmt: skip
            jobs = [workers.submit(simulated_events, seed, first + k, BLOCK)
                    for k in range(0, a.events, BLOCK)]  # fmt: skip
            events[key] = concatenate([job.result() for job in jobs])
        real, made, training = events.values()
        parts = list(workers.map(summarise_pxd, blocks(real)))
        summary = join_summaries(p.summary for p in parts)
        reference = Sample(summary, parts[0].example, join_samples([p.clusters for p in parts]))
        known = known_events(training)
        defects = {
            name: workers.submit(compare_defect, name, reference, made, training)
            for name in all_defects(training)
        }
        trials = [workers.submit(run_trial, k, a.trial_events, known) for k in range(a.trials)]
        found = {name: job.result() for name, job in defects.items()}
        print(f"defects: {time.perf_counter() - start:.0f} s", flush=True)
        results = [job.result() for job in trials]
        print(f"trials: {time.perf_counter() - start:.0f} s", flush=True)
    sensors = about_sensors(summary)

    done: list[str] = []

    def write() -> None:  # also intermediate results
        sizes = a.events, a.trial_events, a.study_events
        a.out.write_text(render(*sizes, results, found, sensors, done))

    write()
    for name in add_studies(found, real, made, training, a.study_events, a.studies):
        done.append(name)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        write()


def blocks(hits: Hits) -> list[Hits]:
    """Split into blocks of at most ``BLOCK`` events."""
    size = BLOCK * SENSORS
    return [hits.take(np.arange(k, min(k + size, len(hits)))) for k in range(0, len(hits), size)]


if __name__ == "__main__":
    main()
