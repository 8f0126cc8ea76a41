"""Training batches of the PXD GAN: images of sensors."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from kerasgen.data.pipeline import ImageSampler
from kerasgen.kinds.pixels import PixelData
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.pxd_gan.shapes import CROP_STRIDE


class ImageBatches:
    """``Batches`` of images; see there.

    The batch of a step is a list of ``discriminator_steps`` batches of ``training.batch`` images
    each: ``image``, ``sensor`` and ``origin`` of ``ImageSampler.batch_at``.

    Args:
        config: of the run.
        data: open events.
    """

    def __init__(self, config: Config, data: PixelData) -> None:
        settings = config.training
        self.parts = config.loss.discriminator_steps
        self.sampler = ImageSampler(
            data.file,
            data.training,
            settings.batch * self.parts,
            settings.seed,
            (settings.crop[0], settings.crop[1]) if settings.crop else None,
            dequantise=True,
            channels=tuple(config.data.channels) or None,
            stride=CROP_STRIDE[config.architecture],
        )

    def batch_at(self, step: int) -> list[dict[str, NDArray[Any]]]:
        """See ``Batches.batch_at``."""
        batch = self.sampler.batch_at(step)
        del batch["event"]  # no network sees it
        split = {name: x.reshape(self.parts, -1, *x.shape[1:]) for name, x in batch.items()}
        return [{name: x[part] for name, x in split.items()} for part in range(self.parts)]
