"""Training batches of point sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.point_source import WINDOW, read_rows
from kerasgen.data.points import PointSets
from kerasgen.data.set_sampler import SetSampler
from kerasgen.kinds.points import PointData
from kerasgen.models.set_normaliser import Normaliser, network_points

Arrays = dict[str, NDArray[Any]]


class SetBatches:
    """``Batches`` of point sets; see there.

    Args:
        data: open sets.
        normaliser: of the networks.
        batch: sets of a batch.
        seed: of the run.
        prepare: from the arrays of ``batch_arrays`` to those of a batch, row by row; done once for
            all sets that are kept in memory.
    """

    def __init__(
        self,
        data: PointData,
        normaliser: Normaliser,
        batch: int,
        seed: int,
        prepare: Callable[[Arrays], Arrays] = lambda arrays: arrays,
    ) -> None:
        training = data.division.training
        if len(training) > WINDOW:
            training = np.sort(training)  # blocks of sets are neighbours in the file

        def load(sets: NDArray[np.int64]) -> Arrays:
            read = read_rows(data.file, training[sets], normaliser.size)
            return prepare(batch_arrays(read, normaliser.coordinates))

        self.sampler = SetSampler(load, len(training), batch, seed)

    def batch_at(self, step: int) -> Arrays:
        """See ``Batches.batch_at``."""
        return self.sampler.batch_at(step)


def batch_arrays(sets: PointSets, coordinates: str) -> Arrays:
    """Arrays of a batch, one row for each set.

    Args:
        sets: to convert.
        coordinates: of the normaliser.
    """
    pt = sets.features[:, 0] if coordinates != "image" else np.ones(len(sets), np.float32)
    points = network_points(sets, coordinates)
    return {"points": points, "mask": sets.mask, "label": sets.label.astype(np.int32), "pt": pt}
