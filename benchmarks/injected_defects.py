"""Defects of generated events, injected into simulated events: functions of hits and rng."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.hits import Hits, concatenate

SENSORS, INNER = 40, 16  # of the PXD, and of its inner layer
ROWS, COLS, HIGHEST = 250, 768, 255


def keep_hits(hits: Hits, keep: NDArray[np.bool_]) -> Hits:
    """Keep some hits of each image.

    Args:
        hits: the images.
        keep: [hits], whether a hit stays.
    """
    indptr = np.concatenate([[0], np.cumsum(keep)])[hits.indptr]
    return replace(
        hits, indptr=indptr, row=hits.row[keep], col=hits.col[keep], adu=hits.adu[keep],
        type=hits.type[keep],
    )  # fmt: skip


def rearrange_images(hits: Hits, images: NDArray[np.int64]) -> Hits:
    """Replace the image of each event and sensor by another.

    Args:
        hits: whole events.
        images: [n, SENSORS], numbers of the new images.
    """
    return replace(hits.take(images.ravel()), sensor=hits.sensor, event=hits.event)


def image_numbers(hits: Hits) -> NDArray[np.int64]:
    """int64 [n, SENSORS], the number of each image."""
    return np.arange(len(hits)).reshape(-1, SENSORS)


def fewer_hits(hits: Hits, rng: np.random.Generator) -> Hits:
    return keep_hits(hits, rng.random(len(hits.row)) >= 0.1)


def more_charge(hits: Hits, rng: np.random.Generator) -> Hits:
    adu = np.minimum(hits.adu + 1, HIGHEST).astype(np.uint16)
    return Hits(hits.indptr, hits.row, hits.col, adu, hits.type, hits.sensor, hits.event)


def permuted_sensors(hits: Hits, rng: np.random.Generator) -> Hits:
    order = np.concatenate([rng.permutation(INNER), np.arange(INNER, SENSORS)])
    return rearrange_images(hits, image_numbers(hits)[:, order])


def shuffled_events(hits: Hits, rng: np.random.Generator) -> Hits:
    return rearrange_images(hits, rng.permuted(image_numbers(hits), axis=0))


def single_pixels(hits: Hits, rng: np.random.Generator) -> Hits:
    """Move every hit to a random pixel of its image; charges are kept."""
    row, col = hits.row.copy(), hits.col.copy()
    for start, stop in zip(hits.indptr[:-1], hits.indptr[1:], strict=True):
        pixel = np.sort(rng.choice(ROWS * COLS, stop - start, replace=False))
        row[start:stop], col[start:stop] = pixel // COLS, pixel % COLS
    return Hits(hits.indptr, row, col, hits.adu, hits.type, hits.sensor, hits.event)


def duplicated_images(hits: Hits, rng: np.random.Generator) -> Hits:
    images = image_numbers(hits)
    other = rng.permuted(images, axis=0)
    return rearrange_images(hits, np.where(rng.random(images.shape) < 0.1, other, images))


def copied_from(training: Hits) -> Callable[[Hits, np.random.Generator], Hits]:
    """A tenth of the images are training images of the same sensor."""

    def inject(hits: Hits, rng: np.random.Generator) -> Hits:
        images = image_numbers(hits)
        stored = len(hits) + rng.integers(len(training) // SENSORS, size=images.shape) * SENSORS
        stored = stored + np.arange(SENSORS)
        chosen = np.where(rng.random(images.shape) < 0.1, stored, images)
        moved = concatenate([hits, training]).take(chosen.ravel())
        return replace(moved, sensor=hits.sensor, event=hits.event)

    return inject


def without_type(number: int) -> Callable[[Hits, np.random.Generator], Hits]:
    return lambda hits, rng: keep_hits(hits, hits.type != number)


def five_images(hits: Hits, rng: np.random.Generator) -> Hits:
    images = image_numbers(hits)
    drawn = rng.integers(5, size=images.shape)
    return rearrange_images(hits, images[drawn, np.arange(SENSORS)])


def one_seed(hits: Hits, rng: np.random.Generator) -> Hits:
    return rearrange_images(
        hits, np.broadcast_to(image_numbers(hits)[:1], (len(hits) // SENSORS, SENSORS))
    )


DEFECTS: dict[str, Callable[[Hits, np.random.Generator], Hits]] = {
    "nothing": lambda hits, rng: hits,
    "occupancy -10 %": fewer_hits,
    "charge +1 ADU": more_charge,
    "inner sensors permuted": permuted_sensors,
    "sensors shuffled between events": shuffled_events,
    "single pixels": single_pixels,
    "10 % of images duplicated": duplicated_images,
    "no two-photon pairs": without_type(1),
    "no showers": without_type(2),
    "no synchrotron": without_type(3),
    "5 images per sensor": five_images,
    "one seed": one_seed,
}
