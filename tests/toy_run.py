"""A finished run folder of a tiny network that was never trained."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from kerasgen.config import to_toml
from kerasgen.data.geometry import Geometry, geometry_from_json
from kerasgen.data.pixel_source import PixelDataSettings
from kerasgen.models.pxd_gan.output import QUANTILE_MAP_SIZE
from kerasgen.models.pxd_gan.settings import Config, DiscriminatorSettings, GeneratorSettings

GEOMETRY = """{"name": "toy", "rows": 20, "cols": 48, "threshold": 7, "max_charge": 255,
"sensors": [
{"name": "1.1.1", "id": 8480, "layer": 1, "ladder": 1},
{"name": "1.1.2", "id": 8512, "layer": 1, "ladder": 1},
{"name": "1.10.1", "id": 9000, "layer": 1, "ladder": 10}]}"""
SETTINGS = GeneratorSettings(
    channels=8, blocks=1, latent_size=4, embedding_size=4, noise_channels=6, attention=[]
)


def toy_geometry(max_charge: int = 255) -> Geometry:
    """Three sensors whose names sort differently as strings."""
    return replace(geometry_from_json(GEOMETRY), max_charge=max_charge)


def write_toy_run(
    folder: Path,
    channels: tuple[int, ...] = (),
    max_charge: int = 255,
    output: str = "gated",
    calibrated: bool = True,
) -> Path:
    """Write the run folder; about a sixth of the pixels fire with calibration, half without."""
    import keras

    from kerasgen.models.pxd_gan.build import build_generator

    geometry = toy_geometry(max_charge)
    settings = replace(SETTINGS, output=output)
    config = Config(
        "toy",
        data=PixelDataSettings(channels=list(channels)),
        generator=settings,
        discriminator=DiscriminatorSettings(channels=8),
    )
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(config))
    (folder / "schema.json").write_text(geometry.to_json())
    keras.utils.set_random_seed(5)
    n = max(len(channels), 1)
    network = build_generator("sub_pixel", settings, geometry, n, "float32", "generator")
    rng = np.random.default_rng(5)
    for weight in network.weights:  # nothing keeps its neutral start
        if weight.name != "firing_threshold":
            weight.assign(weight.value + 0.05 * rng.random(weight.shape, np.float32))
    with warnings.catch_warnings():
        # Keras copies variables into numpy 2 in the old way.
        warnings.simplefilter("ignore", DeprecationWarning)
        network.save_weights(folder / "model.weights.h5")
    if calibrated:
        write_calibration(folder, network, geometry)
    return folder


def write_calibration(folder: Path, network: object, geometry: Geometry) -> None:
    """Firing thresholds that a tenth of the pixels of ten events exceed, in the channel with the
    fewest, and quantile maps that rise linearly."""
    from kerasgen.models.pxd_gan.sampling import EventGenerator

    events = EventGenerator(
        network, geometry.rows, geometry.cols, geometry.threshold, geometry.max_charge
    )
    sensors = len(geometry.sensors)
    threshold = []
    for sensor in range(sensors):
        found = [
            events.pixels_above(np.int32(sensor), np.array([0, k]), -np.inf)[:2] for k in range(10)
        ]
        position, logit = (np.concatenate(x) for x in zip(*found, strict=True))
        channels = [logit[position[:, 2] == k] for k in range(position[:, 2].max() + 1)]
        threshold.append(min(np.quantile(x, 0.9) for x in channels))
    rise = np.linspace(geometry.threshold, geometry.max_charge, QUANTILE_MAP_SIZE)
    quantile_map = np.tile(np.round(rise), (sensors, 1)).astype(np.uint16)
    np.savez(folder / "calibration.npz", threshold=np.float32(threshold), quantile_map=quantile_map)
