"""Training input: dense images on the log scale from sparse hits.

All of it is numpy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError

# Independent random streams, each with its own key.
_EVENT_ORDER, _IMAGE_ORDER, _CROP, _CHARGE = range(4)


def to_log_scale(adu: NDArray[Any], max_charge: int) -> NDArray[np.floating[Any]]:
    """Scale charge a in ADU to log(1 + a) / log(1 + max_charge) * 2 - 1, in [-1, 1]; empty is -1.

    float32 stays float32; all other types are computed in float64.
    """
    dtype = np.float32 if adu.dtype == np.float32 else np.float64
    return np.log1p(adu, dtype=dtype) * (2 / math.log1p(max_charge)) - 1


def padded_size(n: int) -> int:
    """Round rows or columns up to a multiple of 16: 250 -> 256."""
    return -(-n // 16) * 16


def dequantisation_half_width(max_charge: int) -> float:
    """Half-width (ADU) of the uniform noise that dequantises integer charges.

    Half an ADU minus the float32 rounding error of the log scale, so that the inverse scale and
    rounding restore the integer charge.
    """
    return 0.5 - (1 + max_charge) * math.log1p(max_charge) * 2.0**-22


def _random_generator(seed: int, stream: int, *counters: int) -> np.random.Generator:
    key = np.random.SeedSequence([seed, stream, *counters])
    return np.random.Generator(np.random.Philox(key))


def log_scale_images(
    hits: Hits,
    charge: NDArray[np.floating[Any]],
    size: tuple[int, int],
    max_charge: int,
    channels: tuple[int, ...] | None,
    origin: NDArray[np.int32] | None = None,
) -> NDArray[np.float32]:
    """Convert hits to dense images on the log scale, float32 [n, height, width, channels].

    Args:
        hits: n images.
        charge: [hits], ADU, integers or dequantised.
        size: height and width of the dense images; hits outside are dropped.
        max_charge: ADU at the upper end of the scale.
        channels: background types, one channel each; None: one channel with all hits.
        origin: [n, 2], row and column of each dense image's corner; None: zeros.

    Returns:
        The images; empty pixels are -1.
    """
    height, width = size
    depth = 1 if channels is None else len(channels)
    image = hits.image
    row, col = hits.row.astype(np.int64), hits.col.astype(np.int64)
    if origin is not None:
        row -= origin[image, 0]
        col -= origin[image, 1]
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    pixel = (image * height + row) * width + col
    if channels is not None:
        channel_of_type = np.full(256, -1)
        channel_of_type[list(channels)] = np.arange(depth)
        channel = channel_of_type[hits.type]
        inside &= channel >= 0
        pixel = pixel * depth + channel
    images = np.full((len(hits), height, width, depth), -1, np.float32)
    images.reshape(-1)[pixel[inside]] = to_log_scale(charge[inside], max_charge)
    return images


class ImageSampler:
    """Sampler of shuffled training images; each batch is a pure function of (seed, step).

    Every epoch has its own permutation of the events. Images are shuffled within windows of
    ``window_events`` consecutive events of the permutation; at most two windows are in memory.
    Each image is sampled once per epoch; a batch may span two epochs.

    Args:
        file: open file of hits.
        events: positions of the sampled events in the file.
        batch: images per batch.
        seed: run seed, not negative.
        crop: height and width of the crops; None: full images, padded to multiples of 16.
        dequantise: add uniform noise of half an ADU to every charge.
        channels: background types, one channel each; None: one channel with all hits.
        stride: corners of crops are at multiples of so many pixels.
        window_events: number of events of a window.

    Raises:
        InputError: no events, events outside the file, or a crop larger than the padded image.
    """

    def __init__(
        self,
        file: EventFile,
        events: range,
        batch: int,
        seed: int,
        crop: tuple[int, int] | None,
        dequantise: bool,
        channels: tuple[int, ...] | None = None,
        stride: int = 4,
        window_events: int = 32,
    ) -> None:
        geometry = file.geometry
        padded = padded_size(geometry.rows), padded_size(geometry.cols)
        if not events or min(events) < 0 or max(events) >= file.n_events:
            raise InputError(
                f"{file.path}: events {events.start}..{events.stop - 1} are not in the file, "
                f"which has events 0..{file.n_events - 1}"
            )
        if crop is not None and not (0 < crop[0] <= padded[0] and 0 < crop[1] <= padded[1]):
            raise InputError(
                f"crop {crop[0]} x {crop[1]} does not fit into the padded image "
                f"{padded[0]} x {padded[1]} of geometry {geometry.name}"
            )
        if batch < 1 or window_events < 1 or seed < 0:
            raise InputError("batch and window_events must be >= 1 and seed >= 0")
        if channels is not None and not (
            channels and len(set(channels)) == len(channels) and set(channels) <= set(range(256))
        ):
            raise InputError(f"channels {channels}: background types must be 0..255, each once")
        self.file = file
        self.events = events
        self.batch = batch
        self.seed = seed
        self.crop = crop
        self.stride = stride
        self.dequantise = dequantise
        self.channels = channels
        self.window_events = window_events
        self.size = crop or padded
        self.images_per_epoch = len(events) * len(geometry.sensors)
        # Possible corners of a crop on each axis; one (zero) for full images.
        self._corners = tuple(
            (full - part) // stride + 1 for full, part in zip(padded, self.size, strict=True)
        )
        self._windows: dict[tuple[int, int], tuple[Hits, NDArray[np.int64]]] = {}

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of ``image``: batch, height, width, channels."""
        return (self.batch, *self.size, 1 if self.channels is None else len(self.channels))

    def batch_at(self, step: int, rows: NDArray[np.int64] | None = None) -> dict[str, NDArray[Any]]:
        """Sample the batch of one step, or some of its rows; rows do not depend on each other.

        Args:
            step: training step.
            rows: rows of the batch to compute; None: all.

        Returns:
            ``image`` float32 [B, H, W, C], log scale, empty pixels -1; ``sensor`` int32 [B];
            ``origin`` int32 [B, 2], row and column of the crop's corner in the padded image;
            ``event`` int64 [B], event numbers.
        """
        rows = np.arange(self.batch) if rows is None else rows
        hits = self._images_at(step * self.batch + rows)
        origin = np.zeros((len(rows), 2), np.int32)
        if self.crop is not None:
            corner = _random_generator(self.seed, _CROP, step).integers(
                self._corners, size=(self.batch, 2)
            )
            origin = (corner[rows] * self.stride).astype(np.int32)
        max_charge = self.file.geometry.max_charge
        charge: NDArray[np.floating[Any]] = hits.adu.astype(np.float64)
        if self.dequantise:
            width = dequantisation_half_width(max_charge)
            of_row = zip(rows, hits.counts, strict=True)
            charge += np.concatenate(
                [
                    _random_generator(self.seed, _CHARGE, step, r).uniform(-width, width, n)
                    for r, n in of_row
                ]
            )
            np.minimum(charge, max_charge, out=charge)
        return {
            "image": log_scale_images(hits, charge, self.size, max_charge, self.channels, origin),
            "sensor": hits.sensor.astype(np.int32),
            "origin": origin,
            "event": hits.event,
        }

    def _images_at(self, position: NDArray[np.int64]) -> Hits:
        """Read the images at consecutive positions of the endless sequence of epochs."""
        epoch, place = np.divmod(position, self.images_per_epoch)
        window, place = np.divmod(place, self.window_events * len(self.file.geometry.sensors))
        starts = np.flatnonzero(np.diff(window, prepend=-1) | np.diff(epoch, prepend=-1))
        parts = [
            self._images_of_window(int(epoch[i[0]]), int(window[i[0]]), place[i])
            for i in np.split(np.arange(len(position)), starts[1:])
        ]
        return concatenate(parts) if len(parts) > 1 else parts[0]

    def _images_of_window(self, epoch: int, window: int, place: NDArray[np.int64]) -> Hits:
        """Take images of a shuffled window; the last two windows are cached."""
        key = epoch, window
        if key not in self._windows:
            while len(self._windows) > 1:
                del self._windows[next(iter(self._windows))]
            order = _random_generator(self.seed, _EVENT_ORDER, epoch).permutation(len(self.events))
            chosen = order[window * self.window_events : (window + 1) * self.window_events]
            hits = _read_sorted(self.file, np.sort(np.asarray(self.events)[chosen]))
            shuffle = _random_generator(self.seed, _IMAGE_ORDER, epoch, window).permutation(
                len(hits)
            )
            self._windows[key] = hits, shuffle
        hits, shuffle = self._windows[key]
        return hits.take(shuffle[place])


def _read_sorted(file: EventFile, events: NDArray[np.int64]) -> Hits:
    """Read events at rising positions, with consecutive ones in one access."""
    breaks = np.flatnonzero(np.diff(events) > 1) + 1
    return concatenate(
        [file.read_events(int(run[0]), int(run[-1]) + 1) for run in np.split(events, breaks)]
    )
