"""Event files of TensorBoard: scalars, histograms and figures of a training by step.

TensorFlow's own writer drops what a full disk does not take, without a word, and cannot say that a
training goes on from an earlier step. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import io
import os
import platform
import time
from pathlib import Path
from typing import Any, Self

from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from kerasgen.atomic import make_folder, refused_writes
from kerasgen.evaluation.figure_style import figure_to_png_array


class EventLog:
    """A new event file in a folder; TensorBoard joins all files of a folder.

    Args:
        folder: is made if missing.

    Raises:
        OSError: the file cannot be written; names it. So do all methods.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        # TensorBoard reads files in the order of their names.
        name = f"events.out.tfevents.{time.time():.6f}.{platform.node()}.{os.getpid()}"
        self._path = folder / name
        with refused_writes(self._path):
            self._file = RecordWriter(self._path.open("wb"))
        self._add(Event(file_version="brain.Event:2"))

    def drop_from(self, step: int) -> None:
        """Have TensorBoard drop what was written so far of ``step`` and of later ones."""
        for _ in range(2):  # the first of a folder drops nothing
            self._add(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def scalar(self, name: str, value: Any, step: int) -> None:
        """Log a number."""
        self.summary(scalar_pb(name, float(value)), step)

    def histogram(self, name: str, values: ArrayLike, step: int) -> None:
        """Log the distribution of values."""
        self.summary(histogram_pb(name, values), step)

    def figure(self, name: str, figure: Figure, step: int) -> None:
        """Log a figure."""
        image = Image.fromarray(figure_to_png_array(figure))
        width, height = image.size
        png = io.BytesIO()
        image.save(png, "png")
        value = Summary.Value(
            tag=name,
            tensor=make_tensor_proto([str(width).encode(), str(height).encode(), png.getvalue()]),
            metadata=create_summary_metadata(display_name=None, description=None),
        )
        self.summary(Summary(value=[value]), step)

    def summary(self, summary: Summary, step: int) -> None:
        """Log what a plugin of TensorBoard has made."""
        self._add(Event(step=step, summary=summary))

    def flush(self) -> None:
        """Write what was logged, so that a killed process does not lose it."""
        with refused_writes(self._path):
            self._file.flush()

    def close(self) -> None:
        """Write what was logged, and close the file."""
        with refused_writes(self._path):
            self._file.close()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        with refused_writes(self._path):
            self._file.write(event.SerializeToString())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
