"""W1 of jets as the JetNet library computes it (arXiv:2106.11535), beside published numbers.

Batches of 50 000 jets are drawn with replacement from each sample, however many jets it has; the
value is the mean of 5 batches and the error their standard deviation (``jetnet.evaluation.w1m``,
``w1p``, ``w1efp``; a mean over coordinates or EFPs is taken in each batch). Drawing with
replacement adds its own fluctuations, so these values exceed those of ``point_sets.compare_sets``,
which uses every jet once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.metrics.bias import finite_or_none

BATCH, BATCHES = 50_000, 5
# Columns of ``jet_sample`` by metric; "points" are the coordinates of constituents.
COLUMNS = {
    "w1m": "mass", "w1p": "points", "w1efp": "w1efp",
    "w1_tau21": "tau21", "w1_tau32": "tau32", "w1_d2": "d2",
}  # fmt: skip
Sample = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Batch = tuple[NDArray[np.int64], NDArray[np.int64]]  # how often each jet is in either side


class SortedValues:
    """Values that are sorted once, for W1 between many weightings of them.

    Args:
        values: [k].
        jet: [k], the jet that each value belongs to.
    """

    def __init__(self, values: NDArray[Any], jet: NDArray[np.int64]) -> None:
        order = np.argsort(values)
        self.gaps = np.diff(values[order].astype(np.float64))
        self.jet = jet[order]

    def w1(self, a: NDArray[Any], b: NDArray[Any]) -> float:
        """W1, the integral of the difference of the distribution functions; weights per jet [n]."""
        a, b = a[self.jet], b[self.jet]
        return float(np.abs(np.cumsum(a / a.sum() - b / b.sum())[:-1]) @ self.gaps)


@np.errstate(over="ignore", invalid="ignore")  # a value that is not finite is None
def jetnet_w1(real: Sample, generated: Sample, seed: int = 0) -> dict[str, dict[str, Any]]:
    """W1 metrics from batches with replacement.

    Args:
        real, generated: from ``jet_sample``.
        seed: of the batches.

    Returns:
        {metric: {"value", "error", "floor", "floor_error"}}. The floor is that of batches of
        disjoint random halves of the real sample, times the square root of the ratio of variances
        (1/a + 1/b + 2/B) / (4/a + 2/B) with the sizes a and b of the samples and B of a batch.
    """
    n_r, n_c = (len(x["mass"]) for x in (real, generated))
    rng = np.random.default_rng(seed)
    halves = [np.array_split(rng.permutation(n_r), 2) for _ in range(BATCHES)]
    sides = (np.arange(n_r), n_r + np.arange(n_c))
    batches = [draw_batch(*sides, n_r + n_c, rng) for _ in range(BATCHES)]
    batches += [draw_batch(a, b, n_r + n_c, rng) for a, b in halves]
    scale = np.sqrt((1 / n_r + 1 / n_c + 2 / BATCH) / (4 / n_r + 2 / BATCH))
    found = {}
    for name, column in COLUMNS.items():
        values = np.mean([
            [x.w1(*batch) for batch in batches] for x in sorted_columns(real, generated, column)
        ], axis=0)  # fmt: skip
        value, floor = values[:BATCHES], scale * values[BATCHES:]
        numbers = (value.mean(), value.std(), floor.mean(), floor.std())
        keys = ("value", "error", "floor", "floor_error")
        found[name] = {k: finite_or_none(float(x)) for k, x in zip(keys, numbers, strict=True)}
    return found


def draw_batch(
    a: NDArray[np.int64], b: NDArray[np.int64], jets: int, rng: np.random.Generator
) -> Batch:
    """Draw a batch of either side; jets are numbered over both samples.

    Args:
        a, b: jets to draw from.
        jets: number of jets of both samples.
        rng: draws them.
    """
    first, second = (
        np.bincount(x[rng.integers(len(x), size=BATCH)], minlength=jets) for x in (a, b)
    )
    return first, second


def sorted_columns(real: Sample, generated: Sample, column: str) -> Iterator[SortedValues]:
    """One ``SortedValues`` of both samples per coordinate, EFP or number of a jet."""
    samples = (real, generated)
    if column == "points":
        masks = np.concatenate([x["mask"] for x in samples])
        jet = np.nonzero(masks)[0]
        values = np.concatenate([x["points"][x["mask"]] for x in samples])
    else:
        values = np.concatenate([x[column].reshape(len(x["mass"]), -1) for x in samples])
        jet = np.arange(len(values))
    for k in range(values.shape[1]):
        yield SortedValues(values[:, k], jet)
