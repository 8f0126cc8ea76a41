"""Every recipe of the zoo: its own network, untrained and in float32, as a SavedModel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from point_sets import toy_jets, toy_superpixels
from toy_run import toy_geometry

from kerasgen.data import jets, superpixels
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import from_dense
from kerasgen.data.points import PointSets
from kerasgen.kinds.points import POINTS
from kerasgen.models.algorithm import algorithm_of
from kerasgen.models.cluster_growth.generation import event_generator as growth_generator
from kerasgen.models.cluster_growth.start import build_growth
from kerasgen.models.cluster_growth.statistics import sensor_statistics
from kerasgen.models.flow_matching.generation import set_generator
from kerasgen.models.flow_matching.start import build_networks
from kerasgen.models.pxd_gan.build import build_generator
from kerasgen.models.pxd_gan.generation import event_generator
from kerasgen.models.set_batches import batch_arrays
from kerasgen.models.set_normaliser import fit_normaliser
from kerasgen.models.set_statistics import Fitted, condition_table, write_fitted
from kerasgen.models.sparse_vae.sampling import PointGenerator
from kerasgen.models.sparse_vae.vae import SparseVAE
from kerasgen.models.trained import Trained
from kerasgen.run_folder import WEIGHTS
from kerasgen.serving.saved_model import export_model, load_exported
from kerasgen.zoo.catalogue import recipes
from kerasgen.zoo.recipes import load_config

POINT_RECIPES = [
    name for name in recipes() if algorithm_of(load_config(name).algorithm).kind is POINTS
]
ROWS = {"sensor": np.array([0, 1, 2], np.int32), "seed": np.array([[3, 4]] * 3)}


def untrained_gan(config: Any, geometry: Geometry) -> Any:
    # Attention is at one resolution of the full sensor, which a small one does not have.
    settings = replace(config.generator, spectral_norm=False, attention=[])
    network = build_generator(config.architecture, settings, geometry, 1, "float32", "generator")
    return event_generator(network, config, geometry)


def untrained_growth(config: Any, geometry: Geometry) -> Any:
    sensors = len(geometry.sensors)
    image = np.zeros((geometry.rows, geometry.cols), np.int64)
    image[::9, ::9] = geometry.threshold
    hits = from_dense(np.stack([image] * sensors), np.arange(sensors), np.zeros(sensors, int))
    types = tuple(config.data.channels)
    hits = replace(hits, type=np.full_like(hits.type, types[0] if types else 0))
    statistics = sensor_statistics([hits], geometry, types)
    return growth_generator(build_growth(config, geometry, statistics).generator, geometry)


def untrained_vae(config: Any, sets: PointSets, coordinates: str) -> tuple[Fitted, Any]:
    network = config.network
    normaliser = fit_normaliser(
        sets, coordinates, config.data.log_intensity, network.pt, network.total
    )
    vae = SparseVAE(normaliser, config.network, config.prior, config.loss)
    vae.test_step(batch_arrays(sets, coordinates))
    fitted = Fitted(normaliser, condition_table(sets))
    return fitted, PointGenerator(vae, fitted.conditions)


def untrained_flow(config: Any, sets: PointSets, coordinates: str) -> tuple[Fitted, Any]:
    normaliser = fit_normaliser(
        sets, coordinates, config.data.log_intensity, config.network.pt, quantiles=True
    )
    fitted = Fitted(normaliser, condition_table(sets))
    fields = build_networks(config, normaliser, "fields")
    return fitted, set_generator(fields, fitted, config.flow)


@pytest.mark.parametrize("name", sorted(set(recipes()) - set(POINT_RECIPES)))
def test_pixel_recipes(name: str, tmp_path: Path) -> None:
    """On a small sensor; loading the model inspects its operations."""
    config: Any = load_config(name)
    geometry = replace(toy_geometry(), rows=62, cols=64)
    make = untrained_growth if config.algorithm == "cluster_growth" else untrained_gan
    events = make(config, geometry)
    (tmp_path / WEIGHTS).touch()
    for file in algorithm_of(config.algorithm).files(config):
        (tmp_path / file).touch()
    trained = Trained(name, tmp_path, config, geometry, events, False)
    exported = load_exported(export_model(trained, tmp_path / "exported", name))
    assert (exported.schema, exported.calibrated) == (geometry, False)
    for method, signature in (("dense", "serving_default"), ("digits", "digits")):
        ours = getattr(events, method)(**ROWS)
        theirs = getattr(exported.generator, signature)(**ROWS)
        assert set(ours) == set(theirs)
        for key, values in ours.items():
            np.testing.assert_array_equal(values, theirs[key])


@pytest.mark.parametrize("name", POINT_RECIPES)
def test_point_recipes(name: str, tmp_path: Path) -> None:
    config: Any = load_config(name)
    of_jets = config.data.source == "simulate:jets"
    sets, schema = (
        (toy_jets(50, size=12), jets.SCHEMA)
        if of_jets
        else (toy_superpixels(50), superpixels.SCHEMA)
    )
    keras.utils.set_random_seed(1)
    make = untrained_flow if config.algorithm == "flow_matching" else untrained_vae
    fitted, generator = make(config, sets, config.data.coordinates if of_jets else "image")
    write_fitted(tmp_path, fitted)
    (tmp_path / WEIGHTS).touch()
    trained = Trained(name, tmp_path, config, schema, generator, True)
    exported = load_exported(export_model(trained, tmp_path / "exported", name))
    assert exported.schema == schema
    seed = np.array([[1, k] for k in range(5)], np.int64)
    ours = generator.generate(seed)
    for signature in ("generate", "serving_default"):
        theirs = getattr(exported.generator, signature)(seed=seed)
        assert set(ours) == set(theirs)
        for key, values in ours.items():
            np.testing.assert_array_equal(values, theirs[key])
