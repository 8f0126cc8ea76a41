"""What each judge says of each injected defect, at several numbers of events of each side.

``python benchmarks/judge_sensitivity.py --out FILE.md [--events N] [--defects NAME ...] [--data
FILE.h5 --training FILE.h5]`` judges simulated events with a defect against others; "nothing" is the
floor.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from injected_defects import GEOMETRY, SENSORS, all_defects
from sensitivity_table import SEED, TRAINING_SEED, blocks, inject_defect, simulated_events

from kerasgen.data.hits import Hits
from kerasgen.data.store import EventFile
from kerasgen.evaluation.report_rows import value_with_error
from kerasgen.metrics.judge_comparison import SIZES, InputRecorder
from kerasgen.metrics.judges import JUDGES
from kerasgen.metrics.two_sample import two_sample_auc

STORED_EVENTS = 64  # training events of the bank


def recorded(hits: Hits, seed: int) -> InputRecorder:
    """Inputs of all judges."""
    recorder = InputRecorder(GEOMETRY, len(hits) // SENSORS, seed)
    for part in blocks(hits):
        recorder.add(part)
    return recorder


def events_of(path: Path | None, seed: int, first: int, n: int) -> Hits:
    """Events of a file; None: of the fast simulation."""
    if path is None:
        return simulated_events(seed, first, n)
    with EventFile(path) as file:
        return file.read_events(first, first + n)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--events", type=int, default=SIZES[-1], help="of each side")
    parser.add_argument("--defects", nargs="+", metavar="NAME", help="(default: all)")
    parser.add_argument("--data", type=Path, help="of 2 N events (default: fast simulation)")
    parser.add_argument("--training", type=Path, help="events of the bank, with --data")
    a = parser.parse_args()
    real, made = (events_of(a.data, SEED, first, a.events) for first in (0, a.events))
    training = events_of(a.training, TRAINING_SEED, 0, STORED_EVENTS)
    source = f"fast simulation (seeds {SEED} and {TRAINING_SEED})"
    if a.data is not None:
        source = f"events of `{a.data.name}`, banks of `{a.training.name}`"
    sizes = sorted({min(n, a.events) for n in SIZES})
    lines = [
        "# Sensitivity of the judges",
        "",
        f"`python benchmarks/judge_sensitivity.py --events {a.events}`"
        f"{' with the defects below' if a.defects else ''}: AUC by events of each side, "
        f'{source}. "nothing" is the floor.',
        "",
        "| defect | judge | " + " | ".join(map(str, sizes)) + " |",
        "|---|---|" + "---|" * len(sizes),
    ]
    known = recorded(real, 0)
    for name in a.defects or all_defects(training):
        other = recorded(inject_defect(name, made, training), 1)
        for judge in JUDGES:
            train = partial(JUDGES[judge].train, sensors=SENSORS)
            cells = []
            for n in sizes:
                sides = (x.inputs(judge).first(n) for x in (known, other))
                cells.append(value_with_error(*two_sample_auc(*sides, 0, train)))
            lines.append(f"| {name} | `{judge}` | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
        a.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
