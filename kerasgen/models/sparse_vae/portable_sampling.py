"""From seeds to point sets on any backend: ``sampling.PointGenerator`` without an export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasgen.backend.engine import CompiledStep
from kerasgen.backend.numpy_seeds import mixed
from kerasgen.models.portable_sets import (
    Arrays,
    PortableSets,
    Words,
    point_numbers,
    random_words,
    tiled,
)
from kerasgen.models.sparse_vae.set_networks import SetNetworks

if TYPE_CHECKING:
    from kerasgen.models.sparse_vae.vae import SparseVAE


class PortablePointGenerator(SetNetworks, PortableSets):
    """Networks of a sparse VAE with normaliser and random numbers: makes stored point sets.

    Arguments and answers are numpy arrays, as those of ``sampling.PointGenerator``.

    Args:
        vae: trained networks and normaliser.
        table: of ``condition_table``.
    """

    def __init__(self, vae: SparseVAE, table: Arrays) -> None:
        SetNetworks.__init__(self, vae)
        parts = [x for x in (self.encoder, self.decoder, self.flow) if x is not None]
        state = [variable for part in parts for variable in part.variables]
        PortableSets.__init__(self, table, state)
        self.posteriors, self.decoded = (
            CompiledStep(function, state) for function in (self.posterior, self.decoded_sets)
        )

    def encode(self, points: Any, count: Any, label: Any, jet: Any) -> Arrays:
        """Posterior of stored sets."""
        return tiled(self.posteriors, self.tile, [points, count, label, jet])

    def decode(self, latent: Any, count: Any, label: Any, jet: Any) -> Arrays:
        """Stored sets of latent vectors; random numbers follow from the latent vector."""
        numbers = point_numbers(random_words(latent_seed(latent), self.point_words))
        return tiled(self.decoded, self.tile, [latent, count, label, jet, numbers])

    def reconstruct(self, points: Any, count: Any, label: Any, jet: Any) -> Arrays:
        """``decode`` of the mean of ``encode``."""
        mean = self.encode(points, count, label, jet)["mean"]
        return self.decode(mean, count, label, jet)


def latent_seed(latent: Any) -> Words:
    """As ``sampling.latent_seed``: [N, L] -> [N, 2]."""
    bits = np.ascontiguousarray(latent, np.float32).view(np.int32).astype(np.uint64)
    position = np.arange(1, bits.shape[1] + 1, dtype=np.uint64) << np.uint64(32)
    folded = mixed(bits + position).sum(axis=-1, dtype=np.uint64)
    return np.stack([folded, np.zeros_like(folded)], axis=-1)
