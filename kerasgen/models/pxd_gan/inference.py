"""The generator of a finished run: weights and calibration from their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kerasgen.backend.checkpoint import load_weights
from kerasgen.data.geometry import Geometry
from kerasgen.errors import InputError
from kerasgen.layers.spectral import SpectralLayer
from kerasgen.models.calibration_file import read_arrays
from kerasgen.models.pxd_gan.build import build_generator
from kerasgen.models.pxd_gan.output import QUANTILE_MAP_SIZE
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.pxd_gan.shapes import shapes_of


def load_generator(path: Path, config: Config, geometry: Geometry) -> keras.Model:
    """The generator of a weights file in float32, with spectral norm folded into its kernels.

    Args:
        path: of the weights.
        config: of the run.
        geometry: the detector.

    Raises:
        InputError: the file is damaged, or of another network.
    """
    plain = replace(config.generator, spectral_norm=False)
    channels = shapes_of(config, geometry).channels
    stored, folded = (
        build_generator(config.architecture, settings, geometry, channels, "float32", "generator")
        for settings in (config.generator, plain)
    )
    load_weights(stored, path)
    fold_spectral_norm(stored, folded)
    return folded


def fold_spectral_norm(source: keras.Model, target: keras.Model) -> None:
    """Copy weights into the same network without spectral norm, whose kernels are W / sigma."""

    def kernels(model: keras.Model) -> list[SpectralLayer]:
        return [x for x in model._flatten_layers() if isinstance(x, SpectralLayer)]

    weights = [w for w in source.weights if w.name != "u"]
    for ours, theirs in zip(target.weights, weights, strict=True):
        ours.assign(theirs)
    for ours, theirs in zip(kernels(target), kernels(source), strict=True):
        if theirs.spectral_norm:
            ours.kernel.assign(theirs.kernel / theirs.sigma())


def read_calibration(path: Path, geometry: Geometry) -> tuple[NDArray[Any], NDArray[Any]]:
    """Firing threshold [sensors] and quantile map [sensors, QUANTILE_MAP_SIZE] of a file.

    Args:
        path: of ``calibration.npz``.
        geometry: that the calibration must fit.

    Raises:
        InputError: missing, damaged, or of another geometry.
    """
    threshold, quantile_map = read_arrays(path, "threshold", "quantile_map").values()
    sensors = len(geometry.sensors)
    shapes = (sensors,), (sensors, QUANTILE_MAP_SIZE)
    if (threshold.shape, quantile_map.shape) != shapes or np.isnan(threshold).any():
        raise InputError(
            f"{path}: threshold {list(threshold.shape)} and quantile_map "
            f"{list(quantile_map.shape)}, expected [{sensors}] without NaN and "
            f"[{sensors}, {QUANTILE_MAP_SIZE}]"
        )
    low, high = int(quantile_map.min()), int(quantile_map.max())
    if low < geometry.threshold or high > geometry.max_charge:
        raise InputError(
            f"{path}: charges {low}..{high} ADU, allowed: {geometry.threshold}.."
            f"{geometry.max_charge} of geometry {geometry.name}"
        )
    return threshold, quantile_map
