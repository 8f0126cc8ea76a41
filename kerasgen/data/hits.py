"""Sparse hits of sensor images, the common event representation of kerasgen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.errors import InputError


@dataclass(frozen=True)
class Hits:
    """Fired pixels of ``n`` images in the CSR layout.

    Image i owns ``row[indptr[i]:indptr[i + 1]]``, and the same range of ``col``, ``adu``, ``type``.

    Attributes:
        indptr: int64 [n + 1], starts at 0 and ends at the number of hits.
        row, col: uint16 [hits], pixel along u and v.
        adu: uint16 [hits], charge in ADU.
        type: uint8 [hits], background type, 0 = unknown.
        sensor: uint16 [n], index of the sensor in the geometry.
        event: int64 [n], event number.
    """

    indptr: NDArray[np.int64]
    row: NDArray[np.uint16]
    col: NDArray[np.uint16]
    adu: NDArray[np.uint16]
    type: NDArray[np.uint8]
    sensor: NDArray[np.uint16]
    event: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sensor)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of fired pixels of each image, int64 [n]."""
        return np.diff(self.indptr)

    @property
    def image(self) -> NDArray[np.int64]:
        """Index of the image of each hit, int64 [hits]."""
        return np.repeat(np.arange(len(self)), self.counts)

    def take(self, images: NDArray[np.integer]) -> Hits:
        """Select images by index, in the given order (repeats allowed)."""
        images = np.asarray(images, np.int64)
        counts = self.counts[images]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        hit = np.arange(indptr[-1]) + np.repeat(self.indptr[images] - indptr[:-1], counts)
        return Hits(
            indptr,
            self.row[hit],
            self.col[hit],
            self.adu[hit],
            self.type[hit],
            self.sensor[images],
            self.event[images],
        )

    def of_types(self, types: Collection[int]) -> Hits:
        """Keep all images, but only the hits of these background types."""
        return self.where(np.isin(self.type, list(types)))

    def split_types(self, types: Sequence[int]) -> Hits:
        """Images of one background type each: image i * len(types) + k is of ``types[k]``.

        Hits of other types are left out. One type or none: the images as they are.
        """
        if len(types) < 2:
            return self
        of_type = self.type == np.array(types)[:, None]
        hit = np.flatnonzero(of_type.any(0))
        image = self.image[hit] * len(types) + of_type[:, hit].argmax(0)
        hit = hit[np.argsort(image, kind="stable")]
        counts = np.bincount(image, minlength=len(self) * len(types))
        return Hits(
            np.concatenate([[0], np.cumsum(counts)]),
            *(getattr(self, name)[hit] for name in ("row", "col", "adu", "type")),
            *(np.repeat(x, len(types)) for x in (self.sensor, self.event)),
        )

    def where(self, kept: NDArray[np.bool_]) -> Hits:
        """Keep all images, but only the hits with ``kept`` (bool [hits])."""
        before = np.concatenate([[0], np.cumsum(kept)])  # kept hits before each hit
        return replace(
            self,
            indptr=before[self.indptr],
            row=self.row[kept],
            col=self.col[kept],
            adu=self.adu[kept],
            type=self.type[kept],
        )


