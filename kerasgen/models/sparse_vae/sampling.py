"""From seeds to point sets: the sparse VAE as users, files and servers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.backend.seeds import mixed
from kerasgen.models.set_signatures import LABEL, SetSignatures, point_numbers, random_words, tiled
from kerasgen.models.sparse_vae.set_networks import SetNetworks

if TYPE_CHECKING:
    from kerasgen.models.sparse_vae.vae import SparseVAE

COUNT = tf.TensorSpec([None], tf.int32, "count")
JET = tf.TensorSpec([None, 2], tf.float32, "jet")


class PointGenerator(SetNetworks, SetSignatures):
    """Networks of a sparse VAE with normaliser and random numbers: makes stored point sets.

    Args:
        vae: trained networks and normaliser.
        table: of ``condition_table``.
    """

    def __init__(self, vae: SparseVAE, table: dict[str, NDArray[Any]]) -> None:
        SetSignatures.__init__(self, table)
        SetNetworks.__init__(self, vae)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, 3], tf.float32, "points"), COUNT, LABEL, JET],
        autograph=False,
    )
    def encode(self, points: Any, count: Any, label: Any, jet: Any) -> dict[str, Any]:
        """Posterior of stored sets.

        Args:
            points: [N, P, 3], as stored.
            count, label: [N].
            jet: [N, 2], pT in GeV and eta.

        Returns:
            ``mean`` and ``log_variance`` [N, L]; with ``network.total`` the last number is the
            summed intensity (``Normaliser.with_total``).
        """
        points = tf.ensure_shape(points, [None, self.size, 3])
        return tiled(self.posterior, self.tile, [points, count, label, jet])

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.float32, "latent"), COUNT, LABEL, JET],
        autograph=False,
    )
    def decode(self, latent: Any, count: Any, label: Any, jet: Any) -> dict[str, Any]:
        """Stored sets of latent vectors.

        Args:
            latent: [N, L].
            count, label, jet: as in ``encode``.

        Returns:
            ``points`` and ``count``, as ``generate``.
        """
        latent = tf.ensure_shape(latent, [None, self.latent_size])
        return tiled(self.decoded_rows, self.tile, [latent, count, label, jet])

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, 3], tf.float32, "points"), COUNT, LABEL, JET],
        autograph=False,
    )
    def reconstruct(self, points: Any, count: Any, label: Any, jet: Any) -> dict[str, Any]:
        """``decode`` of the mean of ``encode``.

        Args:
            points, count, label, jet: as in ``encode``.
        """
        mean = self.encode(points, count, label, jet)["mean"]
        return self.decode(mean, count, label, jet)

    def decoded_rows(self, latent: Any, count: Any, label: Any, jet: Any) -> dict[str, Any]:
        """One tile of decoded sets; random numbers follow from the latent vector."""
        numbers = point_numbers(random_words(latent_seed(latent), self.point_words))
        return self.decoded_sets(latent, count, label, jet, numbers)


def latent_seed(latent: Any) -> Any:
    """A seed [N, 2] from the bits of latent vectors [N, L]."""
    bits = tf.cast(tf.bitcast(latent, tf.int32), tf.int64)
    position = np.arange(1, latent.shape[1] + 1, dtype=np.int64) * 2**32
    folded = tf.reduce_sum(mixed(bits + position), axis=-1)
    return tf.stack([folded, tf.zeros_like(folded)], axis=-1)
