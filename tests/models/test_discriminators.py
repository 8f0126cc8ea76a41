"""Both discriminators: any size, projection on the sensor, and pinned sizes of the recipes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import batch, discriminator, geometry

from kerasgen.data.geometry import load_geometry
from kerasgen.models.pxd_gan.build import build_discriminator
from kerasgen.models.pxd_gan.shapes import padded_image
from kerasgen.zoo.recipes import load_config

# Trainable weights of the recipes: edit with the recipe.
PARAMETERS = {"pxd_biggan_crops": 229_698, "pxd_biggan_deep": 2_916_034}


@pytest.mark.parametrize("recipe", PARAMETERS)
def test_parameters_of_the_recipe(recipe: str):
    config = load_config(recipe)
    detector = load_geometry("belle2-pxd")
    crop = config.training.crop
    size = (crop[0], crop[1]) if crop else padded_image(detector, config.architecture)
    network = build_discriminator(
        config.architecture, config.discriminator, detector, 1, size, "float32"
    )
    counted = sum(int(np.prod(w.shape)) for w in network.trainable_variables)
    assert counted == PARAMETERS[recipe]


@pytest.mark.parametrize(
    ("architecture", "rows", "cols", "sensors", "channels", "changes"),
    [
        ("sub_pixel", 16, 48, 3, 1, {}),
        ("sub_pixel", 30, 81, 1, 3, {}),  # padded to 32 x 96
        ("sub_pixel", 32, 64, 2, 1, {"attention": [2, 4], "spectral_norm": False}),
        ("biggan_deep", 64, 128, 2, 3, {}),
        ("biggan_deep", 50, 64, 1, 1, {"attention": [4, 8]}),
    ],
)
def test_any_size(architecture, rows, cols, sensors, channels, changes):
    detector = geometry(rows, cols, sensors)
    network = discriminator(detector, architecture, channels, **changes)
    size = padded_image(detector, architecture)
    sensor = tf.constant([sensors - 1, 0])
    image = tf.random.stateless_uniform([2, *size, channels], [1, 2], -1, 1)
    logits, embedding, proxy = network(image, sensor, tf.zeros([2, 2], tf.int32))
    cells = (1, 1) if architecture == "biggan_deep" else (size[0] // 8, size[1] // 8)
    assert logits.shape == (2, *cells)
    assert embedding.shape == proxy.shape == (2, 6)
    assert {x.dtype for x in (logits, embedding, proxy)} == {tf.float32}


@pytest.mark.parametrize("architecture", ["sub_pixel", "biggan_deep"])
def test_sensor_enters_by_projection(architecture: str):
    """D(x, y) = psi(phi(x)) + <e_y, phi(x)> (arXiv:1802.05637, eq. 5): linear in e_y."""
    network = discriminator(geometry(64, 64), architecture)
    image = tf.random.stateless_uniform([1, 64, 64, 1], [1, 2], -1, 1)
    origin = tf.zeros([1, 2], tf.int32)
    zero, first, second = (
        network(image, tf.constant([k]), origin)[0].numpy() for k in with_projection(network)
    )
    assert np.abs(first - zero).max() > 1e-4
    np.testing.assert_allclose(second - zero, -2 * (first - zero), rtol=1e-3, atol=1e-5)


def with_projection(network: keras.Model) -> range:
    """Embeddings 0, e and -2 e for the three sensors."""
    table = network.projection.kernel.numpy()
    e = table[0]
    network.projection.kernel.assign(np.stack([0 * e, e, -2 * e]))
    return range(3)


def test_an_empty_image_is_zero_for_the_discriminator():
    """Empty pixels are -1 on the scale; unshifted, they would dominate an average over pixels."""
    network = discriminator(geometry())
    kernel = network.stem0.kernel
    empty = tf.fill([1, 16, 48, 1], -1.0)
    arguments = tf.constant([0]), tf.zeros([1, 2], tf.int32)
    before = network(empty, *arguments)[0].numpy()
    kernel.assign(-3 * kernel)
    np.testing.assert_array_equal(network(empty, *arguments)[0], before)
    one_hit = tf.tensor_scatter_nd_update(empty, [[0, 5, 7, 0]], [0.5])
    assert np.abs(network(one_hit, *arguments)[0] - before).max() > 1e-4


def test_rows_do_not_depend_on_each_other():
    network = discriminator(geometry())
    real = batch()
    together = network(real["image"], real["sensor"], real["origin"])
    alone = network(real["image"][1:2], real["sensor"][1:2], real["origin"][1:2])
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a[1:2], b, atol=1e-5)


def test_position_matters_to_the_patch_discriminator():
    network = discriminator(geometry(32, 96))
    image = batch()["image"][:1]
    sensor, origin = tf.constant([0]), tf.zeros([1, 2], tf.int32)
    here, there = (network(image, sensor, o)[0] for o in (origin, origin + 16))
    assert np.abs(here - there).max() > 1e-4
