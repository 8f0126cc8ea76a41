"""Generated images that are near-copies of training images: has the model learned by heart?

Every image is looked up among all training images by its signature (``copies``): a near-copy of any
of them, of the same sensor, shares half of its fired pixels. The cost grows with the logarithm of
the number of training events, of which only signatures are kept (2.6 kB per PXD event).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.metrics.compare import entry, resampling, spread
from kerasgen.metrics.copies import SLOTS, alike, signatures

ABOUT = "Difference of the share of images that are near-copies of a training image."
LOOKED_AT = 4  # training images that share two slots with an image, at most, in each band
Signatures = NDArray[np.uint32]


def training_signatures(blocks: Iterable[Hits], geometry: Geometry) -> Signatures:
    """uint32 [n, S, SLOTS] of training events that arrive in blocks."""
    sensors = len(geometry.sensors)
    found = [signatures(hits, geometry).reshape(-1, sensors, SLOTS) for hits in blocks]
    return np.concatenate(found)


def copied(images: Signatures, training: Signatures) -> NDArray[np.bool_]:
    """bool [n, S], whether an image is a near-copy of a training image of the same sensor.

    Args:
        images: [n, S, SLOTS].
        training: [m, S, SLOTS].
    """
    found = np.zeros(images.shape[:2], bool)
    for sensor in range(images.shape[1]):
        mine, known = images[:, sensor], training[:, sensor]
        for band in range(0, SLOTS, 2):
            keys = _key(known, band)
            order = np.argsort(keys)
            first = np.searchsorted(keys[order], _key(mine, band))
            for step in range(LOOKED_AT):
                at = order[np.minimum(first + step, len(order) - 1)]
                found[:, sensor] |= alike(mine, known[at])
    return found


def _key(signature: Signatures, band: int) -> NDArray[np.uint64]:
    """uint64 [n], two neighbouring slots as one number."""
    return signature[:, band].astype(np.uint64) << np.uint64(32) | signature[:, band + 1]


def memorised(
    reference: Signatures, candidate: Signatures, training: Signatures, seed: int
) -> dict[str, Any]:
    """The metric in the form of ``compare``; its floor is that of real events seen never before.

    Args:
        reference, candidate, training: [events, S, SLOTS].
        seed: of the resampling.
    """
    a, b = (copied(x, training).mean(axis=1) for x in (reference, candidate))
    n, m = len(a), len(b)
    drawn_a, drawn_b, parts, scale = resampling(n, m, np.random.default_rng(seed))
    drawn = np.abs(drawn_b @ b / m - drawn_a @ a / n)
    split = scale * np.array([abs(a[part].mean() - a[~part].mean()) for part in parts])
    return entry(float(abs(b.mean() - a.mean())), spread(drawn)[1], *spread(split), "share", m)
