"""Output of the generators: firing logits and charge distributions become hitmaps.

Charges are normalised to the log scale [-1, 1] of ``kerasgen.data.pipeline.to_log_scale``: -1 is
an empty pixel, 1 is ``max_charge``. A normalised charge of a fired pixel lies above a floor; its
logit is the inverse sigmoid of its place between floor and 1.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kerasgen.backend.engine import erfc, ndtri

EMPTY_PIXEL = -1.0  # normalised charge
# Steps of the normalised charge on [-1, 1] in which a quantile map is tabulated.
QUANTILE_MAP_SIZE = 4096
# Widths of the gate's surrogate gradient below and above the threshold, in units of the logit.
WIDTH_BELOW, WIDTH_ABOVE = 0.15, 1.0
# A component counts as at most this many standard deviations below the charge threshold.
MAX_DEVIATIONS = 5.0
# float32 does not resolve smaller upper tails of a component.
MIN_UPPER_TAIL = 1e-7
# Margin of the lowest charge above the threshold, in its logit, against rounding.
THRESHOLD_MARGIN = 1e-3


class HitmapGenerator(keras.Model):
    """Base class of the generators: makes hitmaps from firing logits and charge distributions.

    Attributes:
        image: (height, width) of the padded sensor, pixels.
        output_variant: "gated", or "tanh": the normalised charge is the image, and no pixel is
            exactly empty.
        floor: lowest normalised charge of a fired pixel of the gated output.
        min_charge_logit: logit of the lowest charge that is read out, where charges are sampled.
    """

    image: tuple[int, int]
    output_variant: str
    floor: float
    min_charge_logit: float = -math.inf

    @property
    def pixel_planes(self) -> int:
        """Noise numbers per cell that sample the charges; the last planes of the noise."""
        return 0

    def noise_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Shape of one image's noise for an image of the given size in pixels."""
        raise NotImplementedError

    def distribution(
        self, sensor: Any, latent: Any, noise: Any, origin: Any, training: bool = False
    ) -> tuple[Any, ...]:
        """Firing logit and charge distribution of every pixel, float32.

        Args:
            sensor, latent, noise, origin: as in ``call``.
            training: whether the normalisations use batch statistics.

        Returns:
            Firing logit [B, h, w, cell * C], before ``to_pixels``. Then the charge distribution:
            one logit of the charge [B, h, w, cell * C], or the mixture that
            ``sample_truncated_mixture`` takes, three arrays [B, h, w, cell * C, K].
        """
        raise NotImplementedError

    def charge_noise(self, noise: Any) -> Any:
        """The normal numbers of the noise that ``sample_charge`` takes; None: it takes none."""
        return None

    def sample_charge(self, charge: Any, numbers: Any) -> Any:
        """Normalised charges, one of each distribution, by standard normal numbers."""
        if self.output_variant == "tanh":
            return charge[0]
        one_logit = len(charge) == 1
        logit = (
            charge[0]
            if one_logit
            else sample_truncated_mixture(charge, self.min_charge_logit, numbers)
        )
        return charge_from_logit(logit, self.floor)

    def logits_and_charges(
        self, sensor: Any, latent: Any, noise: Any, origin: Any, training: bool = False
    ) -> tuple[Any, Any]:
        """Firing logit and normalised charge, both [B, h, w, cell * C] before ``to_pixels``."""
        logit, *charge = self.distribution(sensor, latent, noise, origin, training=training)
        if len(charge) > 1:  # a sampled charge is discontinuous in the weights of the components
            charge[0] = ops.stop_gradient(charge[0])
        return logit, self.sample_charge(charge, self.charge_noise(noise))

    def to_pixels(self, cells: Any) -> Any:
        """[B, h, w, cell * C] -> [B, H, W, C]; here a cell is a pixel already."""
        return cells

    def call(
        self, sensor: Any, latent: Any, noise: Any, origin: Any, training: bool = False
    ) -> tuple[Any, Any]:
        """Hitmaps and gates, both [B, H, W, C].

        Args:
            sensor: [B] int.
            latent: [B, latent].
            noise: [B, *noise_shape].
            origin: [B, 2] int, corner of the image in the padded sensor, pixels.
            training: whether the normalisations use batch statistics.

        Returns:
            The image, normalised charges on [-1, 1]; the gate, 1 where a pixel fires, else 0.
        """
        logit, charge = self.logits_and_charges(sensor, latent, noise, origin, training=training)
        gate = straight_through_gate(logit)
        tanh = self.output_variant == "tanh"
        image = charge if tanh else EMPTY_PIXEL + gate * (charge - EMPTY_PIXEL)
        return self.to_pixels(image), self.to_pixels(gate)


