"""From seeds to point sets on any backend: ``set_signatures.SetSignatures`` without an export.

The random words of a seed are the same, bit by bit; numpy makes them, because JAX has no 64-bit
integers by default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.backend.engine import CompiledStep
from kerasgen.backend.numpy_seeds import GOLDEN, mixed
from kerasgen.models.set_generation import class_edges

Arrays = dict[str, NDArray[Any]]
Words = NDArray[np.uint64]


class PortableSets:
    """Makes stored point sets from seeds; mixed into a ``SetGenerator``.

    Arguments and answers are numpy arrays, as those of ``set_signatures.SetSignatures``.

    Args:
        table: of ``condition_table``.
        state: variables of the networks.
    """

    tile: int
    latent_size: int
    point_words: int
    generated_sets: Callable[..., dict[str, Any]]

    def __init__(self, table: Arrays, state: list[Any]) -> None:
        self.table = table
        self.generated = CompiledStep(self.generated_sets, state)

    def generate(self, seed: Any) -> Arrays:
        """Sets of classes in the proportions of the data."""
        return self.generate_rows(seed, 0, len(self.table["label"]), True)

    def generate_class(self, seed: Any, label: Any) -> Arrays:
        """Sets of given classes."""
        label, edges = np.asarray(label), class_edges(self.table)
        known = (label >= 0) & (label < edges.shape[1])
        first, end = edges[:, np.where(known, label, -1)]
        return self.generate_rows(seed, first, end, known)

    def generate_pt(self, seed: Any, pt: Any) -> Arrays:
        """Jets of given transverse momenta, for networks that are conditional on pT."""
        pt = np.asarray(pt)
        return self.generate_rows(seed, 0, len(self.table["label"]), pt > 0, np.maximum(pt, 1.0))

    def generate_rows(self, seed: Any, first: Any, end: Any, known: Any, pt: Any = None) -> Arrays:
        """Sets with conditions of some rows of the table.

        Args:
            seed: [N, 2] int64.
            first, end: [N] or scalar; a set has one of the conditions first..end - 1.
            known: [N] or scalar, whether there are such sets.
            pt: [N], GeV; None: that of the condition.
        """
        words = random_words(np.asarray(seed), 1 + self.latent_size + self.point_words)
        size = np.maximum(np.asarray(end) - first, 1).astype(np.uint64)
        row = first + (words[:, 0] % 2**63 % size).astype(np.int64)
        row = np.minimum(row, len(self.table["label"]) - 1)
        chosen = {name: values[row] for name, values in self.table.items()}
        if pt is not None:
            chosen["jet"][:, 0] = pt
        count = np.where(known & np.less(first, end), chosen["count"], np.int32(-1))
        uniform = uniform_numbers(words[:, 1 : 1 + self.latent_size], 40)
        numbers = point_numbers(words[:, 1 + self.latent_size :])
        inputs = [count, chosen["label"], chosen["jet"], uniform, numbers]
        return tiled(self.generated, self.tile, inputs) | {
            n: chosen[n] for n in ("label", "total", "jet")
        }


def tiled(function: CompiledStep, size: int, inputs: list[Any]) -> Arrays:
    """Apply a function to inputs tile by tile.

    Args:
        function: of arrays [size, ...], returns a dictionary of such arrays.
        size: rows of a tile.
        inputs: [N, ...] each.
    """
    inputs = [np.asarray(x) for x in inputs]
    rows = len(inputs[0])
    function.read_variables()  # a training may have changed them
    parts = []
    for start in range(0, max(rows, 1), size):
        tile = [x[start : start + size] for x in inputs]
        found = function(*(np.resize(x, (size, *x.shape[1:])) for x in tile))
        parts.append({name: np.asarray(x) for name, x in found.items()})
    return {name: np.concatenate([x[name] for x in parts])[:rows] for name in parts[0]}


def random_words(seed: NDArray[Any], count: int) -> Words:
    """As ``set_signatures.random_words``: [N, 2] -> [N, count]."""
    run, event = seed.astype(np.uint64).T
    start = mixed(mixed(run + np.uint64(GOLDEN)) + event)
    position = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2 * GOLDEN + 1)
    return mixed(start[:, None] + position)


def uniform_numbers(words: Words, shift: int) -> NDArray[np.float32]:
    """As ``set_signatures.uniform_numbers``."""
    bits = (words >> np.uint64(shift)) & np.uint64(2**23 - 1)
    return (bits.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def point_numbers(words: Words) -> NDArray[np.float32]:
    """As ``set_signatures.point_numbers``: [N, words] -> [N, 2 words]."""
    return np.concatenate([uniform_numbers(words, shift) for shift in (8, 40)], axis=-1)
