"""From seeds to point sets: the sparse VAE as users, files and servers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.backend.seeds import mixed
from kerasgen.models.sparse_vae.set_networks import GOLDEN, TILE, SetNetworks, class_edges

if TYPE_CHECKING:
    from kerasgen.models.sparse_vae.vae import SparseVAE

SEED = tf.TensorSpec([None, 2], tf.int64, "seed")
LABEL = tf.TensorSpec([None], tf.int32, "label")
PT = tf.TensorSpec([None], tf.float32, "pt")
COUNT = tf.TensorSpec([None], tf.int32, "count")
JET = tf.TensorSpec([None, 2], tf.float32, "jet")


class PointGenerator(SetNetworks, tf.Module):
    """Networks of a sparse VAE with normaliser and random numbers: makes stored point sets.

    The number of points of a set, and pT and eta of a jet, come from a random training set of its
    class: the distribution of the data, not a learned one. Each generated row depends on its seed
    and label alone.

    Args:
        vae: trained networks and normaliser.
        table: of ``condition_table``.
    """

    def __init__(self, vae: SparseVAE, table: dict[str, NDArray[Any]]) -> None:
        tf.Module.__init__(self, name="point_generator")
        SetNetworks.__init__(self, vae)
        self.table = {name: tf.constant(values) for name, values in table.items()}
        self.first, self.end = (tf.constant(x) for x in class_edges(table))

    @tf.function(input_signature=[SEED], autograph=False)
    def generate(self, seed: Any) -> dict[str, Any]:
        """Sets of classes in the proportions of the data.

        Args:
            seed: [N, 2] int64, (run seed, event number).

        Returns:
            points: [N, P, 3] float32 as stored, the most intense first, padding zero.
            count: [N] int32, points of each row; -1 for an unknown class.
            label: [N] int32.
            total: [N] int32, points of the real set with this condition, before the cut to P.
            jet: [N, 2] float32, pT in GeV and eta; zeros where the sets are no jets.
        """
        anything = tf.fill([tf.shape(seed)[0]], -1)
        return tiled(self.generated_rows, [seed, anything])

    @tf.function(input_signature=[SEED, LABEL], autograph=False)
    def generate_class(self, seed: Any, label: Any) -> dict[str, Any]:
        """Sets of given classes.

        Args:
            seed: as in ``generate``.
            label: [N] int32, class.

        Returns:
            As ``generate``.
        """
        return tiled(self.generated_rows, [seed, tf.where(label < 0, len(self.first), label)])

    @tf.function(input_signature=[SEED, PT], autograph=False)
    def generate_pt(self, seed: Any, pt: Any) -> dict[str, Any]:
        """Jets of given transverse momenta, for networks that are conditional on pT.

        Args:
            seed: as in ``generate``.
            pt: [N] float32, GeV; a row of pT <= 0 has no points and a count of -1.

        Returns:
            As ``generate``.
        """
        return tiled(self.generated_rows, [seed, tf.fill([tf.shape(seed)[0]], -1), pt])

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
        return tiled(self.posterior, [points, count, label, jet])

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
        return tiled(self.decoded_rows, [latent, count, label, jet])

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

    def generated_rows(self, seed: Any, label: Any, pt: Any = None) -> dict[str, Any]:
        """One tile of generated sets.

        Args:
            seed: [TILE, 2] int64.
            label: [TILE] int32; -1: any class.
            pt: [TILE] float32, GeV; None: any.
        """
        words = random_words(seed, 1 + self.latent_size + self.point_words)
        known = label < len(self.first)
        inside = tf.clip_by_value(label, 0, len(self.first) - 1)
        anything = label < 0
        total = tf.shape(self.table["label"])[0]
        first = tf.where(anything, 0, tf.gather(self.first, inside))
        end = tf.where(anything, total, tf.gather(self.end, inside))
        known = tf.logical_and(known, end > first)
        # 63 bits modulo a table of at most 10^5 rows: even to one part in 10^13.
        row = first + tf.cast(
            tf.bitwise.bitwise_and(words[:, 0], 2**63 - 1)
            % tf.cast(tf.maximum(end - first, 1), tf.int64),
            tf.int32,
        )
        row = tf.minimum(row, total - 1)
        chosen = {name: tf.gather(values, row) for name, values in self.table.items()}
        if pt is not None:
            known = tf.logical_and(known, pt > 0)
            chosen["jet"] = tf.stack([tf.maximum(pt, 1.0), chosen["jet"][:, 1]], axis=-1)
        count = tf.where(known, chosen["count"], -1)
        uniform = uniform_numbers(words[:, 1 : 1 + self.latent_size], 40)
        numbers = point_numbers(words[:, 1 + self.latent_size :])
        sets = self.generated_sets(count, chosen["label"], chosen["jet"], uniform, numbers)
        return sets | {name: chosen[name] for name in ("label", "total", "jet")}

    def decoded_rows(self, latent: Any, count: Any, label: Any, jet: Any) -> dict[str, Any]:
        """One tile of decoded sets; random numbers follow from the latent vector."""
        numbers = point_numbers(random_words(latent_seed(latent), self.point_words))
        return self.decoded_sets(latent, count, label, jet, numbers)


def tiled(function: Any, inputs: list[Any]) -> dict[str, Any]:
    """Apply a function to inputs tile by tile.

    Args:
        function: of tensors [TILE, ...], returns a dictionary of such tensors.
        inputs: [N, ...] each.
    """
    n = tf.shape(inputs[0])[0]
    tiles = (n + TILE - 1) // TILE
    split = []
    for x in inputs:
        padding = [[0, tiles * TILE - n]] + [[0, 0]] * (len(x.shape) - 1)
        padded = tf.pad(x, padding)
        split.append(tf.reshape(padded, tf.concat([[tiles, TILE], tf.shape(x)[1:]], 0)))
        split[-1].set_shape([None, TILE, *x.shape[1:]])
    one_tile = tf.function(function, autograph=False).get_concrete_function(
        *[tf.TensorSpec(x.shape[1:], x.dtype) for x in split]
    )
    signature = {k: tf.TensorSpec(x.shape, x.dtype) for k, x in one_tile.structured_outputs.items()}
    results = tf.map_fn(lambda xs: one_tile(*xs), split, fn_output_signature=signature)
    return {
        name: tf.reshape(x, tf.concat([[tiles * TILE], tf.shape(x)[2:]], 0))[:n]
        for name, x in results.items()
    }


def random_words(seed: Any, count: int) -> Any:
    """Random int64 words by SplitMix64 (Steele et al., OOPSLA 2014), [N, count].

    Two events of one run seed start at different positions of the sequence of length 2^64.

    Args:
        seed: [N, 2] int64.
        count: words per row.
    """
    start = mixed(mixed(seed[:, 0] + GOLDEN) + seed[:, 1])
    return mixed(start[:, None] + np.arange(1, count + 1, dtype=np.int64) * (2 * GOLDEN + 1))


def latent_seed(latent: Any) -> Any:
    """A seed [N, 2] from the bits of latent vectors [N, L]."""
    bits = tf.cast(tf.bitcast(latent, tf.int32), tf.int64)
    position = np.arange(1, latent.shape[1] + 1, dtype=np.int64) * 2**32
    folded = tf.reduce_sum(mixed(bits + position), axis=-1)
    return tf.stack([folded, tf.zeros_like(folded)], axis=-1)


def uniform_numbers(words: Any, shift: int) -> Any:
    """Uniform float32 numbers on (0, 1) from 23 bits of int64 words, starting at bit ``shift``."""
    # With 24 of them, half a step above the last would round to 1, whose quantile is infinite.
    bits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(words, shift), 2**23 - 1)
    return (tf.cast(bits, tf.float32) + 0.5) * np.float32(2.0**-23)


def point_numbers(words: Any) -> Any:
    """The two uniform numbers of each word, [N, words] -> [N, 2 words]."""
    return tf.concat([uniform_numbers(words, shift) for shift in (8, 40)], axis=-1)
