"""basf2 module that adds generated beam background to simulated PXD digits.

In a steering file, between digitizer and clusterizer, instead of reading background overlay files::

    from overlay_background import OverlayBackground

    path.add_module("PXDDigitizer")
    path.add_module(OverlayBackground("exported/pxd_biggan/1", seed=7))
    path.add_module("PXDClusterizer", Digits="PXDDigitsWithBackground")

The background of an event depends on ``seed`` and on its experiment, run and event numbers only, so
that a production does not depend on its division into jobs. The module needs kerasgen in the Python
of basf2 (``pip install kerasgen``). Each process loads the model once.
"""

from pathlib import Path

import basf2 as b2
import numpy as np
from ROOT import Belle2

from kerasgen.data.hits import from_lists
from kerasgen.serving.overlay import add_background
from kerasgen.serving.saved_model import load_exported


class OverlayBackground(b2.Module):
    """Read ``PXDDigits``, write signal and background to ``PXDDigitsWithBackground``.

    Args:
        model: folder of an exported model.
        seed: seed of the production, 0..2^23 - 1.
        generator: an object with a method ``digits``, as ``kerasgen.serving.client.GrpcClient``,
            that replaces the generator of the model, so that all jobs of a machine share a server.
        drop_below_threshold: drop signal charges below the threshold of the geometry, 7 ADU.
            Otherwise they are an error: the digitizer's zero suppression must not be lower.
    """

    def __init__(self, model, seed=0, generator=None, drop_below_threshold=False):
        super().__init__()
        self.model = model
        self.seed = seed
        self.generator = generator
        self.drop = drop_below_threshold

    def initialize(self):
        """Load the model and claim the arrays."""
        exported = load_exported(Path(self.model))
        self.geometry = exported.schema
        self.generator = self.generator or exported.generator
        self.info = Belle2.PyStoreObj("EventMetaData")
        self.signal = Belle2.PyStoreArray("PXDDigits")
        self.overlaid = Belle2.PyStoreArray("PXDDigitsWithBackground")
        self.overlaid.registerInDataStore()

    def event(self):
        """Overlay one event."""
        merged = add_background(
            self.signal_hits(),
            np.array([[self.info.getExperiment(), self.info.getRun(), self.info.getEvent()]]),
            self.generator,
            self.geometry,
            self.seed,
        )
        ids = np.array([sensor.id for sensor in self.geometry.sensors])
        self.overlaid.fillArray(
            sensorID=ids[merged.sensor[merged.image]].astype(np.ushort),
            uCellID=merged.row.astype(np.ushort),
            vCellID=merged.col.astype(np.ushort),
            charge=merged.adu.astype(np.ushort),
        )

    def signal_hits(self):
        """Convert the digits of the event to kerasgen hits."""
        digits = [
            (d.getSensorID().getID(), d.getUCellID(), d.getVCellID(), int(d.getCharge()))
            for d in self.signal
        ]
        ids, row, col, adu = np.array(digits, np.int64).reshape(-1, 4).T
        index = self.geometry.index_of_id
        sensor = np.array([index[i] for i in ids.tolist()], np.int64)
        pixels = {"row": row, "col": col, "adu": adu, "type": np.zeros_like(row)}
        event = np.array([self.info.getEvent()])
        place = np.zeros_like(row)
        return from_lists(event, place, sensor, pixels, self.geometry, "PXDDigits", self.drop)
