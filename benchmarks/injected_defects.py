"""Defects of generated events, injected into simulated events: functions of hits and rng."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.metrics.clusters import label_clusters

SENSORS, INNER = 40, 16  # of the PXD, and of its inner layer
ROWS, COLS, HIGHEST = 250, 768, 255
GEOMETRY = load_geometry("belle2-pxd")
STORED = 4096  # clusters of a sensor in a bank


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


def hits_of_pixels(
    hits: Hits, image: NDArray[np.int64], row: NDArray[np.int64], col: NDArray[np.int64],
    adu: NDArray[np.int64], kind: NDArray[np.uint8],
) -> Hits:  # fmt: skip
    """Images with these pixels: outside the sensor they are lost, of two the higher charge stays.

    Args:
        hits: whose sensors and events are kept.
        image, row, col, adu, kind: of each pixel.
    """
    inside = (row < ROWS) & (col < COLS)
    image, row, col, adu, kind = (x[inside] for x in (image, row, col, adu, kind))
    pixel = (image * ROWS + row) * COLS + col
    order = np.lexsort((-adu, pixel))
    order = order[np.diff(pixel[order], prepend=-1) != 0]
    indptr = np.searchsorted(image[order], np.arange(len(hits) + 1))
    return Hits(
        indptr, row[order].astype(np.uint16), col[order].astype(np.uint16),
        adu[order].astype(np.uint16), kind[order], hits.sensor, hits.event,
    )  # fmt: skip


def random_types(hits: Hits, rng: np.random.Generator) -> Hits:
    """Hits with the types of others of the sample: as many of each, but anywhere."""
    return replace(hits, type=rng.permutation(hits.type))


def longer_clusters(relative: float) -> Callable[[Hits, np.random.Generator], Hits]:
    """Clusters longer by this fraction on average, along the longer of their two extents.

    Some clusters are cut at random, one part moves by a pixel, and the line at the cut fills the
    gap with charges of random pixels of the cluster.
    """

    def inject(hits: Hits, rng: np.random.Generator) -> Hits:
        label = label_clusters(hits, GEOMETRY)
        order = np.argsort(label, kind="stable")
        label, image = label[order], hits.image[order]
        place = np.stack([hits.row, hits.col])[:, order].astype(np.int64)
        adu, kind = hits.adu[order].astype(np.int64), hits.type[order]
        start = np.flatnonzero(np.diff(label, prepend=-1))
        size = np.diff(start, append=len(label))
        low = np.minimum.reduceat(place, start, axis=1)
        extent = np.maximum.reduceat(place, start, axis=1) - low + 1
        along, longest = (extent[1] >= extent[0]).astype(int), extent.max(axis=0)
        chosen = rng.random(len(start)) < relative * longest
        cut = low[along, np.arange(len(start))] + rng.integers(longest)
        cut = np.where(chosen, cut, COLS)[label]
        axis, at = along[label], place[along[label], np.arange(len(label))]
        copied = np.flatnonzero(at == cut)
        new = place[:, copied]
        place[axis, np.arange(len(label))] += at > cut
        new[axis[copied], np.arange(len(copied))] += 1
        which = label[copied]
        new_adu = adu[start[which] + rng.integers(size[which])]
        row, col = np.concatenate([place, new], axis=1)
        return hits_of_pixels(
            hits, np.concatenate([image, image[copied]]), row, col,
            np.concatenate([adu, new_adu]), np.concatenate([kind, kind[copied]]),
        )  # fmt: skip

    return inject


def bank_of(training: Hits, jittered: bool) -> Callable[[Hits, np.random.Generator], Hits]:
    """Every cluster is replaced by one of ``STORED`` training clusters of its sensor.

    Args:
        training: events whose clusters are stored.
        jittered: change charges by 15 %, and mirror clusters at random along u and v.
    """

    def inject(hits: Hits, rng: np.random.Generator) -> Hits:
        label = label_clusters(training, GEOMETRY)
        order = np.argsort(label, kind="stable")
        start = np.flatnonzero(np.diff(label[order], prepend=-1))
        size = np.diff(start, append=len(order))
        row, col, adu = (x[order].astype(np.int64) for x in (
            training.row, training.col, training.adu
        ))  # fmt: skip
        row, col = (x - np.repeat(np.minimum.reduceat(x, start), size) for x in (row, col))
        owner = training.sensor[training.image[order[start]]]
        bank = [rng.permutation(np.flatnonzero(owner == s))[:STORED] for s in range(SENSORS)]
        mine = label_clusters(hits, GEOMETRY)
        place = np.argsort(mine, kind="stable")
        first = np.flatnonzero(np.diff(mine[place], prepend=-1))
        image = hits.image[place[first]]
        corner = [np.minimum.reduceat(x[place].astype(np.int64), first) for x in (
            hits.row, hits.col
        )]  # fmt: skip
        drawn = np.array([rng.choice(bank[s]) for s in hits.sensor[image]])
        number = np.repeat(np.arange(len(drawn)), size[drawn])
        begin = np.cumsum(size[drawn]) - size[drawn]
        pixel = start[drawn][number] + np.arange(len(number)) - begin[number]
        charge, shape = adu[pixel], np.stack([row[pixel], col[pixel]])
        if jittered:
            last = np.maximum.reduceat(shape, begin, axis=1)[:, number]
            mirrored = (rng.random((2, len(drawn))) < 0.5)[:, number]
            shape = np.where(mirrored, last - shape, shape)
            charge = np.rint(charge * np.exp(0.15 * rng.standard_normal(len(charge))))
            charge = np.clip(charge, GEOMETRY.threshold, HIGHEST).astype(np.int64)
        return hits_of_pixels(
            hits, image[number], corner[0][number] + shape[0], corner[1][number] + shape[1],
            charge, training.type[order][pixel],
        )  # fmt: skip

    return inject


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
    "types at random": random_types,
    "5 images per sensor": five_images,
    "one seed": one_seed,
    "clusters 2 % longer": longer_clusters(0.02),
}


def all_defects(training: Hits) -> dict[str, Callable[[Hits, np.random.Generator], Hits]]:
    """``DEFECTS``, and those that repeat training events."""
    return DEFECTS | {
        "10 % copied from training": copied_from(training),
        f"bank of {STORED} clusters": bank_of(training, False),
        "bank, jittered": bank_of(training, True),
    }
