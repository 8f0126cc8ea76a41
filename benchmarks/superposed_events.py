"""Base line of another level of background: events of level 1 on top of each other.

kerasgen simulate pxd --engine geant4 --events 800 --seed 1 --out train.h5
kerasgen simulate pxd --engine geant4 --events 40 --seed 3 --level 4 --out level_4.h5
python benchmarks/superposed_events.py train.h5 4 superposed_4.h5 --events 40
kerasgen evaluate --reference level_4.h5 --candidate superposed_4.h5
"""

from __future__ import annotations

import argparse
from functools import partial, reduce
from pathlib import Path

from kerasgen.data.hits import overlay
from kerasgen.data.store import EventFile, EventWriter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="events of level 1")
    parser.add_argument("level", type=int, help="events on top of each other")
    parser.add_argument("out", type=Path)
    parser.add_argument("--events", type=int, default=40)
    given = parser.parse_args()
    with (
        EventFile(given.file) as file,
        EventWriter(given.out, file.geometry, "superposed_events") as writer,
    ):
        for event in range(given.events):
            start = event * given.level
            parts = [file.read_events(k, k + 1) for k in range(start, start + given.level)]
            writer.write(reduce(partial(overlay, geometry=file.geometry), parts))


if __name__ == "__main__":
    main()
