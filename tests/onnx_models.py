"""Small untrained models of every algorithm, and their exports as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flow_steps
import keras
from growth_events import DETECTOR, linked_pairs, random_network
from point_sets import toy_jets, toy_superpixels
from toy_run import write_toy_run

from kerasgen.data import jets, superpixels
from kerasgen.models.cluster_growth.generation import event_generator
from kerasgen.models.flow_matching.generation import set_generator
from kerasgen.models.set_batches import batch_arrays
from kerasgen.models.set_normaliser import fit_normaliser
from kerasgen.models.set_statistics import Fitted, condition_table, write_fitted
from kerasgen.models.sparse_vae.sampling import PointGenerator
from kerasgen.models.sparse_vae.vae import SparseVAE
from kerasgen.models.trained import Trained, load_trained
from kerasgen.run_folder import WEIGHTS
from kerasgen.zoo.recipes import load_config


def growth_model(folder: Path) -> Trained:
    """A network of cluster growth with random weights and linked pairs, for three small sensors."""
    config: Any = load_config("pxd_clusters")
    folder.mkdir()
    for name in (WEIGHTS, "calibration.npz"):
        (folder / name).touch()
    network = random_network(tuple(config.data.channels))
    generator = event_generator(network, DETECTOR, links=linked_pairs(network))
    return Trained("small", folder, config, DETECTOR, generator, False)


def point_model(folder: Path, recipe: str) -> Trained:
    """The sparse VAE of a recipe of jets or superpixels, with random weights."""
    config: Any = load_config(recipe)
    folder.mkdir()
    (folder / WEIGHTS).touch()
    of_jets = config.data.source == "simulate:jets"
    sets = toy_jets(50, size=12) if of_jets else toy_superpixels(50)
    schema = jets.SCHEMA if of_jets else superpixels.SCHEMA
    coordinates, network = config.data.coordinates if of_jets else "image", config.network
    normaliser = fit_normaliser(
        sets, coordinates, config.data.log_intensity, network.pt, network.total
    )
    keras.utils.set_random_seed(1)
    vae = SparseVAE(normaliser, network, config.prior, config.loss)
    vae.test_step(batch_arrays(sets, coordinates))
    table = condition_table(sets)
    write_fitted(folder, Fitted(normaliser, table))
    return Trained(recipe, folder, config, schema, PointGenerator(vae, table), True)


def flow_model(folder: Path) -> Trained:
    """Flow matching of jets with random weights."""
    config: Any = load_config("jet_flow")
    folder.mkdir()
    (folder / WEIGHTS).touch()
    fitted = Fitted(flow_steps.normaliser(), condition_table(flow_steps.SETS))
    write_fitted(folder, fitted)
    generator = set_generator(flow_steps.build().fields, fitted, flow_steps.FLOW)
    return Trained("jet_flow", folder, config, jets.SCHEMA, generator, True)


def gan_model(folder: Path, channels: tuple[int, ...] = ()) -> Trained:
    """A sub-pixel GAN with random weights and calibration, for three small sensors."""
    return load_trained(write_toy_run(folder, channels))
