"""Signatures of generators of point sets, on TensorFlow: what a SavedModel of them holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.backend.numpy_seeds import GOLDEN
from kerasgen.backend.seeds import mixed
from kerasgen.models.set_generation import class_edges

SEED = tf.TensorSpec([None, 2], tf.int64, "seed")
LABEL = tf.TensorSpec([None], tf.int32, "label")
PT = tf.TensorSpec([None], tf.float32, "pt")


class SetSignatures(tf.Module):
    """Makes stored point sets from seeds; mixed into a ``SetGenerator``.

    The number of points of a set, and pT and eta of a jet, come from a random training set of its
    class: the distribution of the data, not a learned one. Each generated row depends on its seed
    and label alone.

    Args:
        table: of ``condition_table``.
    """

    tile: int
    latent_size: int
    point_words: int
    generated_sets: Callable[..., dict[str, Any]]

    def __init__(self, table: dict[str, NDArray[Any]]) -> None:
        super().__init__(name="point_generator")
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
        return tiled(self.generated_rows, self.tile, [seed, anything])

    @tf.function(input_signature=[SEED, LABEL], autograph=False)
    def generate_class(self, seed: Any, label: Any) -> dict[str, Any]:
        """Sets of given classes.

        Args:
            seed: as in ``generate``.
            label: [N] int32, class.

        Returns:
            As ``generate``.
        """
        known = tf.where(label < 0, len(self.first), label)
        return tiled(self.generated_rows, self.tile, [seed, known])

    @tf.function(input_signature=[SEED, PT], autograph=False)
    def generate_pt(self, seed: Any, pt: Any) -> dict[str, Any]:
        """Jets of given transverse momenta, for networks that are conditional on pT.

        Args:
            seed: as in ``generate``.
            pt: [N] float32, GeV; a row of pT <= 0 has no points and a count of -1.

        Returns:
            As ``generate``.
        """
        return tiled(self.generated_rows, self.tile, [seed, tf.fill([tf.shape(seed)[0]], -1), pt])

    def generated_rows(self, seed: Any, label: Any, pt: Any = None) -> dict[str, Any]:
        """One tile of generated sets.

        Args:
            seed: [n, 2] int64.
            label: [n] int32; -1: any class.
            pt: [n] float32, GeV; None: any.
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


def tiled(function: Any, size: int, inputs: list[Any]) -> dict[str, Any]:
    """Apply a function to inputs tile by tile.

    Args:
        function: of tensors [size, ...], returns a dictionary of such tensors.
        size: rows of a tile.
        inputs: [N, ...] each.
    """
    n = tf.shape(inputs[0])[0]
    tiles = (n + size - 1) // size
    split = []
    for x in inputs:
        padding = [[0, tiles * size - n]] + [[0, 0]] * (len(x.shape) - 1)
        padded = tf.pad(x, padding)
        split.append(tf.reshape(padded, tf.concat([[tiles, size], tf.shape(x)[1:]], 0)))
        split[-1].set_shape([None, size, *x.shape[1:]])
    one_tile = tf.function(function, autograph=False).get_concrete_function(
        *[tf.TensorSpec(x.shape[1:], x.dtype) for x in split]
    )
    signature = {k: tf.TensorSpec(x.shape, x.dtype) for k, x in one_tile.structured_outputs.items()}
    results = tf.map_fn(lambda xs: one_tile(*xs), split, fn_output_signature=signature)
    return {
        name: tf.reshape(x, tf.concat([[tiles * size], tf.shape(x)[2:]], 0))[:n]
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


def uniform_numbers(words: Any, shift: int) -> Any:
    """Uniform float32 numbers on (0, 1) from 23 bits of int64 words, starting at bit ``shift``."""
    # With 24 of them, half a step above the last would round to 1, whose quantile is infinite.
    bits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(words, shift), 2**23 - 1)
    return (tf.cast(bits, tf.float32) + 0.5) * np.float32(2.0**-23)


def point_numbers(words: Any) -> Any:
    """The two uniform numbers of each word, [N, words] -> [N, 2 words]."""
    return tf.concat([uniform_numbers(words, shift) for shift in (8, 40)], axis=-1)
