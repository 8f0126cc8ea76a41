"""The PXD GAN as an ``Algorithm``: see ``kerasgen.models.algorithm`` for the contract.

Sensor-conditional BigGAN-deep of H. Hashemi et al. (arXiv:2303.08046), at the published size and in
a smaller form that trains on crops. TensorFlow is imported where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.errors import InputError
from kerasgen.kinds.pixels import PIXELS, PixelData
from kerasgen.models.algorithm import Batches, Served
from kerasgen.models.pxd_gan.settings import ADVERSARIAL, Config, check
from kerasgen.models.pxd_gan.shapes import check_shapes, shapes_of
from kerasgen.run_folder import WEIGHTS

if TYPE_CHECKING:
    import keras

    from kerasgen.models.pxd_gan.evaluator import GANEvaluator
    from kerasgen.models.pxd_gan.gan import PXDGAN
    from kerasgen.models.pxd_gan.sampling import EventGenerator
    from kerasgen.models.pxd_gan.start import DataStatistics

CALIBRATION = "calibration.npz"
STATISTICS_EVENTS = 256  # training events for statistics and calibration


class PXDGANAlgorithm:
    """See ``Algorithm``."""

    name = "pxd_gan"
    kind = PIXELS
    config = Config
    generation_threads = 0
    step_keys = ("training.steps",)
    smallest = MappingProxyType({
        "generator.channels": 8, "generator.blocks": 1, "generator.attention": [4, 4],
        "generator.noise_channels": 6, "generator.latent_size": 2, "generator.noise_gain": 0.5,
        "generator.embedding_size": 4, "discriminator.channels": 8, "discriminator.blocks": 1,
        "discriminator.attention": [2, 4], "discriminator.embedding_size": 4,
        "training.crop": [16, 32], "training.batch": 4, "training.steps": 6,
        "training.warm_up": 2, "training.precision": "float32", "loss.discriminator_steps": 1,
        "calibration.events": 2,
    })  # fmt: skip

    def papers(self, config: Config) -> tuple[str, ...]:
        from kerasgen.losses.adversarial import PAPERS

        loss, networks = config.loss, (config.generator, config.discriminator)
        found = {  # paper: whether it is used
            "hashemi2023": True,
            "brock2018": True,
            PAPERS[loss.adversarial]: True,
            "kang2020": loss.contrastive > 0 and loss.contrastive_variant == "2c",
            "zhang2019": loss.consistency > 0,
            "zhao2020": loss.consistency > 0 and loss.consistency_variant == "balanced",
            "miyato2018": any(network.spectral_norm for network in networks),
            "zhang2018": any(network.attention for network in networks),
        }
        return tuple(paper for paper, used in found.items() if used)

    def check(self, config: Config) -> None:
        check(config)

    def check_schema(self, config: Config, schema: Geometry) -> None:
        from kerasgen.models.pxd_gan.build import build_discriminator, build_generator

        shapes = shapes_of(config, schema)
        check_shapes(config, shapes)
        name, channels = config.architecture, shapes.channels
        build_generator(name, config.generator, schema, channels, "float32", "generator")
        build_discriminator(name, config.discriminator, schema, channels, shapes.crop, "float32")

    def check_events(self, config: Config, data: PixelData) -> None:
        # The first event has hits, as a rule, and spares the others.
        if not any(len(data.training_events(n).adu) for n in (1, STATISTICS_EVENTS)):
            types = f" of the types data.channels = {config.data.channels}"
            raise InputError(
                f"{data.path}: the training events have no hits"
                f"{types if config.data.channels else ''}"
            )

    def fit(self, config: Config, data: PixelData) -> DataStatistics:
        from kerasgen.models.pxd_gan.start import data_statistics

        events = data.training_events(STATISTICS_EVENTS)
        return data_statistics(config, events, data.schema)

    def write_fitted(self, folder: Path, fitted: DataStatistics) -> None:
        """Nothing: the statistics that generation needs are among the weights."""

    def build(self, config: Config, schema: Geometry, fitted: DataStatistics) -> PXDGAN:
        from kerasgen.models.pxd_gan.start import build_gan

        return build_gan(config, schema, fitted)

    def stages(self, config: Config) -> tuple[tuple[str, int], ...]:
        return ((ADVERSARIAL, config.training.steps),)

    def begin_stage(self, model: PXDGAN, stage: str, batches: Batches, fresh: bool) -> None:
        model.stage = stage

    def batches(self, config: Config, data: PixelData, fitted: DataStatistics) -> Batches:
        from kerasgen.models.pxd_gan.batches import ImageBatches

        return ImageBatches(config, data)

    def evaluator(
        self, model: PXDGAN, config: Config, schema: Geometry, fitted: DataStatistics
    ) -> GANEvaluator:
        from kerasgen.models.pxd_gan.evaluator import GANEvaluator

        return GANEvaluator(model, config, schema, fitted)

    def finish(self, config: Config, folder: Path, data: PixelData, checkpoint: Path) -> None:
        from kerasgen.models.pxd_gan.finish import write_calibration, write_precise_weights

        events = data.training_events(STATISTICS_EVENTS)
        write_precise_weights(config, events, data.schema, checkpoint, folder / WEIGHTS)
        if config.calibration.events:
            generator = self.load(folder, config, data.schema, calibrated=False)
            write_calibration(config, generator, events, data.schema, folder / CALIBRATION)

    def load(
        self, folder: Path, config: Config, schema: Geometry, calibrated: bool
    ) -> EventGenerator:
        from kerasgen.models.pxd_gan.generation import event_generator
        from kerasgen.models.pxd_gan.inference import load_generator, read_calibration

        network = load_generator(folder / WEIGHTS, config, schema)
        threshold = quantile_map = None
        if calibrated and config.calibration.events:
            threshold, quantile_map = read_calibration(folder / CALIBRATION, schema)
        return event_generator(network, config, schema, threshold, quantile_map)

    def files(self, config: Config, calibrated: bool = True) -> tuple[str, ...]:
        return (CALIBRATION,) if calibrated and config.calibration.events else ()

    def variants(self, config: Config) -> tuple[str, ...]:
        return ("uncalibrated", "calibrated") if config.calibration.events else ("uncalibrated",)

    def ideal_sampler(self, generator: EventGenerator) -> Callable[[Hits], Hits]:
        from kerasgen.models.pxd_gan.ideal import ideal_sampler

        return ideal_sampler(generator)

    def served(self, generator: EventGenerator) -> Served:
        from kerasgen.models.hit_signatures import served_hits

        return served_hits(generator, generator.generator)

    def networks(
        self, config: Config, schema: Geometry, generator: EventGenerator
    ) -> dict[str, keras.Model]:
        from kerasgen.models.pxd_gan.build import build_discriminator

        shapes = shapes_of(config, schema)
        discriminator = build_discriminator(
            config.architecture, config.discriminator, schema, shapes.channels, shapes.crop,
            "float32",
        )  # fmt: skip
        return {"generator": generator.generator, "discriminator": discriminator}

    def examples(self, config: Config) -> tuple[int, str]:
        settings = config.training
        seen = settings.steps * settings.batch * config.loss.discriminator_steps
        return seen, "crops" if settings.crop else "images"

    def network_keys(self, config: Config) -> list[str]:
        from dataclasses import fields

        names = [f.name for f in fields(config.generator) if f.name != "initializer"]
        return ["architecture", *(f"generator.{name}" for name in names), "data.channels"]

    def check_warm_start(self, config: Config, data: PixelData, folder: Path) -> None:
        """Nothing beyond equal networks and geometry."""

    def warm_start(self, model: PXDGAN, weights: Path, fitted: DataStatistics) -> None:
        from kerasgen.models.pxd_gan.start import warm_start

        warm_start(model, weights)


ALGORITHM = PXDGANAlgorithm()
