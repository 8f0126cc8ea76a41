"""What the judge of jets sees of known defects, and how its AUC grows with its training.

``python benchmarks/jet_judge.py jets.h5 [--jets N] [--defects NAME ...] [--epochs E ...]`` judges
jets of the file with a defect against others of it; "nothing" is the floor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kerasgen.data.point_source import open_sets
from kerasgen.evaluation.report_rows import value_with_error
from kerasgen.metrics import jet_judge

Points = np.ndarray[Any, Any]
Random = np.random.Generator


def smeared(points: Points, rng: Random) -> Points:
    """pT of each constituent, smeared by 2 %."""
    points[..., 2] *= rng.normal(1, 0.02, points.shape[:2])
    return points


def jet_smeared(points: Points, rng: Random) -> Points:
    """pT of all constituents of a jet, smeared by the same 2 %."""
    points[..., 2] *= rng.normal(1, 0.02, (len(points), 1))
    return points


def shifted(points: Points, rng: Random) -> Points:
    """pT of all constituents 2 % larger."""
    points[..., 2] *= 1.02
    return points


def wider(points: Points, rng: Random) -> Points:
    """Distances from the axis 2 % larger."""
    points[..., :2] *= 1.02
    return points


def rotated(points: Points, rng: Random) -> Points:
    """Each constituent at a random azimuth about the axis: no prongs."""
    angle = rng.uniform(0, 2 * np.pi, points.shape[:2])
    radius = np.hypot(points[..., 0], points[..., 1])
    points[..., 0], points[..., 1] = radius * np.cos(angle), radius * np.sin(angle)
    return points


DEFECTS: dict[str, Callable[[Points, Random], Points]] = {
    "nothing": lambda points, rng: points,
    "smeared": smeared,
    "jet_smeared": jet_smeared,
    "shifted": shifted,
    "wider": wider,
    "rotated": rotated,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", help="jets, at least 2 N")
    parser.add_argument("--jets", type=int, default=jet_judge.JETS, help="of each side")
    parser.add_argument("--points", type=int, default=30, help="constituents that are kept")
    parser.add_argument("--defects", nargs="+", default=list(DEFECTS), choices=DEFECTS)
    parser.add_argument("--epochs", nargs="+", type=int, default=[jet_judge.EPOCHS])
    a = parser.parse_args()
    with open_sets(a.file) as file:
        sets = file.read(0, len(file))
    order = np.random.default_rng(0).permutation(len(sets))[: 2 * a.jets]
    sets = sets.take(order)
    points, mask = sets.points[:, : a.points], sets.mask[:, : a.points]
    halves = slice(0, a.jets), slice(a.jets, None)
    print(f"| defect | epochs | AUC, {a.jets} jets of each side | s |\n|---|---|---|---|")
    for name in a.defects:
        for epochs in a.epochs:
            jet_judge.EPOCHS = epochs
            real, other = (
                {"points": points[h].copy(), "mask": mask[h], "label": sets.label[h]}
                for h in halves
            )
            other["points"] = DEFECTS[name](other["points"], np.random.default_rng(1))
            start = time.perf_counter()
            found = jet_judge.jets_auc(real, other, np.random.default_rng(0))
            seconds = time.perf_counter() - start
            print(f"| {name} | {epochs} | {value_with_error(*found)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
