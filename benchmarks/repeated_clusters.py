"""Fraction of clusters whose exact pattern of pixels another cluster of the same sensor has too.

``python benchmarks/repeated_clusters.py REAL.h5 OTHER.h5 ... [--events N]`` prints rows of a
Markdown table: each other file, and the first one at the same number of clusters of each sensor.
Files are those of ``kerasgen simulate pxd`` and ``kerasgen generate``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kerasgen.data.store import EventFile
from kerasgen.evaluation.report_rows import value_with_error
from kerasgen.evaluation.samples import file_blocks
from kerasgen.metrics.cluster_repeats import compare_repeats
from kerasgen.metrics.cluster_samples import ClusterRecorder, ClusterSample


def clusters_of(path: Path, events: int) -> tuple[ClusterSample, int]:
    """Clusters of the first events of a file, and its number of sensors."""
    with EventFile(path) as file:
        recorder = ClusterRecorder(file.geometry, events)
        for hits in file_blocks(file, range(min(events, file.n_events))):
            recorder.add(hits)
        return recorder.sample, len(file.geometry.sensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("real", type=Path, metavar="REAL.h5")
    parser.add_argument("others", nargs="+", type=Path, metavar="OTHER.h5")
    parser.add_argument("--events", type=int, default=40)
    a = parser.parse_args()
    real, sensors = clusters_of(a.real, a.events)
    print("| pixels | 6-8 | 9-11 | 12-15 | 16-24 | 25 and more |")
    print("| --- | --- | --- | --- | --- | --- |")
    for path in a.others:
        found = compare_repeats(real, clusters_of(path, a.events)[0], sensors).values()
        for name, key in ((a.real.name, "reference"), (path.name, "candidate")):
            cells = [value_with_error(q[key], q[f"{key}_error"]) for _, q in found]
            print("|", " | ".join([name, *cells]), "|")


if __name__ == "__main__":
    main()
