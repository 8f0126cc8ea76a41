"""Generated PXD background in basf2, by ONNX Runtime: neither TensorFlow, PyTorch nor kerasgen.

``OnnxBackgroundGenerator`` takes the place of ``PXDBackgroundGenerator`` of basf2's
``pxd.background_generator``, after ``BGOverlayInput``::

    from onnx_background import OnnxBackgroundGenerator
    from pxd.background_generator import inject_simulation

    module = OnnxBackgroundGenerator("exported/onnx/pxd_clusters/1/model.onnx")
    add_simulation = inject_simulation(module)

The checkpoint is the file of ``kerasgen export pxd_clusters --format onnx``, or a payload of raw
bytes of the conditions database with the same content. An event depends on the seed and on its
experiment, run and event numbers only, so that parallel processes never repeat each other's events.
``Generator`` alone needs numpy and onnxruntime, no basf2.
"""

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime

SHAPE = (40, 250, 768)  # sensors in the order 1.1.1, 1.1.2, 1.2.1, ..., 2.12.2; rows u; columns v
LADDERS = (8, 12)  # of the layers 1 and 2, two sensors each
LOWEST, HIGHEST = -(2**63), 2**63 - 1  # of a seed


class Generator:
    """Images of all sensors.

    Args:
        payload: content of ``model.onnx``, or its path.
        seed: run seed.
        nintra: threads of one operation.
        ninter: operations that run at the same time.

    Raises:
        TypeError, ValueError: an argument of another type or out of range.
        RuntimeError: a payload that is no such model.
    """

    def __init__(self, payload, seed, nintra=1, ninter=1):
        self.seed = checked_integer("seed", seed, LOWEST, HIGHEST)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = checked_integer("nintra", nintra, 1)
        options.inter_op_num_threads = checked_integer("ninter", ninter, 1)
        if ninter > 1:
            options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
        content = payload if isinstance(payload, bytes) else Path(payload).read_bytes()
        try:
            self.session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the classes of its exceptions are not public
            raise RuntimeError(f"the payload is no ONNX model ({error})") from None
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        shapes = [x.shape[1:] for x in outputs if x.name == "adu"]
        if {x.name for x in inputs} != {"sensor", "seed"} or shapes != [list(SHAPE[1:])]:
            raise RuntimeError("the payload is no model of images of the Belle II PXD")
        self.number = 0

    def generate(self, number=None):
        """Charges of an event, uint8 [40, 250, 768], ADU; 0 where no pixel fired.

        Charges are whole numbers from the threshold on, 7 ADU.

        Args:
            number: of the event, int64; None: the next one, from 0 on.
        """
        if number is None:
            number, self.number = self.number, self.number + 1
        pair = np.array([[self.seed, checked_integer("number", number, LOWEST, HIGHEST)]], np.int64)
        sensor = np.arange(SHAPE[0], dtype=np.int32)
        inputs = {"sensor": sensor, "seed": np.repeat(pair, SHAPE[0], axis=0)}
        adu, status = self.session.run(["adu", "status"], inputs)
        if status.any():
            raise RuntimeError(f"the model has no sensor {sensor[status != 0][0]}")
        return adu


def checked_integer(name, value, lowest, highest=None):
    """``value``, if it is a whole number from ``lowest`` to ``highest``."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name}: a whole number is needed, not {value!r}")
    if value < lowest or (highest is not None and value > highest):
        raise ValueError(f"{name} {value}: allowed: {lowest}..{'' if highest is None else highest}")
    return int(value)


def hashed(*parts):
    """A whole number of int64 from the text of some values."""
    digest = hashlib.sha512(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def sensor_numbers():
    """(layer, ladder, sensor) of the 40 sensors, in the order of the images."""
    return [
        (layer, ladder, sensor)
        for layer, ladders in enumerate(LADDERS, 1)
        for ladder in range(1, ladders + 1)
        for sensor in (1, 2)
    ]


try:
    import basf2
    from ROOT.Belle2 import DataStore, DBAccessorBase, DBStoreEntry, PyStoreArray, PyStoreObj, VxdID
except ImportError:  # outside basf2 there is the generator alone
    pass
else:

    class OnnxBackgroundGenerator(basf2.Module):
        """Replace the background digits of ``BGOverlayInput`` by generated ones.

        Args:
            checkpoint: path of ``model.onnx``; None: the payload of the conditions database.
            seed: None: follows from ``basf2.get_random_seed()``.
            nintra, ninter: numbers of threads, see ``Generator``.
            payload: name of the payload.
            globaltag: that has the payload.
        """

        def __init__(self, checkpoint=None, seed=None, nintra=1, ninter=1,
                     payload="PXDBackgroundGenerator_kerasgen",
                     globaltag="PXDBackgroundGenerator"):  # fmt: skip
            super().__init__()
            self.checkpoint, self.seed, self.payload = checkpoint, seed, payload
            self.nintra, self.ninter = nintra, ninter
            if checkpoint is None:
                basf2.conditions.append_globaltag(globaltag)

        def initialize(self):
            """Load the model and register the array of background digits."""
            path = self.checkpoint
            if path is None:
                path = DBAccessorBase(DBStoreEntry.c_RawFile, self.payload, True).getFilename()
            seed = hashed(basf2.get_random_seed()) if self.seed is None else self.seed
            basf2.B2INFO(f"PXD background generator seed initialized to {seed}")
            self.generator = Generator(str(path), seed, self.nintra, self.ninter)
            self.ids = np.array([VxdID(*x).getID() for x in sensor_numbers()], np.ushort)
            background = PyStoreObj("BackgroundInfo", DataStore.c_Persistent)
            if not background.isValid():
                basf2.B2ERROR("path must contain the BGOverlayInput module")
            self.info = PyStoreObj("EventMetaData")
            self.digits = PyStoreArray("PXDDigits", DataStore.c_DontWriteOut)
            self.digits.registerInDataStore(f"PXDDigits{background.getExtensionName()}")

        def event(self):
            """Write the digits of one event."""
            numbers = self.info.getExperiment(), self.info.getRun(), self.info.getEvent()
            images = self.generator.generate(hashed(*numbers))
            sensor, row, col = images.nonzero()
            self.digits.getPtr().Clear()  # of the digits of BGOverlayInput
            self.digits.fillArray(
                sensorID=self.ids[sensor],
                uCellID=row.astype(np.ushort),
                vCellID=col.astype(np.ushort),
                charge=images[sensor, row, col].astype(np.ushort),
            )
