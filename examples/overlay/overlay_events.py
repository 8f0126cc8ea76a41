"""A model that ships with kerasgen -> generated background -> laid over signal tracks.

    python overlay_events.py [EVENTS [MODEL]]

writes ``overlay.h5`` and a picture of its first event, ``overlay.png``. Signal here is simulated:
40 tracks an event. For files the same is one command:
``kerasgen overlay SIGNAL.root OUT.root --model pxd_biggan``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import kerasgen
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.parameters import calibrated
from kerasgen.data.store import EventWriter
from kerasgen.serving.overlay import add_background
from kerasgen.tracking.signal import simulate_signal

SEED, RUN = 7, 1  # of the production, and the run whose events these are


def main(events: int = 4, name: str = "pxd_biggan") -> None:
    """Generate, overlay, write, draw."""
    model = kerasgen.load(name)
    detector = build_detector(model.geometry)
    tracks = simulate_signal(model.geometry, detector, calibrated(), SEED, range(events))
    signal = tracks.hits(model.geometry)

    # Experiment, run and event number: the background of an event depends on them and SEED alone.
    numbers = np.stack([np.zeros(events), np.full(events, RUN), np.arange(events)], 1)
    both = add_background(signal, numbers.astype(np.int64), model.generator, model.geometry, SEED)

    Path("overlay.h5").unlink(missing_ok=True)
    with EventWriter(Path("overlay.h5"), model.geometry, f"overlay of {name}", SEED) as writer:
        writer.write(both)
    kerasgen.plot(model, both).savefig("overlay.png")
    print(
        f"overlay.h5: {events} events, {len(signal.adu) / events:.0f} fired pixels of signal and "
        f"{len(both.adu) / events:.0f} with background per event"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
