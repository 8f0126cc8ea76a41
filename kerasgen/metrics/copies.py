"""Near-copies of images among any number of events.

The signature of an image: its fired pixels are hashed and divided among ``SLOTS`` slots, and the
lowest hash of each slot is kept (one permutation hashing, arXiv:1208.1259). The fraction of equal
slots of two images estimates their Jaccard similarity |A and B| / |A or B|: 0.01 for independent
PXD images, 1 for copies. Pairs are searched among images that agree in two neighbouring slots, so
the cost grows with n log n (banding, Indyk and Motwani 1998,
doi:10.1145/276698.276876). Charges do not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits

SLOTS = 16
MIN_EQUAL_SLOTS = 8  # of near-copies: a Jaccard similarity of about 0.5
EMPTY = np.uint32(0xFFFFFFFF)  # a slot without a fired pixel


def signatures(hits: Hits, geometry: Geometry) -> NDArray[np.uint32]:
    """uint32 [images, SLOTS], the lowest hash of the fired pixels in each slot."""
    pixel = hits.row.astype(np.uint64) * np.uint64(geometry.cols) + hits.col
    mixed = mix_bits(pixel)
    slot = (mixed & np.uint64(SLOTS - 1)).astype(np.int64)
    value = np.minimum(mixed >> np.uint64(32), np.uint64(EMPTY - 1)).astype(np.uint32)
    found = np.full(len(hits) * SLOTS, EMPTY)
    np.minimum.at(found, hits.image * SLOTS + slot, value)
    return found.reshape(len(hits), SLOTS)


def mix_bits(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al. 2014, doi:10.1145/2660193.2660195)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def are_near_copies(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """bool [pairs]: whether the signatures a and b [pairs, SLOTS] are those of near-copies."""
    return ((a == b) & (a != EMPTY)).sum(axis=1) >= MIN_EQUAL_SLOTS


def near_copies(signature: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Pairs of near-copies among events.

    Args:
        signature: [n, S, SLOTS] of n events with S sensors.

    Returns:
        [pairs, 3]: sensor and two events, in both orders. Each of many copies of one image is
        paired with a few of the others only, so a collapse costs no more than independent events.
    """
    n, sensors = signature.shape[:2]
    sensor = np.tile(np.arange(sensors), n)
    event = np.repeat(np.arange(n), sensors)
    flat = signature.reshape(-1, SLOTS)
    found = [np.zeros((0, 3), np.int64)]
    for band in range(0, SLOTS, 2):
        order = np.lexsort((event, flat[:, band + 1], flat[:, band], sensor))
        near = flat[order, band : band + 2]
        same = (near[1:] == near[:-1]).all(axis=1) & (sensor[order][1:] == sensor[order][:-1])
        first, second = order[:-1][same], order[1:][same]
        sure = are_near_copies(flat[first], flat[second])
        first, second = first[sure], second[sure]
        found.append(np.stack([sensor[first], event[first], event[second]], axis=1))
        found.append(np.stack([sensor[first], event[second], event[first]], axis=1))
    return np.unique(np.concatenate(found), axis=0)
