"""Training batches of the PXD GAN: images of sensors, and displaced clusters for pre-training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kerasgen.data.pipeline import ImageSampler, training_dataset
from kerasgen.kinds.pixels import PixelData
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.pxd_gan.track_segments import displaced_clusters


class ImageBatches:
    """``Batches`` of images; see there.

    A batch holds ``discriminator_steps`` discriminator batches.

    Args:
        config: of the run.
        data: open events.
    """

    def __init__(self, config: Config, data: PixelData) -> None:
        settings = config.training
        self.parts = config.loss.discriminator_steps
        self.rows = settings.batch * self.parts
        self.pretraining = settings.pretraining_steps > 0
        self.sampler = ImageSampler(
            data.file,
            data.training,
            self.rows,
            settings.seed,
            (settings.crop[0], settings.crop[1]) if settings.crop else None,
            dequantise=True,
            channels=tuple(config.data.channels) or None,
        )

    def dataset(self, start: int, steps: int, rows: Sequence[Any] = ()) -> tf.data.Dataset:
        """See ``Batches.dataset``."""
        displace = displaced_images(self.sampler) if self.pretraining else None
        return training_dataset(self.sampler, start, steps, rows, displace)


def displaced_images(sampler: ImageSampler) -> Callable[..., dict[str, NDArray[np.float32]]]:
    """``displaced_clusters`` as a function of the images of a sampler."""
    return partial(displaced_clusters, max_charge=sampler.file.geometry.max_charge)
