"""The EMA generator of a running training, with precise statistics."""

from __future__ import annotations

from typing import Any

from kerasgen.backend.precision import resolve_precision
from kerasgen.data.geometry import Geometry
from kerasgen.layers.spectral import spectral_layers
from kerasgen.models.algorithm import Diagnostics
from kerasgen.models.pxd_gan.build import build_generator
from kerasgen.models.pxd_gan.gan import PXDGAN
from kerasgen.models.pxd_gan.generation import event_generator
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.pxd_gan.shapes import shapes_of
from kerasgen.models.pxd_gan.start import DataStatistics, copy_weights
from kerasgen.models.pxd_gan.statistics import EVALUATION_IMAGES, PreciseStatistics
from kerasgen.models.running import RunningModel


class GANEvaluator:
    """``Evaluator`` of a PXD GAN; see there.

    Args:
        gan: that trains.
        config: of the run.
        geometry: the detector.
        statistics: of the training events.
    """

    chosen_by_score = True

    def __init__(
        self, gan: PXDGAN, config: Config, geometry: Geometry, statistics: DataStatistics
    ) -> None:
        self.gan = gan
        self.config = config
        shapes = shapes_of(config, geometry)
        self.network = build_generator(
            config.architecture, config.generator, geometry, shapes.channels,
            resolve_precision(config.training.precision), "evaluated", gan.ema,
        )  # fmt: skip
        self.statistics = PreciseStatistics(
            self.network, statistics.occupancy, gan.charge_threshold, config.training.seed,
            shapes.sensor,
        )  # fmt: skip
        generator = event_generator(self.network, config, geometry)
        self.model = RunningModel(config.recipe, geometry, generator)

    def update(self) -> None:
        """Copy the EMA weights; measure batch-norm statistics and firing thresholds.

        Before the first step of a training from released weights the generator gets the thresholds
        too: the training starts at the occupancy of the data.
        """
        gan = self.gan
        copy_weights(gan.ema, self.network)
        self.statistics.set(EVALUATION_IMAGES)
        if int(gan.step) == 0:
            gan.generator.firing_threshold.assign(self.network.firing_threshold)

    def diagnostics(self, held_out: Any, generated: Any) -> Diagnostics:
        """The largest singular value of every layer with spectral norm."""
        networks = (self.gan.generator, self.gan.discriminator)
        return Diagnostics(
            scalars={
                f"singular_value/{layer.path}": float(layer.sigma())
                for network in networks
                for layer in spectral_layers(network)
            }
        )
