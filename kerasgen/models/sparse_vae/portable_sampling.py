"""From seeds to point sets on any backend: ``sampling.PointGenerator`` without an export.

The random words of a seed are the same, bit by bit; numpy makes them, because JAX has no 64-bit
integers by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.backend.engine import CompiledStep
from kerasgen.backend.numpy_seeds import mixed
from kerasgen.models.sparse_vae.set_networks import GOLDEN, TILE, SetNetworks, class_edges

if TYPE_CHECKING:
    from kerasgen.models.sparse_vae.vae import SparseVAE

Arrays = dict[str, NDArray[Any]]
Words = NDArray[np.uint64]


class PortablePointGenerator(SetNetworks):
    """Networks of a sparse VAE with normaliser and random numbers: makes stored point sets.

    Arguments and answers are numpy arrays, as those of ``sampling.PointGenerator``.

    Args:
        vae: trained networks and normaliser.
        table: of ``condition_table``.
    """

    def __init__(self, vae: SparseVAE, table: Arrays) -> None:
        super().__init__(vae)
        self.table = table
        parts = [x for x in (self.encoder, self.decoder, self.flow) if x is not None]
        state = [variable for part in parts for variable in part.variables]
        self.generated, self.posteriors, self.decoded = (
            CompiledStep(function, state)
            for function in (self.generated_sets, self.posterior, self.decoded_sets)
        )

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

    def encode(self, points: Any, count: Any, label: Any, jet: Any) -> Arrays:
        """Posterior of stored sets."""
        return tiled(self.posteriors, [points, count, label, jet])

    def decode(self, latent: Any, count: Any, label: Any, jet: Any) -> Arrays:
        """Stored sets of latent vectors; random numbers follow from the latent vector."""
        numbers = point_numbers(random_words(latent_seed(latent), self.point_words))
        return tiled(self.decoded, [latent, count, label, jet, numbers])

    def reconstruct(self, points: Any, count: Any, label: Any, jet: Any) -> Arrays:
        """``decode`` of the mean of ``encode``."""
        mean = self.encode(points, count, label, jet)["mean"]
        return self.decode(mean, count, label, jet)

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
        return tiled(self.generated, inputs) | {n: chosen[n] for n in ("label", "total", "jet")}


def tiled(function: CompiledStep, inputs: list[Any]) -> Arrays:
    """Apply a function to inputs tile by tile.

    Args:
        function: of arrays [TILE, ...], returns a dictionary of such arrays.
        inputs: [N, ...] each.
    """
    inputs = [np.asarray(x) for x in inputs]
    rows = len(inputs[0])
    function.read_variables()  # a training may have changed them
    parts = []
    for start in range(0, max(rows, 1), TILE):
        tile = [x[start : start + TILE] for x in inputs]
        found = function(*(np.resize(x, (TILE, *x.shape[1:])) for x in tile))
        parts.append({name: np.asarray(x) for name, x in found.items()})
    return {name: np.concatenate([x[name] for x in parts])[:rows] for name in parts[0]}


def random_words(seed: NDArray[Any], count: int) -> Words:
    """As ``sampling.random_words``: [N, 2] -> [N, count]."""
    run, event = seed.astype(np.uint64).T
    start = mixed(mixed(run + np.uint64(GOLDEN)) + event)
    position = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2 * GOLDEN + 1)
    return mixed(start[:, None] + position)


def latent_seed(latent: Any) -> Words:
    """As ``sampling.latent_seed``: [N, L] -> [N, 2]."""
    bits = np.ascontiguousarray(latent, np.float32).view(np.int32).astype(np.uint64)
    position = np.arange(1, bits.shape[1] + 1, dtype=np.uint64) << np.uint64(32)
    folded = mixed(bits + position).sum(axis=-1, dtype=np.uint64)
    return np.stack([folded, np.zeros_like(folded)], axis=-1)


def uniform_numbers(words: Words, shift: int) -> NDArray[np.float32]:
    """As ``sampling.uniform_numbers``."""
    bits = (words >> np.uint64(shift)) & np.uint64(2**23 - 1)
    return (bits.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def point_numbers(words: Words) -> NDArray[np.float32]:
    """As ``sampling.point_numbers``: [N, words] -> [N, 2 words]."""
    return np.concatenate([uniform_numbers(words, shift) for shift in (8, 40)], axis=-1)
