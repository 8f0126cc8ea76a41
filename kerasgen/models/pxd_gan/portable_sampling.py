"""From (sensor, seed) to charges in ADU on any backend: ``EventGenerator`` without an export.

The distribution of events is that of ``sampling.EventGenerator``, which is faster on CPUs; the
random numbers are others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.backend.engine import CompiledStep, normal, step_key
from kerasgen.models.portable_hits import PortableHits
from kerasgen.models.pxd_gan.output import (
    HitmapGenerator,
    charge_threshold,
    quantile_map_index,
    to_adu,
)

# Pixels of an image that may fire, as a fraction: those with the highest logits.
CANDIDATES = 1 / 8
WORD = 2**32


@dataclass
class PortableEventGenerator(PortableHits):
    """A generator network with calibration and random numbers: makes stored charges.

    Attributes: as the arguments of ``sampling.EventGenerator``.
    """

    generator: HitmapGenerator
    rows: int
    cols: int
    threshold: int
    max_charge: int
    firing_threshold: NDArray[Any] | None = None
    quantile_map: NDArray[Any] | None = None
    types: tuple[int, ...] = ()
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.types = self.types or (0,)
        network = self.generator
        self.pixels = CompiledStep(partial(likely_pixels, network), network.variables)

    @property
    def sensors(self) -> int:
        """Number of sensors."""
        return self.generator.embedding.entries

    def pixels_above(
        self, sensor: Any, seed: Any, threshold: Any
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """The pixels of one image whose logit exceeds a threshold, in order.

        At most CANDIDATES of all pixels.

        Args:
            sensor: scalar int.
            seed: [2] int64, (run seed, event number).
            threshold: scalar.

        Returns:
            position: [n, 3] int32, row, column and channel.
            logit: [n] float32.
            charge: [n] float32, normalised.
        """
        run, event = (int(x) for x in seed)
        number = run % WORD**2 + event // WORD * WORD**2
        key = step_key(number, event % WORD, int(sensor) + 1)  # part 0 is not used
        self.pixels.read_variables()
        found = self.pixels(np.array([sensor], np.int32), key)
        position, logit, charge = (np.asarray(x) for x in found)
        fires = (logit > threshold) & (position[:, 0] < self.rows) & (position[:, 1] < self.cols)
        position, logit, charge = (x[fires] for x in (position, logit, charge))
        order = np.lexsort(position.T[::-1])
        return position[order], logit[order], charge[order]

    def image(self, sensor: int, seed: Any) -> NDArray[np.integer]:
        """Charges of one image in ADU, [rows, cols, C]; the image of an unknown sensor is empty."""
        dtype = np.uint8 if self.max_charge <= 255 else np.uint16
        image = np.zeros((self.rows, self.cols, self.generator.image_channels), dtype)
        if not 0 <= sensor < self.sensors:
            return image
        if self.firing_threshold is not None and self.quantile_map is not None:
            position, _, charge = self.pixels_above(sensor, seed, self.firing_threshold[sensor])
            adu = self.quantile_map[sensor][np.asarray(quantile_map_index(charge))]
        else:
            tanh = self.generator.output_variant == "tanh"
            lowest = charge_threshold(self.threshold, self.max_charge) if tanh else 0.0
            position, _, charge = self.pixels_above(sensor, seed, lowest)
            adu = np.round(np.asarray(to_adu(charge, self.max_charge)))
            adu = np.minimum(np.where(adu >= self.threshold, adu, 0), self.max_charge)
        image[tuple(position.T)] = adu
        return image

    def images(self, sensor: Any, seed: Any) -> NDArray[np.integer]:
        """[N, rows, cols, C], ADU, of sensors [N] and seeds [N, 2]."""
        rows = zip(np.asarray(sensor), np.asarray(seed), strict=True)
        return np.stack([self.image(int(s), pair) for s, pair in rows])


def likely_pixels(generator: HitmapGenerator, sensor: Any, key: Any) -> tuple[Any, Any, Any]:
    """The pixels of one whole image with the highest logits, and sampled charges.

    Args:
        generator: network.
        sensor: [1] int32.
        key: of the image's random numbers.

    Returns:
        Position (row, column, channel) int32 [n, 3]; logit [n]; normalised charge [n].
    """
    origin = ops.zeros((1, 2), "int32")
    latent = normal(key, (1, generator.latent_size))
    noise = normal(key, (1, *generator.noise_shape(generator.image)), 1)
    logit, charge = generator.logits_and_charges(sensor, latent, noise, origin)
    logit, charge = (generator.to_pixels(x)[0] for x in (logit, charge))
    height, width, channels = logit.shape
    number = math.ceil(height * width * channels * CANDIDATES)
    best, index = ops.top_k(ops.reshape(logit, (-1,)), number)
    pixel = index // channels
    position = ops.stack([pixel // width, pixel % width, index % channels], axis=1)
    return position, best, ops.take(ops.reshape(charge, (-1,)), index, axis=0)
