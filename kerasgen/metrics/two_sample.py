"""Classifier two-sample test: area under the ROC curve of classifiers of real against generated.

A classifier is trained on half of the events of both samples and tested on the other half
(D. Lopez-Paz and M. Oquab, arXiv:1610.06545); 0.5: real and generated are not distinguished. The
error comes from a bootstrap of the events of the test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from kerasgen.metrics.bootstrap import RESAMPLES, bootstrap_rows, mean_and_deviation

Floats = NDArray[np.float64]
MIN_EVENTS = 4  # of a test half; a bootstrap of fewer gives no error


@dataclass(frozen=True)
class NetworkInputs:
    """Inputs of a classifier from some events.

    Attributes:
        image: [n, ...], what the classifier sees.
        sensor: int64 [n].
        event: int64 [n], counted from 0, ascending.
    """

    image: NDArray[Any]
    sensor: NDArray[np.int64]
    event: NDArray[np.int64]

    def take(self, events: NDArray[np.int64]) -> NetworkInputs:
        """Inputs of some events, which are renumbered from 0."""
        rows = np.flatnonzero(np.isin(self.event, events))
        number = np.searchsorted(np.sort(events), self.event[rows])
        return NetworkInputs(self.image[rows], self.sensor[rows], number)

    def first(self, events: int) -> NetworkInputs:
        """Inputs of the first events that have any, renumbered from 0 without gaps."""
        return self.take(np.unique(self.event)[:events])

    @property
    def events(self) -> int:
        """Number of events with inputs."""
        return len(np.unique(self.event))


Score = Callable[[NetworkInputs], Floats]
Train = Callable[[list[NetworkInputs], int], Score]


def auc(real: Floats, generated: Floats) -> float:
    """Area under the ROC curve: the probability that a generated score exceeds a real one."""
    ranks = rankdata(np.concatenate([real, generated]))
    n = len(generated)
    return float((ranks[len(real) :].sum() - n * (n + 1) / 2) / (n * len(real)))


def two_sample_auc(
    real: NetworkInputs, generated: NetworkInputs, seed: int, train: Train
) -> tuple[float, float]:
    """Train on half of the events of both samples, test on the rest.

    Args:
        real, generated: at least two events each.
        seed: of the split, the network and the bootstrap.
        train: trains a classifier of [real, generated] with a seed; its scores are low for real.

    Returns:
        AUC, and its standard deviation over bootstrap samples of the test events; NaN with fewer
        than ``MIN_EVENTS`` of them on a side.
    """
    rng = np.random.default_rng(seed)
    halves = [random_halves(sample, rng) for sample in (real, generated)]
    score = train([h[0] for h in halves], seed)
    test = [h[1] for h in halves]
    scores = [score(sample) for sample in test]
    if min(sample.events for sample in test) < MIN_EVENTS:
        return auc(*scores), math.nan
    bootstraps = []
    for _ in range(RESAMPLES):
        rows = [bootstrap_rows(sample.event, rng) for sample in test]
        bootstraps.append(auc(*(values[r] for values, r in zip(scores, rows, strict=True))))
    return auc(*scores), mean_and_deviation(np.array(bootstraps))[1]


def random_halves(
    sample: NetworkInputs, rng: np.random.Generator
) -> tuple[NetworkInputs, NetworkInputs]:
    """The inputs of two halves of the events."""
    order = rng.permutation(np.unique(sample.event))
    middle = len(order) // 2
    return sample.take(order[:middle]), sample.take(order[middle:])
