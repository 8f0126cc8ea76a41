"""Samples of an evaluation: events of files, held-out events, training events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.pixel_mask import any_unhealthy
from kerasgen.data.pixel_source import (
    PixelDataSettings,
    division,
    event_file,
    event_path,
    known_types,
    simulator,
)
from kerasgen.data.store import EventFile, checksum
from kerasgen.errors import InputError
from kerasgen.metrics.cluster_memorisation import TrainingClusters, TrainingRecorder
from kerasgen.metrics.cluster_samples import ClusterRecorder, ClusterSample
from kerasgen.metrics.compare import check_enough
from kerasgen.metrics.memorisation import training_signatures
from kerasgen.metrics.summary import Summary, join_summaries, summarise

BLOCK = 16  # events of a file that are in memory at a time


class Recorder(Protocol):
    """Receives the events of a sample block by block."""

    def add(self, hits: Hits, /) -> None: ...


Recorders = Callable[[Geometry, int], Sequence[Recorder]]


def no_recorders(geometry: Geometry, events: int) -> Sequence[Recorder]:
    """No recorder: only the summary is wanted."""
    return ()


@dataclass(frozen=True)
class Sample:
    """The summary of events, clusters of some of them, and one of them for figures.

    Attributes:
        summary: of all events.
        example: hits of the first event.
        clusters: of the first events.
    """

    summary: Summary
    example: Hits
    clusters: ClusterSample


def summarise_blocks(
    blocks: Iterable[Hits], geometry: Geometry, recorders: Sequence[Recorder] = ()
) -> Sample:
    """Summarise whole events that arrive in blocks; memory holds one block at a time.

    Args:
        blocks: of events.
        geometry: the detector.
        recorders: receive the same events.

    Raises:
        InputError: no events.
    """
    parts, example, clusters = [], None, ClusterRecorder(geometry)
    for hits in blocks:
        if example is None:
            example = first_event(hits, geometry)
        parts.append(summarise(hits, geometry))
        for recorder in (clusters, *recorders):
            recorder.add(hits)
    if example is None:
        raise InputError("nothing to evaluate: no events")
    return Sample(join_summaries(parts), example, clusters.sample)


def first_event(hits: Hits, geometry: Geometry) -> Hits:
    """The images of the first event."""
    return hits.take(np.arange(min(len(hits), len(geometry.sensors))))


def file_sample(file: EventFile, events: range, recorders: Recorders = no_recorders) -> Sample:
    """Summarise events of a file.

    Args:
        file: open.
        events: positions in it.
        recorders: makes the recorders of the same events from geometry and number of events.
    """
    seen = recorders(file.geometry, len(events))
    return summarise_blocks(file_blocks(file, events), file.geometry, seen)


def unhealthy_pixels(source: str) -> NDArray[np.bool_] | None:
    """Pixels of a data source that are dead, masked or hot in any event; see ``any_unhealthy``."""
    if simulator(source):
        return None
    with EventFile(source) as file:
        return any_unhealthy([file.mask])


def left_out_remarks(left_out: NDArray[np.bool_] | None) -> list[str]:
    """What the report says of pixels that are left out."""
    if left_out is None:
        return []
    return [
        f"{left_out.sum()} pixels are dead, masked or hot in a file: they are left out of all "
        "samples."
    ]


def held_out_sample(
    settings: PixelDataSettings,
    source: str | None,
    recorders: Recorders = no_recorders,
    left_out: NDArray[np.bool_] | None = None,
) -> tuple[Sample, dict[str, str]]:
    """Summarise the held-out events; also the checksum of their file.

    Args:
        settings: data section of the configuration.
        source: another source instead of that of the settings.
        recorders: see ``file_sample``.
        left_out: see ``EventFile``.
    """
    chosen = source or settings.source
    n, unseen, seed = settings.events, settings.held_out, settings.seed
    types = known_types(chosen, settings.channels)
    own = chosen == settings.source
    trained_on = own and event_path(chosen, n, seed).exists()
    # Without the cache of the training, only the held-out events are simulated.
    events, first = (n, 0) if trained_on else (unseen, n - unseen if own else 0)
    with event_file(chosen, events, seed, types, first) as file:
        file.left_out = left_out
        used = division(file, n, unseen)[1] if trained_on else range(file.n_events)
        check_enough(chosen, len(used))
        found = file_sample(file, used, recorders)
    return found, {file.path.name: checksum(file.path)}


def held_out_count(settings: PixelDataSettings, source: str | None) -> int:
    """Number of events of ``held_out_sample``; arguments as there."""
    if source in (None, settings.source) or simulator(str(source)):
        return settings.held_out
    with EventFile(str(source)) as file:
        return file.n_events


@contextmanager
def training_events(
    settings: PixelDataSettings, recorded: dict[str, str]
) -> Iterator[tuple[EventFile, range] | None]:
    """Open the file that a run was trained on; also the positions of its training events.

    Yields None if the file is missing. If another file is in its place, prints a note and yields
    None.

    Args:
        settings: data section of the configuration.
        recorded: checksums of the data by file name at the end of the training; a file without a
            recorded checksum is accepted.
    """
    path = event_path(settings.source, settings.events, settings.seed)
    if not path.exists():
        yield None
        return
    if path.name in recorded and checksum(path) != recorded[path.name]:
        print(
            f"{path}: not the file of the training (its checksum differs): copies of training "
            "events are not looked for, and training may have seen the events held out here",
            flush=True,
        )
        yield None
        return
    with EventFile(path, settings.channels) as file:
        yield file, division(file, settings.events, settings.held_out)[0]


@dataclass(frozen=True)
class Baseline:
    """Bootstrap baseline: training events drawn with replacement, instead of a model.

    Attributes:
        signatures: of all training events, to look for copies; see ``memorisation``.
        clusters: of all training events, see ``cluster_memorisation``.
        sample: bootstrap sample with as many events as the candidates have.
        storage: {"events": stored, "bytes_per_event", "bytes", "models": {candidate: bytes}}.
    """

    signatures: NDArray[np.uint32]
    clusters: TrainingClusters
    sample: Sample
    storage: dict[str, Any]


def read_baseline(
    file: EventFile,
    events: range,
    n: int,
    seed: int,
    recorders: Recorders = no_recorders,
    models: dict[str, int] | None = None,
) -> Baseline:
    """Read training events and draw a bootstrap sample of them.

    Args:
        file: open.
        events: positions of the training events.
        n: events of the bootstrap sample, as many as the candidates have.
        seed: of the bootstrap sample.
        recorders: of the bootstrap sample.
        models: {candidate: bytes of the model's files}.
    """
    clusters = TrainingRecorder(file.geometry)

    def recorded() -> Iterator[Hits]:
        for hits in file_blocks(file, events):
            clusters.add(hits)
            yield hits

    signatures = training_signatures(recorded(), file.geometry)
    seen = recorders(file.geometry, n)
    bootstrap = summarise_blocks(resampled_blocks(file, events, n, seed), file.geometry, seen)
    each = file.path.stat().st_size / file.n_events
    storage = {
        "events": len(events),
        "bytes_per_event": each,
        "bytes": each * len(events),
        "models": models or {},
    }
    return Baseline(signatures, clusters.clusters, bootstrap, storage)


def resampled_blocks(file: EventFile, events: range, n: int, seed: int) -> Iterator[Hits]:
    """Bootstrap sample: n events drawn with replacement, in blocks.

    Args:
        file: open.
        events: positions of the events to draw from.
        n: events to draw.
        seed: of the bootstrap sample.
    """
    chosen = events.start + np.random.default_rng(seed).integers(len(events), size=n)
    sensors = len(file.geometry.sensors)
    for start in range(0, n, BLOCK):
        part = [file.read_events(k, k + 1) for k in chosen[start : start + BLOCK].tolist()]
        hits = concatenate(part)
        numbers = start + np.arange(len(part))  # a repeated event is another event
        yield replace(hits, event=np.repeat(numbers, sensors))


def file_blocks(file: EventFile, events: range) -> Iterator[Hits]:
    """Read events of a file in blocks, with a progress bar on a terminal."""
    with tqdm(total=len(events), desc=file.path.name, unit=" events", disable=None) as bar:
        for first in range(events.start, events.stop, BLOCK):
            last = min(first + BLOCK, events.stop)
            yield file.read_events(first, last)
            bar.update(last - first)
