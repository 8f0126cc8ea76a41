"""From random numbers to point sets, one tile of rows at a time, on every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

from kerasgen.models.set_generation import SetGenerator, normal_quantile
from kerasgen.models.sparse_vae.autoregressive import AutoregressiveDecoder

if TYPE_CHECKING:
    from kerasgen.models.sparse_vae.vae import SparseVAE

TILE = 1024  # rows that are computed together


class SetNetworks(SetGenerator):
    """Networks of a sparse VAE with normaliser.

    Args:
        vae: trained networks and normaliser.
    """

    def __init__(self, vae: SparseVAE) -> None:
        # Each word gives two random numbers; a sampled point needs four.
        sampled = isinstance(vae.decoder, AutoregressiveDecoder)
        words = 2 * vae.normaliser.size if sampled else 0
        super().__init__(vae.normaliser, vae.latent_size, words, TILE)
        self.encoder, self.decoder, self.flow = vae.encoder, vae.decoder, vae.flow

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
        points = self.converted(points, mask, jet)
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
        return self.stored(self.normaliser.to_physical(points), count, jet)
