"""End of a training: precise statistics and calibration of the selected generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.atomic import write_atomic
from kerasgen.backend.checkpoint import load_weights, save_weights
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.models.pxd_gan.build import build_generator
from kerasgen.models.pxd_gan.calibration import fit_calibration
from kerasgen.models.pxd_gan.output import charge_threshold
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.pxd_gan.shapes import shapes_of
from kerasgen.models.pxd_gan.start import sensor_occupancy
from kerasgen.models.pxd_gan.statistics import FINAL_IMAGES, PreciseStatistics


def write_precise_weights(
    config: Config, events: Hits, geometry: Geometry, checkpoint: Path, out: Path
) -> None:
    """Write the selected generator with precise statistics and thresholds, in float32.

    Args:
        config: of the run.
        events: training events.
        geometry: the detector.
        checkpoint: weights of the selected generator.
        out: file of the final weights.
    """
    shapes = shapes_of(config, geometry)
    generator = build_generator(
        config.architecture, config.generator, geometry, shapes.channels, "float32", "generator"
    )
    load_weights(generator, checkpoint)
    sensors = len(geometry.sensors)
    occupancy = sensor_occupancy(events, sensors, shapes.image, shapes.channels)
    threshold = charge_threshold(geometry.threshold, geometry.max_charge)
    seed = config.training.seed
    PreciseStatistics(generator, occupancy, threshold, seed, shapes.sensor).set(FINAL_IMAGES)
    save_weights(generator, out)


def write_calibration(
    config: Config, generator: Any, events: Hits, geometry: Geometry, out: Path
) -> None:
    """Fit firing threshold and quantile map of each sensor on training events, and write them.

    Args:
        config: of the run.
        generator: not calibrated.
        events: training events.
        geometry: the detector.
        out: file of the calibration, arrays ``threshold`` and ``quantile_map``.
    """
    threshold, quantile_map = fit_calibration(
        generator, events, geometry, config.calibration.events, config.training.seed
    )
    write_atomic(
        out, lambda partial: np.savez(partial, threshold=threshold, quantile_map=quantile_map)
    )
