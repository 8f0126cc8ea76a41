"""Generated point sets: from the answer of a generator to ``PointSets``."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasgen.data.jets import jet_observables
from kerasgen.data.points import PointSets, multiplicity


def generated_sets(generator: Any, events: range, seed: int, pt: float | None = None) -> PointSets:
    """Generated sets of these event numbers; ``pt``: of all jets, GeV."""
    pair = np.stack([np.full(len(events), seed), np.arange(events.start, events.stop)], -1)
    pair = pair.astype(np.int64)
    if pt is None:
        answer = generator.generate(seed=pair)
    else:
        answer = generator.generate_pt(seed=pair, pt=np.full(len(events), pt, np.float32))
    answer = {name: np.asarray(x) for name, x in answer.items()}
    return answered_sets(answer, answer["label"], answer["jet"], answer["total"])


def reconstructed_sets(generator: Any, sets: PointSets) -> PointSets:
    """Real sets through encoder and decoder."""
    jet = np.zeros((len(sets), 2), np.float32)
    if sets.features.shape[1] >= 2:
        jet = sets.features[:, :2]
    answer = generator.reconstruct(
        points=sets.points, count=sets.counts.astype(np.int32),
        label=sets.label.astype(np.int32), jet=jet,
    )  # fmt: skip
    answer = {name: np.asarray(x) for name, x in answer.items()}
    return answered_sets(answer, sets.label, jet, multiplicity(sets))


def answered_sets(
    answer: dict[str, np.ndarray], label: np.ndarray, jet: np.ndarray, total: np.ndarray
) -> PointSets:
    """Point sets from the answer of a generator; features: those of jets, mass of its points.

    ``total``: multiplicity before the cut to P points.
    """
    points, count = answer["points"], answer["count"]
    mask = np.arange(points.shape[1]) < count[:, None]
    features = total[:, None].astype(np.float32)
    if jet.any():
        mass = jet_observables(points, mask)["mass"] * jet[:, 0]
        features = np.stack([jet[:, 0], jet[:, 1], mass, total], -1).astype(np.float32)
    return PointSets(points, mask, label.astype(np.uint8), features)
