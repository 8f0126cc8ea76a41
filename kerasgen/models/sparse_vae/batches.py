"""Training batches of the sparse VAE."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.point_source import WINDOW, read_rows
from kerasgen.data.points import PointSets
from kerasgen.data.set_sampler import SetSampler
from kerasgen.kinds.points import PointData
from kerasgen.models.sparse_vae.normaliser import Normaliser, network_points
from kerasgen.models.sparse_vae.settings import VAEConfig


class SetBatches:
    """``Batches`` of point sets; see there.

    Args:
        config: of the run.
        data: open sets.
        normaliser: of the networks.
    """

    def __init__(self, config: VAEConfig, data: PointData, normaliser: Normaliser) -> None:
        training = data.division.training
        if len(training) > WINDOW:
            training = np.sort(training)  # blocks of sets are neighbours in the file

        def load(sets: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            read = read_rows(data.file, training[sets], normaliser.size)
            return batch_arrays(read, normaliser.coordinates)

        self.sampler = SetSampler(load, len(training), config.training.batch, config.training.seed)

    def batch_at(self, step: int) -> dict[str, NDArray[Any]]:
        """See ``Batches.batch_at``."""
        return self.sampler.batch_at(step)


def batch_arrays(sets: PointSets, coordinates: str) -> dict[str, NDArray[Any]]:
    """A batch of ``SparseVAE``, one row for each set.

    Args:
        sets: to convert.
        coordinates: of the normaliser.
    """
    pt = sets.features[:, 0] if coordinates != "image" else np.ones(len(sets), np.float32)
    points = network_points(sets, coordinates)
    return {"points": points, "mask": sets.mask, "label": sets.label.astype(np.int32), "pt": pt}
