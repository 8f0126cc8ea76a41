"""From the generator's last feature map to an image that can be exactly empty."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasgen.backend.random_numbers import normal

EMPTY = -1.0
# Widths of the gate's gradient, in units of the score.
WIDTH_BELOW, WIDTH_ABOVE = 0.15, 1.0
# A mean charge counts as no farther below the threshold than so many of its widths.
FARTHEST = 5.0
# Upper tail of a component below which float32 does not resolve where in it a number is.
LEAST_UPPER = 1e-7
# What the lowest charge is above the cut, in its logit, so that rounding leaves it above.
ABOVE = 1e-3


class HitmapGenerator(keras.Model):
    """A generator of scores and distributions of charges, which this class makes into hitmaps.

    Attributes:
        image: (height, width) of the padded sensor, pixels.
        output_form: "gated", or "tanh": the level is the image, and nothing is exactly empty.
        floor: lowest level of a fired pixel of the gated output, on [-1, 1].
        lowest: logit of the lowest charge that is read out, where charges are drawn.
    """

    image: tuple[int, int]
    output_form: str
    floor: float
    lowest: float = -math.inf

    @property
    def pixel_planes(self) -> int:
        """Noise numbers per cell that charges are drawn with, the last ones of its noise."""
        return 0

    def noise_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Shape of one image's noise for an image of the given size in pixels."""
        raise NotImplementedError

    def distribution(
        self, sensor: Any, latent: Any, noise: Any, origin: Any, training: bool = False
    ) -> tuple[Any, ...]:
        """Score [B, h, w, cell * C] before ``to_pixels``, and what ``level`` needs to know of the
        charge: its logit, or a mixture as ``truncated_normal`` takes it, [B, h, w, cell * C, K]
        each; float32; arguments of ``call``."""
        raise NotImplementedError

    def image_scores(
        self, sensor: Any, latent: Any, seed: Any, event: Any
    ) -> tuple[Any, Callable[[Any], list[Any]], Any]:
        """``distribution`` of one whole image with noise of its own, but for the charges.

        Arguments:
            sensor: [1] int32.
            latent: [1, latent].
            seed: int64 [2], of the noise; the next one after it belongs to it too.
            event: int64 [2], a seed that all sensors of the event have.

        Returns:
            Scores [h, w, cell * C]; what gives the distribution of the charge at some of their
            places, int [n, 3], as tensors [n] or [n, K]; the track segments of the clusters,
            as ``cluster_threshold`` takes them; None where pixels fire by one threshold.
        """
        height, width, planes = self.noise_shape(self.image)
        noise = normal(seed, [1, height, width, planes - self.pixel_planes])
        origin = ops.zeros([1, 2], "int32")
        score, *charge = self.distribution(sensor, latent, noise, origin)
        return score[0], lambda cell: [tf.gather_nd(x[0], cell) for x in charge], None

    def charge_noise(self, noise: Any) -> Any:
        """The normal numbers of the noise that charges are drawn with, as ``level`` takes them."""
        return None

    def level(self, charge: Any, numbers: Any) -> Any:
        """Levels drawn from the distributions of charges with normal numbers, one each."""
        if self.output_form == "tanh":
            return charge[0]
        logit = charge[0] if len(charge) == 1 else truncated_normal(charge, self.lowest, numbers)
        return fired_level(logit, self.floor)

    def maps(
        self, sensor: Any, latent: Any, noise: Any, origin: Any, training: bool = False
    ) -> tuple[Any, Any]:
        """Score and level, both [B, h, w, cell * C] before ``to_pixels``, float32."""
        score, *charge = self.distribution(sensor, latent, noise, origin, training=training)
        if len(charge) > 1:  # what the share of a component does to a draw is a jump
            charge[0] = ops.stop_gradient(charge[0])
        return score, self.level(charge, self.charge_noise(noise))

    def to_pixels(self, cells: Any) -> Any:
        """[B, h, w, cell * C] -> [B, H, W, C]; here a cell is a pixel already."""
        return cells

    def call(
        self, sensor: Any, latent: Any, noise: Any, origin: Any, training: bool = False
    ) -> tuple[Any, Any]:
        """[B], [B, latent], [B, *noise_shape], [B, 2] -> image and gate, [B, H, W, C].

        The image is on the scale [-1, 1]; the gate is 1 where a pixel fires, else 0.
        """
        score, level = self.maps(sensor, latent, noise, origin, training=training)
        gate = straight_through_gate(score)
        image = level if self.output_form == "tanh" else EMPTY + gate * (level - EMPTY)
        return self.to_pixels(image), self.to_pixels(gate)


