"""Peak memory of writing and reading a large event file.

``python -m benchmarks.stream_memory FILE.h5 [--events 10000]`` writes that many synthetic PXD
events (40 sensors, about 1750 hits each), streams them back, draws training batches, and prints
times and the peak resident memory after each stage.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits
from kerasgen.data.pipeline import ImageSampler
from kerasgen.data.store import EventFile, EventWriter

HITS_PER_IMAGE = 1750
BLOCK = 4  # events


def synthetic_events(geometry: Geometry, first: int, rng: np.random.Generator) -> Hits:
    """``BLOCK`` events of hits at random gaps; no physics, the size of real ones."""
    sensors = len(geometry.sensors)
    images = BLOCK * sensors
    largest_gap = 2 * geometry.pixels // HITS_PER_IMAGE
    gaps = rng.integers(1, largest_gap, (images, HITS_PER_IMAGE + HITS_PER_IMAGE // 10))
    pixel = np.cumsum(gaps, 1)
    kept = pixel < geometry.pixels
    counts = kept.sum(1)
    row, col = np.divmod(pixel[kept], geometry.cols)
    adu = geometry.threshold + rng.gamma(1.0, 14, len(row))
    return Hits(
        np.concatenate([[0], np.cumsum(counts)]),
        row.astype(np.uint16),
        col.astype(np.uint16),
        np.minimum(adu, geometry.max_charge).astype(np.uint16),
        rng.integers(1, 4, len(row), dtype=np.uint8),
        np.tile(np.arange(sensors, dtype=np.uint16), BLOCK),
        np.repeat(np.arange(first, first + BLOCK), sensors),
    )


def write(path: str, events: int) -> None:
    """Write ``events`` synthetic events, rounded up to whole blocks."""
    geometry = load_geometry("belle2-pxd")
    rng = np.random.default_rng(1)
    with EventWriter(path, geometry, "benchmarks.stream_memory", seed=1) as writer:
        for first in range(0, events, BLOCK):
            writer.write(synthetic_events(geometry, first, rng))


def read(path: str) -> int:
    """Stream the file once; returns the number of hits."""
    with EventFile(path) as file:
        return sum(len(hits.row) for hits in file.blocks())


def sample(path: str, steps: int) -> None:
    """Draw batches of 32 crops of 64 x 192 from all events."""
    with EventFile(path) as file:
        sampler = ImageSampler(file, range(file.n_events), 32, 1, (64, 192), True)
        for step in range(steps):
            sampler.batch_at(step)


def _report(stage: str, start: float, unit: str, n: int) -> None:
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{stage}: {n} {unit} in {seconds:.0f} s, peak {peak:.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of a large event file.")
    parser.add_argument("file")
    parser.add_argument("--events", type=int, default=10_000)
    options = parser.parse_args()
    start = time.perf_counter()
    write(options.file, options.events)
    _report("write", start, "events", options.events)
    start = time.perf_counter()
    _report("read", start, "hits", read(options.file))
    start = time.perf_counter()
    sample(options.file, 500)
    _report("sample", start, "batches", 500)


if __name__ == "__main__":
    main()
