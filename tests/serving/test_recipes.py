"""Every recipe of the zoo: its own network, untrained and in float32, as a SavedModel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from kerasgen.zoo.config import SPARSE_VAE
from kerasgen.zoo.point_sets.trained import TrainedPoints, write_fitted
from kerasgen.zoo.trained import POINT_WEIGHTS
from point_sets import toy_jets, toy_superpixels
from toy_run import toy_geometry

from kerasgen.data import jets, superpixels
from kerasgen.models.pxd_gan.build import build_generator
from kerasgen.models.pxd_gan.sampling import event_generator
from kerasgen.models.sparse_vae.batches import batch_arrays
from kerasgen.models.sparse_vae.normaliser import fit_normaliser
from kerasgen.models.sparse_vae.sampling import PointGenerator, condition_table
from kerasgen.models.sparse_vae.vae import SparseVAE
from kerasgen.models.trained import Trained
from kerasgen.serving import point_model, saved_model
from kerasgen.zoo.catalogue import recipes
from kerasgen.zoo.recipes import load_config

POINT_RECIPES = [name for name in recipes() if load_config(name).architecture == SPARSE_VAE]
ROWS = np.array([0, 1, 2], np.int32), np.array([[3, 4]] * 3)


@pytest.mark.parametrize("name", sorted(set(recipes()) - set(POINT_RECIPES)))
def test_pixel_recipes(name: str, tmp_path: Path) -> None:
    """On a small sensor; loading it again checks its operations."""
    config = load_config(name)
    # Attention is at one resolution of the full sensor, which a small one does not have.
    settings = replace(config.generator, spectral_norm=False, attention=[])
    geometry = replace(toy_geometry(), rows=62, cols=64)
    network = build_generator(config.architecture, settings, geometry, 1, "float32", "generator")
    events = event_generator(network, config, geometry)
    trained = Trained(name, tmp_path, config, geometry, events)
    write = saved_model.write_model
    version = saved_model.new_version(tmp_path / name, lambda folder: write(trained, folder))
    exported = saved_model.load_exported(version).generator
    for signature in ("dense", "digits"):
        ours, theirs = getattr(events, signature)(*ROWS), getattr(exported, signature)(*ROWS)
        for key, values in ours.items():
            np.testing.assert_array_equal(values, theirs[key])


@pytest.mark.parametrize("name", POINT_RECIPES)
def test_point_recipes(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    of_jets = config.data.source == "simulate:jets"
    sets, form = (
        (toy_jets(50, size=12), jets.SCHEMA)
        if of_jets
        else (toy_superpixels(50), superpixels.SCHEMA)
    )
    coordinates = config.data.coordinates if of_jets else "image"
    network = config.network
    units = fit_normaliser(sets, coordinates, config.data.log_intensity, network.pt, network.total)
    keras.utils.set_random_seed(1)
    vae = SparseVAE(units, config.network, config.prior, config.loss)
    arrays = batch_arrays(sets, coordinates)
    vae.test_step({key: tf.constant(values) for key, values in arrays.items()})
    table = condition_table(sets)
    generator = PointGenerator(vae, table, units.size, config.network.latent_size)
    write_fitted(tmp_path, units, table)
    (tmp_path / POINT_WEIGHTS).touch()
    trained = TrainedPoints(name, tmp_path, config, form, generator)
    version = point_model.export_point_model(trained, tmp_path / "exported", name)
    exported = point_model.load_exported_points(version)
    seed = tf.constant([[1, k] for k in range(5)], tf.int64)
    theirs = exported.generate(seed)
    for key, values in generator.generate(seed).items():
        np.testing.assert_array_equal(values, theirs[key])