def hits_on(hits: Hits, pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which hits are on one of the ``pixels`` (bool [sensors, rows, cols]): bool [hits]."""
    return pixels[hits.sensor[hits.image], hits.row, hits.col]


def without(hits: Hits, pixels: NDArray[np.bool_] | None) -> Hits:
    """Keep all images, but no hits on the ``pixels`` (bool [sensors, rows, cols]; None: none)."""
    return hits if pixels is None else hits.where(~hits_on(hits, pixels))


def concatenate(parts: list[Hits]) -> Hits:
    """Concatenate the images of all parts."""
    ends = np.cumsum([0] + [len(p.row) for p in parts])
    return Hits(
        np.concatenate([[0], *(p.indptr[1:] + end for p, end in zip(parts, ends, strict=False))]),
        *(
            np.concatenate([getattr(p, name) for p in parts])
            for name in ("row", "col", "adu", "type", "sensor", "event")
        ),
    )


def overlay(a: Hits, b: Hits, geometry: Geometry) -> Hits:
    """Overlay the images of ``b`` on those of ``a``, image by image.

    Charges of a pixel add up to at most ``geometry.max_charge``; the pixel takes the type of the
    higher charge. Sensors and event numbers are those of ``a``.

    Raises:
        InputError: number of images or sensors differ.
    """
    if not np.array_equal(a.sensor, b.sensor):
        raise InputError("overlay: both must have the same sensors in the same order")
    both = [
        h.image * geometry.pixels + h.row.astype(np.int64) * geometry.cols + h.col for h in (a, b)
    ]
    pixel = np.concatenate(both)
    adu, hit_type = np.concatenate([a.adu, b.adu]), np.concatenate([a.type, b.type])
    order = np.lexsort((adu, pixel))
    pixel, adu, hit_type = pixel[order], adu[order].astype(np.int64), hit_type[order]
    last = np.diff(pixel, append=-1) != 0
    total = np.diff(np.cumsum(adu)[last], prepend=0)
    image, cell = np.divmod(pixel[last], geometry.pixels)
    return Hits(
        np.searchsorted(image, np.arange(len(a) + 1)).astype(np.int64),
        (cell // geometry.cols).astype(np.uint16),
        (cell % geometry.cols).astype(np.uint16),
        np.minimum(total, geometry.max_charge).astype(np.uint16),
        hit_type[last],
        a.sensor,
        a.event,
    )


def to_dense(hits: Hits, geometry: Geometry) -> NDArray[np.uint16]:
    """Convert hits to dense images, uint16 [n, rows, cols] in ADU; empty pixels are 0."""
    images = np.zeros((len(hits), geometry.rows, geometry.cols), np.uint16)
    images[hits.image, hits.row, hits.col] = hits.adu
    return images


def from_dense(
    images: NDArray[np.integer], sensor: NDArray[np.integer], event: NDArray[np.integer]
) -> Hits:
    """Convert dense images [n, rows, cols] in ADU to hits; every non-zero pixel is a hit.

    Raises:
        InputError: charges that are not whole numbers in 0..65535.
    """
    if not np.issubdtype(images.dtype, np.integer):
        raise InputError(f"dense images have type {images.dtype}, expected whole ADU")
    if images.size and not 0 <= images.min() <= images.max() <= 65535:
        raise InputError(
            f"dense images have charges {images.min()}..{images.max()}, allowed: 0..65535 ADU"
        )
    image, row, col = np.nonzero(images)
    counts = np.bincount(image, minlength=len(images))
    return Hits(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        row.astype(np.uint16),
        col.astype(np.uint16),
        images[image, row, col].astype(np.uint16),
        np.zeros(len(row), np.uint8),
        np.asarray(sensor, np.uint16),
        np.asarray(event, np.int64),
    )


def from_lists(
    events: NDArray[np.int64],
    position: NDArray[np.integer],
    sensor: NDArray[np.integer],
    pixels: Mapping[str, NDArray[np.integer]],
    geometry: Geometry,
    origin: str,
    drop_below_threshold: bool = False,
) -> Hits:
    """Build the hits of complete events (all sensors) from flat lists in any order.

    Args:
        events: [n], event numbers, including events without hits.
        position: [hits], index into ``events``.
        sensor: [hits], index of the sensor.
        pixels: ``row``, ``col``, ``adu`` and ``type``, each [hits], whole numbers.
        geometry: sensors and charge range.
        origin: file or source, the start of the error message.
        drop_below_threshold: drop charges in 0..threshold - 1 instead of raising an error.

    Raises:
        InputError: as in ``check_values``.
    """
    sensors = len(geometry.sensors)
    values = {name: np.asarray(values, np.int64) for name, values in pixels.items()}
    image = np.asarray(position, np.int64) * sensors + np.asarray(sensor, np.int64)
    if drop_below_threshold:
        kept = (values["adu"] < 0) | (values["adu"] >= geometry.threshold)
        image, values = image[kept], {name: v[kept] for name, v in values.items()}
    order = np.argsort(image, kind="stable")
    counts = np.bincount(image, minlength=len(events) * sensors)
    wide = Hits(
        np.concatenate([[0], np.cumsum(counts)]),
        sensor=np.tile(np.arange(sensors, dtype=np.uint16), len(events)),
        event=np.repeat(events, sensors),
        **{name: v[order] for name, v in values.items()},  # type: ignore[arg-type]
    )
    # Check before the cast to 16 bits, which would wrap values out of range.
    check_values(wide, geometry, origin)
    return replace(
        wide,
        row=wide.row.astype(np.uint16),
        col=wide.col.astype(np.uint16),
        adu=wide.adu.astype(np.uint16),
        type=wide.type.astype(np.uint8),
    )


def pixel_key(hits: Hits, geometry: Geometry) -> NDArray[np.int64]:
    """Index of each hit's pixel in the flattened array of all images, int64 [hits]."""
    line = hits.image * geometry.rows + hits.row
    return line * geometry.cols + hits.col


def sort_hits(hits: Hits, geometry: Geometry) -> Hits:
    """Sort the hits of each image by row, then column."""
    key = pixel_key(hits, geometry)
    if np.all(key[1:] >= key[:-1]):
        return hits
    order = np.argsort(key, kind="stable")
    return replace(
        hits,
        row=hits.row[order],
        col=hits.col[order],
        adu=hits.adu[order],
        type=hits.type[order],
    )


def check_values(hits: Hits, geometry: Geometry, origin: str) -> None:
    """Check sensors, pixels and charges against the geometry.

    Args:
        hits: images in any order.
        geometry: sensors and charge range.
        origin: file or source, the start of the error message.

    Raises:
        InputError: unknown sensor, pixel outside the sensor, charge outside
            threshold..max_charge, or type above 255; names event and sensor.
    """
    sensors = len(geometry.sensors)
    if len(hits) and hits.sensor.max() >= sensors:
        i = int(np.argmax(hits.sensor >= sensors))
        raise InputError(
            f"{origin}: event {hits.event[i]}: unknown sensor {hits.sensor[i]}, "
            f"allowed: 0..{sensors - 1} of geometry {geometry.name}"
        )
    low, high = geometry.threshold, geometry.max_charge
    _check_range(hits, hits.row, 0, geometry.rows - 1, "row", geometry, origin)
    _check_range(hits, hits.col, 0, geometry.cols - 1, "column", geometry, origin)
    _check_range(hits, hits.adu, low, high, "charge (ADU)", geometry, origin)
    _check_range(hits, hits.type, 0, 255, "background type", geometry, origin)


def check_order(hits: Hits, geometry: Geometry, origin: str) -> None:
    """Check that the hits of each image strictly rise in row, then column.

    Raises:
        InputError: hits out of order or a pixel twice; names event, sensor and pixel.
    """
    key = pixel_key(hits, geometry)
    falls = key[1:] <= key[:-1]
    if falls.any():
        h = int(np.argmax(falls)) + 1
        what = "appears twice" if key[h] == key[h - 1] else "is out of order (row, then column)"
        raise InputError(
            f"{_image_name(hits, h, geometry, origin)}: pixel ({hits.row[h]}, {hits.col[h]}) {what}"
        )


def _image_name(hits: Hits, hit: int, geometry: Geometry, origin: str) -> str:
    image = int(np.searchsorted(hits.indptr, hit, side="right")) - 1
    sensor = geometry.sensors[hits.sensor[image]].name
    return f"{origin}: event {hits.event[image]}, sensor {sensor}"


def _check_range(
    hits: Hits,
    values: NDArray[np.integer],
    low: int,
    high: int,
    what: str,
    geometry: Geometry,
    origin: str,
) -> None:
    if not len(values) or (values.min() >= low and values.max() <= high):
        return
    h = int(np.argmax((values < low) | (values > high)))
    raise InputError(
        f"{_image_name(hits, h, geometry, origin)}: {what} {values[h]}, "
        f"allowed: {low}..{high} of geometry {geometry.name}"
    )
