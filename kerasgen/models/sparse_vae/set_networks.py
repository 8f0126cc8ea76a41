"""From random numbers to point sets, one tile of rows at a time, on every backend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.data.jets import from_coordinates, to_coordinates
from kerasgen.models.sparse_vae.autoregressive import AutoregressiveDecoder, taken
from kerasgen.models.sparse_vae.normaliser import Normaliser

if TYPE_CHECKING:
    from kerasgen.models.sparse_vae.vae import SparseVAE

# Rows that are computed together. The bits of a matrix product depend on the size of its batch, so
# every batch is split into tiles of one size, the last one padded.
TILE = 1024
GOLDEN = 0x1E3779B97F4A7C15  # moves 0 away from the fixed point of SplitMix64's ``mixed``


class SetNetworks:
    """Networks of a sparse VAE with normaliser.

    Args:
        vae: trained networks and normaliser.

    Attributes:
        size: P, points per row.
        latent_size: L.
        point_words: random words per row that sample the points; 0: a row follows from its latents.
        conditions: physical quantities that sets can be generated for, beside their class.
    """

    def __init__(self, vae: SparseVAE) -> None:
        self.normaliser: Normaliser = vae.normaliser
        self.encoder, self.decoder, self.flow = vae.encoder, vae.decoder, vae.flow
        self.size, self.latent_size = vae.normaliser.size, vae.latent_size
        # Each word gives two random numbers; a sampled point needs four.
        self.point_words = 2 * self.size if isinstance(vae.decoder, AutoregressiveDecoder) else 0
        self.conditions = ("pt",) if self.normaliser.pt else ()

    def generated_sets(
        self, count: Any, label: Any, jet: Any, uniform: Any, numbers: Any
    ) -> dict[str, Any]:
        """Sets of given conditions.

        Args:
            count: [n] int32, points; a row below 0 has none.
            label: [n] int32, class.
            jet: [n, 2], pT in GeV and eta.
            uniform: random numbers on (0, 1), [n, L]; give the latent vector.
            numbers: random numbers on (0, 1), [n, 2 point_words].

        Returns:
            As ``decoded_sets``.
        """
        latent = normal_quantile(uniform)
        if self.flow is not None:
            latent = self.flow.inverse(latent, self.normaliser.condition(label, count, jet[:, 0]))
        return self.decoded_sets(latent, count, label, jet, numbers)

    def posterior(self, points: Any, count: Any, label: Any, jet: Any) -> dict[str, Any]:
        """Posterior of stored sets.

        Args:
            points: [n, P, 3], as stored.
            count, label, jet: as in ``generated_sets``.

        Returns:
            ``mean`` and ``log_variance`` [n, L].
        """
        mask = self.mask(count)
        if self.normaliser.coordinates != "image":
            points = to_coordinates(points, mask, jet, self.normaliser.coordinates, ops)
        condition = self.normaliser.condition(label, count, jet[:, 0])
        posterior = self.encoder(self.normaliser.to_network(points), mask, condition)
        mean, log_variance = self.normaliser.with_total(posterior, points, mask)
        return {"mean": mean, "log_variance": log_variance}

    def decoded_sets(
        self, latent: Any, count: Any, label: Any, jet: Any, numbers: Any
    ) -> dict[str, Any]:
        """Decoded sets, points in the order of their intensity.

        Args:
            latent: [n, L].
            count, label, jet, numbers: as in ``generated_sets``.

        Returns:
            ``points`` [n, P, 3] as stored, the most intense first, padding zero, and ``count``.
        """
        condition = self.normaliser.condition(label, count, jet[:, 0])
        mask = self.mask(count)
        if self.point_words:
            uniform, rest = numbers[:, : self.size], numbers[:, self.size :]
            # The order of the words' parts is part of the numbers of a seed.
            rest = ops.concatenate([rest[:, self.size :], rest[:, : self.size]], axis=-1)
            normal = ops.reshape(normal_quantile(rest), (-1, self.size, 3))
            points = self.decoder.sample_points(latent, condition, mask, uniform, normal)
        else:
            points = self.decoder(latent, condition)
        points = self.normaliser.to_physical(points)
        if self.normaliser.coordinates != "image":
            points = from_coordinates(points, mask, jet, self.normaliser.coordinates, ops)
        order = ops.argsort(ops.where(mask, -points[..., 2], np.inf), axis=-1)
        points = taken(points, order)
        return {"points": ops.where(mask[..., None], points, 0.0), "count": count}

    def mask(self, count: Any) -> Any:
        """True for points: [n] -> [n, P]."""
        return ops.arange(self.size, dtype="int32") < count[:, None]


def class_edges(table: dict[str, NDArray[Any]]) -> NDArray[np.int32]:
    """First and last + 1 row of each class in a table of conditions, [2, classes]."""
    known = np.arange(int(table["label"].max()) + 1)
    return np.searchsorted(table["label"], [known, known + 1]).astype(np.int32)


def normal_quantile(uniform: Any) -> Any:
    """Standard normal numbers from uniform numbers on (0, 1) by the quantile function."""
    return math.sqrt(2.0) * ops.erfinv(2.0 * uniform - 1.0)
