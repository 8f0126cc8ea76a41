"""Pixels that are not healthy: dead and masked ones never fire, hot ones fire by themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerasgen.backend.numpy_seeds import key_at
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, concatenate, hits_on, overlay
from kerasgen.errors import InputError

KINDS = DEAD, MASKED, HOT = "dead", "masked", "hot"
ALWAYS = 0, 2**63 - 1
# Pairs are the first and the last of a range.
LINE = np.dtype(
    [
        ("sensor", np.int64),
        ("row", np.int64, 2),
        ("col", np.int64, 2),
        ("kind", np.int64),
        ("rate", np.float64),
        ("charge", np.int64, 2),
        ("span", np.int64, 2),
    ]
)
HOT_STREAM, CHARGE_STREAM = 0x686F74, 0x616475  # of the random numbers of an event


@dataclass(frozen=True, eq=False)
class PixelMask:
    """A list of rectangles of pixels that are not healthy.

    A pixel that any line calls dead or masked never fires, whatever other lines say. Of several
    lines by which a pixel is hot, the first counts.

    Attributes:
        geometry: of the detector.
        lines: of the type ``LINE``. sensor: index; row, col: ranges of pixels; kind: index in
            ``KINDS``; rate: probability that a hot pixel fires in an event; charge: range of its
            charge, ADU; span: range of runs in a list of the user's, of the positions of the
            events in a file of events.
    """

    geometry: Geometry
    lines: NDArray[np.void]

    @property
    def identity(self) -> str:
        """Twelve hexadecimal digits that change with any line."""
        return hashlib.sha256(self.lines.tobytes()).hexdigest()[:12]

    @property
    def has_spans(self) -> bool:
        """Whether some lines do not hold always."""
        return bool((self.lines["span"] != ALWAYS).any())

    def holds(self, number: int) -> NDArray[np.bool_]:
        """Lines that hold in a run, or for the event at a position: bool [lines]."""
        span = self.lines["span"]
        return (span[:, 0] <= number) & (number <= span[:, 1])

    def of_run(self, run: int) -> PixelMask:
        """The lines of one run, which then hold always."""
        lines = self.lines[self.holds(run)]
        lines["span"] = ALWAYS
        return PixelMask(self.geometry, lines)

    def by_position(self, runs: NDArray[np.int64]) -> PixelMask:
        """The same mask with positions of events in a file in place of runs.

        Args:
            runs: [events], run of each event of the file.
        """
        starts = np.flatnonzero(np.diff(runs, prepend=runs[:1] - 1))
        ends = np.append(starts[1:], len(runs))
        run = runs[starts]
        found = []
        for line in self.lines:
            inside = (line["span"][0] <= run) & (run <= line["span"][1])
            change = np.diff(inside.astype(np.int8), prepend=0, append=0)
            first, last = np.flatnonzero(change == 1), np.flatnonzero(change == -1) - 1
            part = np.repeat(line[None], len(first))
            part["span"] = np.stack([starts[first], ends[last] - 1], axis=1)
            found.append(part)
        lines = np.concatenate([self.lines[:0], *found])
        lines["span"][(lines["span"] == (0, len(runs) - 1)).all(1)] = ALWAYS
        return PixelMask(self.geometry, lines)

    def merged(self, other: PixelMask) -> PixelMask:
        """Both masks; where a pixel is hot by both, as this one says."""
        known = {line.tobytes() for line in self.lines}
        new = [line.tobytes() not in known for line in other.lines]
        lines = np.concatenate([self.lines, other.lines[np.array(new, np.bool_)]])
        return PixelMask(self.geometry, lines)

    def unhealthy(self) -> NDArray[np.bool_]:
        """Pixels that are dead, masked or hot at any time: bool [sensors, rows, cols]."""
        found = np.zeros(shape_of(self.geometry), np.bool_)
        for box in boxes(self.lines):
            found[box] = True
        return found

    def part(self, geometry: Geometry) -> PixelMask:
        """The mask of a part of the detector: some sensors, their first rows and columns."""
        index = np.array([geometry.index_of_name.get(n, -1) for n in self.geometry.names])
        lines = self.lines.copy()
        lines["sensor"] = index[lines["sensor"]]
        for name, size in (("row", geometry.rows), ("col", geometry.cols)):
            lines[name][:, 1] = np.minimum(lines[name][:, 1], size - 1)
        inside = (lines["row"][:, 0] < geometry.rows) & (lines["col"][:, 0] < geometry.cols)
        return PixelMask(geometry, lines[inside & (lines["sensor"] >= 0)])

    def summary(self) -> str:
        """How many pixels are dead or masked, and how many hot, at any time."""
        silent = PixelMask(self.geometry, self.lines[self.lines["kind"] != KINDS.index(HOT)])
        never, either = silent.unhealthy().sum(), self.unhealthy().sum()
        return f"{never} pixels dead or masked, {either - never} hot"


def any_unhealthy(masks: Iterable[PixelMask | None]) -> NDArray[np.bool_] | None:
    """Pixels that are dead, masked or hot at any time by any of the masks, of one geometry.

    Returns:
        bool [sensors, rows, cols]; None: there are no such pixels.
    """
    parts = [mask.unhealthy() for mask in masks if mask is not None and len(mask.lines)]
    return np.any(parts, axis=0) if parts else None


def shape_of(geometry: Geometry) -> tuple[int, int, int]:
    """Sensors, rows, columns."""
    return len(geometry.sensors), geometry.rows, geometry.cols


def boxes(lines: NDArray[np.void]) -> Iterator[tuple[int, slice, slice]]:
    """Index of the pixels of each line in an array [sensors, rows, cols]."""
    for sensor, row, col in zip(
        lines["sensor"].tolist(), lines["row"].tolist(), lines["col"].tolist(), strict=True
    ):
        yield sensor, slice(row[0], row[1] + 1), slice(col[0], col[1] + 1)


@dataclass(frozen=True)
class Pixels:
    """The pixels of a mask for one event.

    Attributes:
        geometry: of the detector.
        silent: bool [sensors, rows, cols], dead or masked.
        hot: int64 [n], index of the hot pixels in the flattened ``silent``, ascending.
        rate: float64 [n], probability that they fire.
        charge: int64 [n, 2], range of their charge, ADU.
    """

    geometry: Geometry
    silent: NDArray[np.bool_]
    hot: NDArray[np.int64]
    rate: NDArray[np.float64]
    charge: NDArray[np.int64]

    def silent_hits(self, hits: Hits) -> NDArray[np.bool_]:
        """Which hits are on a silent pixel: bool [hits]."""
        return hits_on(hits, self.silent)

    def fired(self, seed: int, event: int) -> Hits:
        """The hits of the hot pixels in one event.

        Counter-based: a pixel depends on seed, event number and its place alone. The charge is
        uniform in its range.
        """
        own = key_at(seed, event)
        fires = fraction_at(key_at(own, HOT_STREAM), self.hot) < self.rate
        pixel, (low, high) = self.hot[fires], self.charge[fires].T
        share = fraction_at(key_at(own, CHARGE_STREAM), pixel)
        sensors, rows, cols = shape_of(self.geometry)
        sensor, row, col = np.unravel_index(pixel, (sensors, rows, cols))
        return Hits(
            np.searchsorted(sensor, np.arange(sensors + 1)).astype(np.int64),
            row.astype(np.uint16),
            col.astype(np.uint16),
            (low + np.floor(share * (high - low + 1))).astype(np.uint16),
            np.zeros(len(pixel), np.uint8),
            np.arange(sensors, dtype=np.uint16),
            np.full(sensors, event, np.int64),
        )


def fraction_at(key: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number on [0, 1) of 53 bits at an index, which does not depend on the others requested."""
    return (key_at(key, place).astype(np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def pixels_of(mask: PixelMask) -> Pixels:
    """The pixels of lines that all hold for an event."""
    lines, hot = mask.lines, mask.lines["kind"] == KINDS.index(HOT)
    owner = np.full(shape_of(mask.geometry), -1, np.int32)  # line that counts for a pixel
    order = np.concatenate([np.flatnonzero(hot)[::-1], np.flatnonzero(~hot)])
    for k, box in zip(order.tolist(), boxes(lines[order]), strict=True):
        owner[box] = k
    is_hot = np.append(hot, False)[owner]
    pixel = np.flatnonzero(is_hot)
    line = lines[owner.ravel()[pixel]]
    return Pixels(mask.geometry, (owner >= 0) & ~is_hot, pixel, line["rate"], line["charge"])


class EventMasking:
    """A mask that is applied to the events of a file.

    Args:
        mask: with positions of events.
        fired: a mask whose hot pixels have fired in the events already; None: there is none.
    """

    def __init__(self, mask: PixelMask, fired: PixelMask | None = None) -> None:
        self.mask = mask
        self.fired = fired
        self._kept: tuple[NDArray[np.bool_], Pixels] | None = None  # lines that hold, pixels

    def pixels(self, position: int) -> Pixels:
        """The pixels of the event at a position; the last ones are kept, as they rarely change."""
        held = np.concatenate([m.holds(position) for m in (self.mask, self.fired) if m is not None])
        if self._kept is None or not np.array_equal(self._kept[0], held):
            self._kept = held, self._made(position)
        return self._kept[1]

    def _made(self, position: int) -> Pixels:
        pixels = pixels_of(self.mask.of_run(position))
        if self.fired is None:
            return pixels
        waits = ~np.isin(pixels.hot, pixels_of(self.fired.of_run(position)).hot)
        return Pixels(
            pixels.geometry,
            pixels.silent,
            pixels.hot[waits],
            pixels.rate[waits],
            pixels.charge[waits],
        )

    def apply(self, hits: Hits, seed: int) -> Hits:
        """As ``apply_at``, where all events have one run seed and all lines hold always."""
        numbers = hits.event[:: len(self.mask.geometry.sensors)].tolist()
        return self.apply_at(hits, [(seed, number) for number in numbers], 0)

    def apply_at(self, hits: Hits, keys: Sequence[tuple[int, int]], first: int) -> Hits:
        """Fire the hot pixels and silence the dead and masked ones.

        The charge of a hot pixel adds to the charge that the event has there.

        Args:
            hits: whole events.
            keys: run seed and event number of each event, the keys of its random numbers.
            first: position of the first event in the file.
        """
        sensors = len(self.mask.geometry.sensors)
        return concatenate(
            [
                self._applied(hits.take(np.arange(sensors) + i * sensors), key, first + i)
                for i, key in enumerate(keys)
            ]
        )

    def _applied(self, event: Hits, key: tuple[int, int], position: int) -> Hits:
        pixels = self.pixels(position)
        if len(pixels.hot):
            event = overlay(event, pixels.fired(*key), self.mask.geometry)
        return event.where(~pixels.silent_hits(event))

    def check(self, hits: Hits, first: int, origin: str) -> None:
        """Raise InputError for a hit of whole events on a pixel that never fires.

        Args:
            hits: whole events.
            first: position of the first event in the file.
            origin: file, the start of the error message.
        """
        geometry = self.mask.geometry
        sensors = len(geometry.sensors)
        for i in range(len(hits) // sensors):
            event = hits.take(np.arange(sensors) + i * sensors)
            bad = self.pixels(first + i).silent_hits(event)
            if bad.any():
                k = int(np.argmax(bad))
                name = geometry.sensors[event.sensor[event.image[k]]].name
                raise InputError(
                    f"{origin}: event {event.event[0]}, sensor {name}: pixel ({event.row[k]}, "
                    f"{event.col[k]}) has a hit, and the mask says that it never fires"
                )