def charge_threshold(threshold: int, max_charge: int) -> float:
    """Half an ADU below the threshold on the scale [-1, 1]: charges round to whole ADU later."""
    return 2.0 * math.log(threshold + 0.5) / math.log(1.0 + max_charge) - 1.0


def fired_level(x: Any, floor: float) -> Any:
    """Level of a fired pixel, in (floor, 1): floor + (1 - floor) * sigmoid(x).

    A floor below the read-out threshold leaves room for the pixel-aware term, where charges are not
    drawn above threshold anyway; a floor of an empty pixel would let the generator hide its hits as
    charges of nearly zero.
    """
    return floor + (1.0 - floor) * ops.sigmoid(x)


def level_logit(level: Any, floor: float) -> Any:
    """The inverse of ``fired_level``, for levels that a fired pixel has: above the floor."""
    share = ops.clip((level - floor) / (1.0 - floor), 1e-3, 1.0 - 1e-3)
    return ops.log(share / (1.0 - share))


def share_above(mean: Any, width: Any, lowest: float) -> Any:
    """The share of normal distributions above ``lowest``, of the shape of ``mean``."""
    away = ops.minimum((lowest - mean) / width, FARTHEST)
    return 0.5 * tf.math.erfc(away * math.sqrt(0.5))


def truncated_normal(mixture: Any, lowest: float, numbers: Any) -> Any:
    """Mixtures of normal distributions cut off at ``lowest``, drawn with standard normal numbers.

    A pixel with less charge than the threshold is not read out: of the normal distribution of a
    charge the part above is left. A number says both which component is drawn and, by what is left
    of it, where in it.

    Arguments:
        mixture: log of the shares, means and widths of the components, [..., K] each.
        numbers: [...].
    """
    log_share, mean, width = mixture
    upper = 0.5 * tf.math.erfc(numbers * math.sqrt(0.5))
    share = ops.exp(log_share)
    after = ops.cumsum(share, axis=-1)
    number = ops.sum(ops.cast(upper[..., None] > after[..., :-1], "int32"), axis=-1)
    mean, width, share, before = (
        tf.gather(x, number, batch_dims=number.shape.rank)
        for x in (mean, width, share, after - share)
    )
    upper = ops.clip((upper - before) / share, LEAST_UPPER, 1.0)
    upper = ops.clip(share_above(mean, width, lowest) * upper, 1e-30, 1.0 - 1e-6)
    return ops.maximum(mean - width * tf.math.ndtri(upper), lowest)


def straight_through_gate(score: Any) -> Any:
    """1 where score > 0, else 0; the gradient is 1 / (1 + |score| / w)^2.

    An empty pixel is exactly empty and still learns (straight-through, arXiv:1308.3432). The
    surrogate is the one of spiking networks (SuperSpike, arXiv:1705.11146, eq. 5), whose tail is
    heavier than a sigmoid's. It is narrow below threshold: of hundred empty pixels nearly all are
    far from any hit, and with w = 1 they, not the edges of clusters, drove the generator. It is
    wide above, so that pixels that fire for certain can be switched off.
    """
    fires = score > 0
    soft = score / (1.0 + ops.abs(score) / ops.where(fires, WIDTH_ABOVE, WIDTH_BELOW))
    # In this order the gate is 0 or 1 to the bit.
    return ops.cast(fires, soft.dtype) + (soft - ops.stop_gradient(soft))


def scale_to_charge(level: Any, max_charge: int) -> Any:
    """Level on [-1, 1] -> ADU, not rounded: (1 + max_charge)^((level + 1) / 2) - 1.

    The inverse of ``kerasgen.data.pipeline.to_log_scale``.
    """
    return ops.exp((level + 1.0) * (0.5 * math.log(1.0 + max_charge))) - 1.0
