"""Fraction of clusters whose exact pattern of pixels another cluster of the same sensor has too.

``python benchmarks/repeated_clusters.py FILE.h5 ... [--events N]`` prints a row of a Markdown table
for each file of hits; the model card of ``pxd_biggan`` has the rows of 40 events
(``kerasgen simulate pxd --events 40 --seed 5``, ``kerasgen generate pxd_biggan --events 40``).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import label

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, to_dense
from kerasgen.data.store import EventFile

SIZES = ((6, 8), (9, 11), (12, 15), (16, 24), (25, 10**6))  # pixels
Pattern = tuple[int, int, bytes]  # sensor, pixels, their relative positions


def patterns(hits: Hits, geometry: Geometry) -> Iterator[Pattern]:
    """Patterns of all clusters (pixels that touch, also by a corner) of the images."""
    for i, sensor in enumerate(hits.sensor):
        image = to_dense(hits.take(np.array([i])), geometry)[0] > 0
        position = np.argwhere(image)
        cluster = label(image, np.ones((3, 3)))[0][image]
        order = np.argsort(cluster, kind="stable")
        ends = np.flatnonzero(np.diff(cluster[order])) + 1
        for pixels in np.split(position[order], ends):
            yield int(sensor), len(pixels), (pixels - pixels.min(0)).tobytes()


def row(path: Path, events: int) -> list[str]:
    """Cells of the table for one file."""
    with EventFile(path) as file:
        numbers = Counter(patterns(file.read_events(0, events), file.geometry))
    cells = [path.name]
    for low, high in SIZES:
        found = np.array([n for (_, size, _), n in numbers.items() if low <= size <= high])
        cells.append(f"{found[found > 1].sum() / max(found.sum(), 1):.3f}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.h5")
    parser.add_argument("--events", type=int, default=40)
    a = parser.parse_args()
    names = [f"{low}-{high}" if high < 10**6 else f"{low} and more" for low, high in SIZES]
    for cells in (["cluster size, pixels", *names], ["---"] * 6):
        print("|", " | ".join(cells), "|")
    for path in a.files:
        print("|", " | ".join(row(path, a.events)), "|")


if __name__ == "__main__":
    main()
