"""Memorisation: generated images that are near-copies of training images.

Every image is looked up by its signature (``copies``) among all training images of the same sensor;
near-copies have half of their fired pixels in common. The cost grows with the logarithm of the
number of training events. Only signatures of training events are kept (2.6 kB per PXD event).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.bootstrap import mean_and_deviation, resample_events
from kerasgen.metrics.copies import SLOTS, are_near_copies, signatures
from kerasgen.metrics.verdict import judged_metric

ABOUT = "Difference of the fraction of images that are near-copies of a training image."
MAX_CANDIDATES = 4  # training images compared with an image in each band of two slots
Signatures = NDArray[np.uint32]


def training_signatures(blocks: Iterable[Hits], geometry: Geometry) -> Signatures:
    """uint32 [n, S, SLOTS] of training events that arrive in blocks."""
    sensors = len(geometry.sensors)
    found = [signatures(hits, geometry).reshape(-1, sensors, SLOTS) for hits in blocks]
    return np.concatenate(found)


def are_training_copies(images: Signatures, training: Signatures) -> NDArray[np.bool_]:
    """bool [n, S]: whether an image is a near-copy of a training image of the same sensor.

    Args:
        images: [n, S, SLOTS].
        training: [m, S, SLOTS].
    """
    found = np.zeros(images.shape[:2], bool)
    for sensor in range(images.shape[1]):
        mine, known = images[:, sensor], training[:, sensor]
        for band in range(0, SLOTS, 2):
            keys = _band_key(known, band)
            order = np.argsort(keys)
            first = np.searchsorted(keys[order], _band_key(mine, band))
            for step in range(MAX_CANDIDATES):
                at = order[np.minimum(first + step, len(order) - 1)]
                found[:, sensor] |= are_near_copies(mine, known[at])
    return found


def _band_key(signature: Signatures, band: int) -> NDArray[np.uint64]:
    """uint64 [n], two neighbouring slots as one number."""
    return signature[:, band].astype(np.uint64) << np.uint64(32) | signature[:, band + 1]


def memorised(
    reference: Signatures, candidate: Signatures, training: Signatures, seed: int
) -> dict[str, Any]:
    """The metric "memorised" from ``judged_metric``; its floor is that of held-out real events.

    Args:
        reference, candidate, training: [events, S, SLOTS].
        seed: of the resampling.
    """
    a, b = (are_training_copies(x, training).mean(axis=1) for x in (reference, candidate))
    n, m = len(a), len(b)
    resampling = resample_events(n, m, np.random.default_rng(seed))
    bootstraps = np.abs(resampling.candidate @ b / m - resampling.reference @ a / n)
    splits = [abs(a[part].mean() - a[~part].mean()) for part in resampling.part]
    floor, floor_error = mean_and_deviation(resampling.scale * np.array(splits))
    error = mean_and_deviation(bootstraps)[1]
    return judged_metric(float(abs(b.mean() - a.mean())), error, floor, floor_error, "fraction", m)
