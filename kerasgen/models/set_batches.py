"""Training batches of point sets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.point_source import WINDOW, read_rows
from kerasgen.data.points import PointSets
from kerasgen.data.set_sampler import SetSampler
from kerasgen.kinds.points import PointData
from kerasgen.models.set_normaliser import Normaliser, network_points


class SetBatches:
    """``Batches`` of point sets; see there.

    Args:
        data: open sets.
        normaliser: of the networks.
        batch: sets of a batch.
        seed: of the run.
    """

    def __init__(self, data: PointData, normaliser: Normaliser, batch: int, seed: int) -> None:
        training = data.division.training
        if len(training) > WINDOW:
            training = np.sort(training)  # blocks of sets are neighbours in the file

        def load(sets: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            read = read_rows(data.file, training[sets], normaliser.size)
            return batch_arrays(read, normaliser.coordinates)

        self.sampler = SetSampler(load, len(training), batch, seed)

    def batch_at(self, step: int) -> dict[str, NDArray[Any]]:
        """See ``Batches.batch_at``."""
        return self.sampler.batch_at(step)


def batch_arrays(sets: PointSets, coordinates: str) -> dict[str, NDArray[Any]]:
    """Arrays of a batch, one row for each set.

    Args:
        sets: to convert.
        coordinates: of the normaliser.
    """
    pt = sets.features[:, 0] if coordinates != "image" else np.ones(len(sets), np.float32)
    points = network_points(sets, coordinates)
    return {"points": points, "mask": sets.mask, "label": sets.label.astype(np.int32), "pt": pt}
