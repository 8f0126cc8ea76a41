"""What a point set is as a whole, which a generator may make before its points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CENTRES = 3  # of a set
SUMMARY_CENTRES = 11  # first column of the centres in ``set_summary``
SUMMARY_PLACES = 1, 5, 11, 13, 15  # first columns of positions in ``set_summary``
KMEANS_STEPS = 4
MIN_TOTAL = 1e-6  # of the intensities of a set, and of a variance


def set_summary(
    points: NDArray[np.float32], mask: NDArray[np.bool_], normal: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What a set is as a whole, [B, 19].

    Summed intensity; mean and logarithm of the variance of both positions, weighted by intensity;
    mean and standard deviation of each normalised coordinate; positions of the ``CENTRES``, and the
    shares of the intensity that all but the last of them have.

    Args:
        points: [B, P, 3], not normalised.
        mask: [B, P].
        normal: [B, P, 3], the points normalised.
    """
    present = mask[..., None].astype(np.float32)
    weight = np.maximum(points[..., 2:], 0) * present
    total = np.maximum(weight.sum(1), MIN_TOTAL)

    def moments(x: NDArray[np.float32], w: NDArray[np.float32]) -> tuple[Any, Any]:
        n = np.maximum(w.sum(1), MIN_TOTAL)
        mean = (x * w).sum(1) / n
        return mean, ((x - mean[:, None]) ** 2 * w).sum(1) / n

    place, variance = moments(points[..., :2], weight)
    mean, square = moments(normal, present)
    centre, share = centres(points[..., :2], weight[..., 0])
    parts = [total, place, np.log(variance + MIN_TOTAL), mean, np.sqrt(square)]
    parts += [centre.reshape(-1, 2 * CENTRES), share[:, :-1]]
    return np.concatenate(parts, axis=-1)


def centres(
    places: NDArray[np.float32], weight: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres of the clusters of a set, by k-means weighted by intensity.

    It starts from the brightest point, then from the one whose intensity times squared distance to
    the nearest start is largest, so that it does not depend on the order of points.

    Args:
        places: [B, P, 2].
        weight: [B, P], 0 where there is no point.

    Returns:
        Positions [B, CENTRES, 2] and shares of the intensity [B, CENTRES], largest first.
    """
    rows = np.arange(len(places))
    first = places[rows, weight.argmax(axis=1)]
    found, square = [first], np.square(places - first[:, None]).sum(-1)
    for _ in range(CENTRES - 1):
        found.append(places[rows, (weight * square).argmax(axis=1)])
        square = np.minimum(square, np.square(places - found[-1][:, None]).sum(-1))
    centre = np.stack(found, axis=1)
    for _ in range(KMEANS_STEPS):
        square = np.square(places[:, :, None] - centre[:, None]).sum(-1)
        mine = (square.argmin(-1)[..., None] == np.arange(CENTRES)) * weight[..., None]
        share = mine.sum(axis=1)
        moved = np.einsum("bpk,bpc->bkc", mine, places) / np.maximum(share, MIN_TOTAL)[..., None]
        centre = np.where(share[..., None] > 0, moved, centre)
    order = np.argsort(-share, axis=1, kind="stable")
    share = np.take_along_axis(share, order, axis=1)
    share /= np.maximum(share.sum(axis=1, keepdims=True), MIN_TOTAL)
    return np.take_along_axis(centre, order[..., None], axis=1), share
