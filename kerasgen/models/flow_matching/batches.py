"""Training batches of flow matching: sets with the noise that becomes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from kerasgen.kinds.points import PointData
from kerasgen.models.flow_matching.settings import FlowConfig
from kerasgen.models.set_batches import Arrays, SetBatches
from kerasgen.models.set_normaliser import Normaliser
from kerasgen.models.set_summary import SUMMARY_PLACES


class FlowBatches:
    """``Batches`` of ``FlowMatching``; see there.

    Args:
        config: of the run.
        data: open sets.
        normaliser: of the networks.
    """

    def __init__(self, config: FlowConfig, data: PointData, normaliser: Normaliser) -> None:
        training = config.training
        self.sets = SetBatches(data, normaliser, training.batch, training.seed, self.normalised)
        self.normaliser, self.seed = normaliser, training.seed
        self.assign, self.mirror = config.flow.pairing == "assignment", config.flow.mirror

    def normalised(self, arrays: Arrays) -> Arrays:
        """Arrays of sets with their summaries, and with normalised points."""
        points, mask = arrays["points"], arrays["mask"]
        return arrays | {
            "summary": self.normaliser.summary(points, mask),
            "points": np.asarray(self.normaliser.to_network(points)),
        }

    def batch_at(self, step: int) -> Arrays:
        """See ``Batches.batch_at``."""
        batch = self.sets.batch_at(step)
        key = np.random.SeedSequence([self.seed, step])
        rng = np.random.Generator(np.random.Philox(key))
        if self.mirror:
            batch |= mirrored(batch, rng.integers(0, 2, (len(batch["mask"]), 2)))
        points = batch["points"]
        noise = rng.standard_normal(points.shape, np.float32)
        if self.assign:
            noise = assigned(noise, points, batch["mask"].sum(axis=1))
        return batch | {"noise": noise}


def mirrored(batch: Arrays, sides: NDArray[np.int64]) -> Arrays:
    """Points and summaries of relative jets, mirrored in eta and phi where ``sides`` is 1.

    Args:
        batch: normalised.
        sides: [B, 2], 0 or 1.
    """
    sign = (1 - 2 * sides).astype(np.float32)
    points, summary = batch["points"].copy(), batch["summary"].copy()
    points[..., :2] *= sign[:, None]
    for place in SUMMARY_PLACES:
        summary[:, place : place + 2] *= sign
    return {"points": points, "summary": summary}


def assigned(
    noise: NDArray[np.float32], points: NDArray[np.float32], count: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Noise in the order that minimises the sum of squared distances to the points of each set.

    Args:
        noise, points: [B, P, 3].
        count: [B]; the first points of a row are its points.
    """
    product = noise @ points.transpose(0, 2, 1)
    noise = noise.copy()
    for row, n in enumerate(count):
        # |a - b|^2 = |a|^2 + |b|^2 - 2 ab, and the squares do not depend on the pairs.
        chosen, place = linear_sum_assignment(product[row, :n, :n], maximize=True)
        noise[row, place] = noise[row, chosen]
    return noise