def charge_threshold(threshold: int, max_charge: int) -> float:
    """Normalised charge half an ADU below the threshold: charges round to whole ADU later."""
    return 2.0 * math.log(threshold + 0.5) / math.log(1.0 + max_charge) - 1.0


def charge_from_logit(x: Any, floor: float) -> Any:
    """Normalised charge of a fired pixel, in (floor, 1): floor + (1 - floor) * sigmoid(x).

    A floor below the read-out threshold leaves room for the pixel-aware term, where charges are not
    sampled above the threshold anyway. With a floor of -1 the generator would hide its hits as
    charges of nearly zero.
    """
    return floor + (1.0 - floor) * ops.sigmoid(x)


def logit_from_charge(charge: Any, floor: float) -> Any:
    """The inverse of ``charge_from_logit``; charges near floor and 1 are clipped."""
    fraction = ops.clip((charge - floor) / (1.0 - floor), 1e-3, 1.0 - 1e-3)
    return ops.log(fraction / (1.0 - fraction))


def fraction_above(mean: Any, std: Any, lowest: float) -> Any:
    """The fraction of normal distributions above ``lowest``, in the shape of ``mean``."""
    distance = ops.minimum((lowest - mean) / std, MAX_DEVIATIONS)
    return 0.5 * erfc(distance * math.sqrt(0.5))


def sample_truncated_mixture(mixture: Any, lowest: float, numbers: Any) -> Any:
    """Samples of mixtures of normal distributions truncated at ``lowest``, [...].

    A pixel with less charge than the threshold is not read out, hence the truncation. One number
    chooses the component, and its remainder the quantile within the component.

    Args:
        mixture: log weights, means and standard deviations of the components, [..., K] each.
        lowest: lower bound of the samples.
        numbers: standard normal, [...].
    """
    log_weight, mean, std = mixture
    upper = 0.5 * erfc(numbers * math.sqrt(0.5))
    weight = ops.exp(log_weight)
    after = ops.cumsum(weight, axis=-1)
    component = ops.sum(ops.cast(upper[..., None] > after[..., :-1], "int32"), axis=-1)
    mean, std, weight, before = (
        ops.take_along_axis(x, component[..., None], axis=-1)[..., 0]
        for x in (mean, std, weight, after - weight)
    )
    upper = ops.clip((upper - before) / weight, MIN_UPPER_TAIL, 1.0)
    upper = ops.clip(fraction_above(mean, std, lowest) * upper, 1e-30, 1.0 - 1e-6)
    return ops.maximum(mean - std * ndtri(upper), lowest)


def straight_through_gate(logit: Any) -> Any:
    """1 where logit > 0, else 0; the gradient is 1 / (1 + |logit| / w)^2.

    An empty pixel is exactly empty and still learns (straight-through, arXiv:1308.3432). The
    surrogate gradient is the one of spiking networks (SuperSpike, arXiv:1705.11146, eq. 5), whose
    tail is heavier than a sigmoid's. It is narrow below the threshold: nearly all empty pixels are
    far from any hit, and with w = 1 they, not the edges of clusters, dominated the gradient. It is
    wide above, so that pixels that fire with certainty can be switched off.
    """
    fires = logit > 0
    above, below = (ops.cast(x, logit.dtype) for x in (WIDTH_ABOVE, WIDTH_BELOW))
    soft = logit / (1.0 + ops.abs(logit) / ops.where(fires, above, below))
    # In this order the gate is 0 or 1 to the bit.
    return ops.cast(fires, soft.dtype) + (soft - ops.stop_gradient(soft))


def to_adu(charge: Any, max_charge: int) -> Any:
    """Normalised charge -> ADU, not rounded: (1 + max_charge)^((charge + 1) / 2) - 1.

    The inverse of ``kerasgen.data.pipeline.to_log_scale``.
    """
    return ops.exp((charge + 1.0) * (0.5 * math.log(1.0 + max_charge))) - 1.0


def quantile_map_index(charge: Any) -> Any:
    """Index of a normalised charge in a quantile map: [-1, 1] -> 0..QUANTILE_MAP_SIZE - 1."""
    step = ops.cast((charge + 1.0) * (0.5 * QUANTILE_MAP_SIZE), "int32")
    return ops.clip(step, 0, QUANTILE_MAP_SIZE - 1)
