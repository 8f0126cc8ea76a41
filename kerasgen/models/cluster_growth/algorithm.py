"""Cluster growth as an ``Algorithm``: see ``kerasgen.models.algorithm`` for the contract.

Clusters begin at random pixels and grow token by token from a learned autoregressive distribution.
TensorFlow is imported where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.errors import InputError
from kerasgen.kinds.pixels import PIXELS, PixelData
from kerasgen.models.algorithm import Batches, Served
from kerasgen.models.cluster_growth.settings import (
    ADVERSARIAL,
    DISCRIMINATOR,
    LIKELIHOOD,
    Config,
    check,
)
from kerasgen.run_folder import WEIGHTS

if TYPE_CHECKING:
    import keras

    from kerasgen.models.cluster_growth.evaluator import GrowthEvaluator
    from kerasgen.models.cluster_growth.model import ClusterGrowth
    from kerasgen.models.cluster_growth.statistics import SensorStatistics

CALIBRATION = "calibration.npz"
STATISTICS_EVENTS = 256  # training events for statistics
CALIBRATION_EVENTS = 1024  # training events for linked pairs and calibration
BLOCK = 8  # of them in memory


class ClusterGrowthAlgorithm:
    """See ``Algorithm``."""

    name = "cluster_growth"
    kind = PIXELS
    config = Config
    generation_threads = 0
    step_keys = ("training.steps", "adversarial.steps", "adversarial.alone")
    smallest = MappingProxyType({
        "network.width": 8, "network.layers": 1, "network.recent": 8, "training.steps": 6,
        "training.batch": 64, "training.warm_up": 2, "training.rate": 1e-2,
        "adversarial.steps": 4, "adversarial.alone": 2, "adversarial.clusters": 16,
        "adversarial.smallest": 3, "adversarial.largest": 8, "adversarial.width": 8,
        "calibration.events": 2,
    })  # fmt: skip

    def papers(self, config: Config) -> tuple[str, ...]:
        from kerasgen.losses.adversarial import PAPERS

        stage = config.adversarial
        if not stage.steps:
            return ("moller1998",)
        found = {  # paper: whether it is used
            "moller1998": True,
            "yu2016": True,
            "miyato2018projection": True,
            PAPERS[stage.loss]: True,
            "kang2020": stage.contrastive > 0,
            "zhang2019": stage.consistency > 0,
            "miyato2018": stage.spectral_norm,
            "zhang2018": stage.self_attention,
        }
        return tuple(paper for paper, used in found.items() if used)

    def check(self, config: Config) -> None:
        check(config)

    def check_schema(self, config: Config, schema: Geometry) -> None:
        """Nothing: a cluster grows on any sensor."""

    def check_events(self, config: Config, data: PixelData) -> None:
        if not any(len(hits.adu) for hits in blocks(data)):
            raise InputError(f"{data.path}: the training events have no hits")
        stage = config.adversarial
        if stage.steps:
            from kerasgen.models.cluster_growth.batches import suitable
            from kerasgen.models.cluster_growth.growth import grown_clusters

            types = config.data.channels
            clusters = (grown_clusters(x.split_types(types), data.schema) for x in blocks(data))
            if not any(len(suitable(x, stage)[0]) for x in clusters):
                raise InputError(
                    f"{data.path}: the first training events have no clusters of "
                    f"{stage.smallest} to {stage.largest} pixels for the adversarial stage: change "
                    "adversarial.smallest and largest, or set adversarial.steps = 0"
                )

    def fit(self, config: Config, data: PixelData) -> SensorStatistics:
        from kerasgen.models.cluster_growth.statistics import sensor_statistics

        return sensor_statistics(blocks(data), data.schema, tuple(config.data.channels))

    def write_fitted(self, folder: Path, fitted: SensorStatistics) -> None:
        """Nothing: the statistics that generation needs are among the weights."""

    def build(self, config: Config, schema: Geometry, fitted: SensorStatistics) -> ClusterGrowth:
        from kerasgen.models.cluster_growth.start import build_growth

        return build_growth(config, schema, fitted)

    def stages(self, config: Config) -> tuple[tuple[str, int], ...]:
        begin, stage = config.training.steps, config.adversarial
        first = (LIKELIHOOD, begin)
        if not stage.steps:
            return (first,)
        return first, (DISCRIMINATOR, begin + stage.alone), (ADVERSARIAL, begin + stage.steps)

    def begin_stage(self, model: ClusterGrowth, stage: str, batches: Batches, fresh: bool) -> None:
        from kerasgen.models.cluster_growth.start import copy_weights

        model.stage = stage
        if fresh and stage != LIKELIHOOD:
            copy_weights(model.ema, model.generator)

    def batches(self, config: Config, data: PixelData, fitted: SensorStatistics) -> Batches:
        from kerasgen.models.cluster_growth.batches import GrowthBatches

        return GrowthBatches(config, data, fitted)

    def evaluator(
        self, model: ClusterGrowth, config: Config, schema: Geometry, fitted: SensorStatistics
    ) -> GrowthEvaluator:
        from kerasgen.models.cluster_growth.evaluator import GrowthEvaluator

        return GrowthEvaluator(model, config, schema)

    def finish(self, config: Config, folder: Path, data: PixelData, checkpoint: Path) -> None:
        from kerasgen.models.cluster_growth.calibration import fit_calibration, write_calibration
        from kerasgen.models.cluster_growth.link_fit import fit_links
        from kerasgen.models.cluster_growth.portable_sampling import StatisticsInNumpy
        from kerasgen.run_folder import write_bytes

        write_bytes(folder / WEIGHTS, checkpoint.read_bytes())
        if config.calibration.events:
            generator = self.load(folder, config, data.schema, calibrated=False)
            statistics = StatisticsInNumpy(generator.network)
            events = blocks(data, CALIBRATION_EVENTS), blocks(data, CALIBRATION_EVENTS)
            generator.links = fit_links(events[0], statistics, data.schema)
            calibration = fit_calibration(
                generator, events[1], data.schema, config.calibration.events, config.training.seed
            )
            write_calibration(folder / CALIBRATION, calibration)

    def load(self, folder: Path, config: Config, schema: Geometry, calibrated: bool) -> Any:
        from kerasgen.backend.checkpoint import load_weights
        from kerasgen.models.cluster_growth.calibration import read_calibration
        from kerasgen.models.cluster_growth.generation import event_generator
        from kerasgen.models.cluster_growth.start import build_network

        network = build_network(config, schema, "generator")
        load_weights(network, folder / WEIGHTS)
        if calibrated and config.calibration.events:
            return event_generator(network, schema, *read_calibration(folder / CALIBRATION, schema))
        return event_generator(network, schema)

    def files(self, config: Config, calibrated: bool = True) -> tuple[str, ...]:
        return (CALIBRATION,) if calibrated and config.calibration.events else ()

    def variants(self, config: Config) -> tuple[str, ...]:
        return ("uncalibrated", "calibrated") if config.calibration.events else ("uncalibrated",)

    def ideal_sampler(self, generator: Any) -> Callable[[Hits], Hits]:
        from dataclasses import replace

        from kerasgen.models.cluster_growth.calibration import ideal_charges

        return lambda hits: replace(hits, adu=ideal_charges(generator, hits, seed=0))

    def served(self, generator: Any) -> Served:
        from kerasgen.models.hit_signatures import served_hits

        return served_hits(generator, generator.network)

    def networks(self, config: Config, schema: Geometry, generator: Any) -> dict[str, keras.Model]:
        from kerasgen.models.cluster_growth.start import build_discriminator

        discriminator = build_discriminator(config.adversarial, schema)
        found = {"generator": generator.network, "discriminator": discriminator}
        return {name: network for name, network in found.items() if network is not None}

    def examples(self, config: Config) -> tuple[int, str]:
        return config.training.steps * config.training.batch, "growth steps"

    def network_keys(self, config: Config) -> list[str]:
        from dataclasses import fields

        return [f"network.{f.name}" for f in fields(config.network)]

    def check_warm_start(self, config: Config, data: PixelData, folder: Path) -> None:
        """Nothing beyond equal networks and geometry."""

    def warm_start(self, model: ClusterGrowth, weights: Path, fitted: SensorStatistics) -> None:
        from kerasgen.models.cluster_growth.start import warm_start

        warm_start(model, weights, fitted)


def blocks(data: PixelData, events: int = STATISTICS_EVENTS) -> Iterator[Hits]:
    """The first training events, some at a time."""
    stop = min(data.training.stop, data.training.start + events)
    for start in range(data.training.start, stop, BLOCK):
        yield data.file.read_events(start, min(start + BLOCK, stop))


ALGORITHM = ClusterGrowthAlgorithm()
