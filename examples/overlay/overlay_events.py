"""Generate background with a released model and add it to signal tracks.

    python overlay_events.py [EVENTS [MODEL]]

writes ``overlay.h5`` and a figure of its first event, ``overlay.png``. The signal is simulated with
40 tracks per event. For files one command does the same:
``kerasgen overlay SIGNAL.root OUT.root --model pxd_biggan``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import kerasgen
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.parameters import calibrated_parameters
from kerasgen.data.store import EventWriter
from kerasgen.serving.overlay import add_background
from kerasgen.tracking.signal import simulate_signal

SEED, RUN = 7, 1  # seed of the production, run number of the events


def main(events: int = 4, name: str = "pxd_biggan") -> None:
    """Generate background, overlay it on signal, write the events, draw the first one."""
    model = kerasgen.load(name)
    geometry = model.schema
    detector = build_detector(geometry)
    tracks = simulate_signal(geometry, detector, calibrated_parameters(), SEED, range(events))
    signal = tracks.hits(geometry)

    # The background of an event depends on experiment, run and event number and SEED only.
    numbers = np.stack([np.zeros(events), np.full(events, RUN), np.arange(events)], 1)
    both = add_background(signal, numbers.astype(np.int64), model.generator, geometry, SEED)

    Path("overlay.h5").unlink(missing_ok=True)
    with EventWriter(Path("overlay.h5"), geometry, f"overlay of {name}", SEED) as writer:
        writer.write(both)
    kerasgen.plot(model, both).savefig("overlay.png")
    print(
        f"overlay.h5: {events} events, {len(signal.adu) / events:.0f} fired pixels of signal and "
        f"{len(both.adu) / events:.0f} with background per event"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
