"""The ideal sampler: real hits through everything but the network of a generator.

Charges get the dequantisation noise of the training, go to the normalised scale of the network and
back through its quantile map, or without calibration through rounding and threshold. A judge sees
in the result what scale, rounding and calibration do to real charges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kerasgen.data.hits import Hits
from kerasgen.data.pipeline import dequantisation_half_width, to_log_scale
from kerasgen.models.pxd_gan.output import quantile_map_index, to_adu

SEED = 0  # of the dequantisation noise


def ideal_sampler(generator: Any) -> Callable[[Hits], Hits]:
    """The function from real hits to hits as a perfect network would make them.

    Args:
        generator: an ``EventGenerator`` or a ``PortableEventGenerator``, with or without
            calibration.
    """
    found = getattr(generator, "quantile_map", None)
    quantile_map = None if found is None else np.asarray(found)
    rng = np.random.default_rng(SEED)

    def sample(hits: Hits) -> Hits:
        highest = generator.max_charge
        lowest = generator.threshold if quantile_map is None else 1  # as the generator does
        width = dequantisation_half_width(highest)
        noisy = np.minimum(hits.adu + rng.uniform(-width, width, len(hits.adu)), highest)
        charge = to_log_scale(noisy, highest).astype(np.float32)
        if quantile_map is None:
            adu = np.minimum(np.rint(np.asarray(to_adu(charge, highest))), highest)
        else:
            sensor = hits.sensor[hits.image]
            adu = quantile_map[sensor, np.asarray(quantile_map_index(charge))]
        made = replace(hits, adu=adu.astype(np.uint16))
        return made.where(made.adu >= lowest)

    return sample
