"""Both generators: any size, exact emptiness, translation, and pinned sizes of the recipes."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import GENERATOR, generator, geometry, inputs

from kerasgen.data.geometry import load_geometry
from kerasgen.errors import InputError
from kerasgen.models.pxd_gan.build import build_generator
from kerasgen.models.pxd_gan.position import POSITION_GAIN, position_map
from kerasgen.models.pxd_gan.shapes import padded_image
from kerasgen.models.pxd_gan.sub_pixel import icnr
from kerasgen.zoo.recipes import load_config

# Trainable weights of the recipes: edit with the recipe.
PARAMETERS = {"pxd_biggan_crops": 64_649, "pxd_biggan_deep": 11_613_410}


def parameters(network: keras.layers.Layer) -> int:
    return sum(int(np.prod(w.shape)) for w in network.trainable_variables)


@pytest.mark.parametrize("recipe", PARAMETERS)
def test_parameters_of_the_recipe(recipe: str):
    network = recipe_generator(recipe)
    assert parameters(network) == PARAMETERS[recipe]


@functools.cache
def recipe_generator(recipe: str) -> keras.Model:
    config = load_config(recipe)
    detector = load_geometry("belle2-pxd")
    return build_generator(config.architecture, config.generator, detector, 1, "float32", "g")


def test_deep_generator_has_the_published_size():
    """The talk gives 11.58 M without details.

    Ours has 0.03 M more: the self-attention (20 481), and an output normalisation that depends on
    the condition (2 maps of 256 x 32) where BigGAN-deep has a plain one (2 x 32).
    """
    network = recipe_generator("pxd_biggan_deep")
    published = (
        parameters(network) - parameters(network.attention) - parameters(network.norm) + 2 * 32
    )
    assert published == 11_576_609


@pytest.mark.parametrize(
    ("architecture", "rows", "cols", "sensors", "channels", "changes"),
    [
        ("sub_pixel", 16, 48, 3, 1, {}),
        ("sub_pixel", 30, 81, 1, 3, {}),  # padded to 32 x 96
        ("sub_pixel", 48, 16, 2, 2, {"output": "tanh", "noise_gain": 0.0}),
        ("sub_pixel", 32, 48, 5, 1, {"attention": [4, 6], "padding": "same", "up_blocks": 0}),
        ("sub_pixel", 32, 48, 2, 1, {"latent_size": 0, "factor": 8, "spectral_norm": False}),
        ("biggan_deep", 64, 128, 2, 3, {}),
        (
            "biggan_deep",
            50,  # padded to 64
            64,
            1,
            1,
            {"output": "tanh", "attention": [8, 8], "noise_gain": 0.0},
        ),
    ],
)
def test_any_size(architecture, rows, cols, sensors, channels, changes):
    detector = geometry(rows, cols, sensors)
    network = generator(detector, architecture, channels, **changes)
    size = padded_image(detector, architecture)
    image, _ = network(*inputs(network, [sensors - 1, 0], size))
    assert image.shape == (2, *size, channels)
    assert image.dtype == tf.float32
    assert np.abs(image).max() <= 1
    assert network.firing_threshold.shape == (sensors,)


def test_crop_of_another_size_than_the_sensor():
    network = generator(geometry(32, 96))
    image, _ = network(*inputs(network, [0, 1], (16, 32)))
    assert image.shape == (2, 16, 32, 1)


def test_crop_of_biggan_deep_has_its_part_of_the_first_map():
    network = generator(geometry(192, 256), "biggan_deep")
    sensor, latent, noise, _ = inputs(network, [0, 1], (192, 256))
    whole = network.trunk_inputs(sensor, latent, noise, np.zeros((2, 2), np.int32))[0]
    corner = np.int32([[0, 128], [64, 0]])
    part = noise[:, :128, :64]
    x = network.trunk_inputs(sensor, latent, part, corner)[0].numpy()
    np.testing.assert_array_equal(x[0], whole[0, :2, 2:3])
    np.testing.assert_array_equal(x[1], whole[1, 1:3, :1])
    assert network(sensor, latent, part, corner)[0].shape == (2, 128, 64, 1)


def test_size_that_six_doublings_do_not_reach_is_refused():
    with pytest.raises(InputError, match="multiple of 64 pixels, tiny has 16 x 48"):
        generator(geometry(16, 48), "biggan_deep")


@pytest.fixture(scope="module", params=["sub_pixel", "biggan_deep"])
def built(request) -> tuple[keras.Model, list[np.ndarray]]:
    """A generator of 64 x 64 pixels and its weights."""
    keras.utils.set_random_seed(1)
    network = generator(geometry(64, 64), request.param)
    return network, [w.numpy() for w in network.weights]


@pytest.fixture
def network(built) -> keras.Model:
    """The generator as it was built."""
    for weight, value in zip(built[0].weights, built[1], strict=True):
        weight.assign(value)
    return built[0]


def test_gated_pixels_are_empty_or_fired(network):
    image = network(*inputs(network, [0, 1, 2], (64, 64)))[0].numpy()
    assert 0.02 < np.mean(image == -1.0) < 0.98
    assert image[image != -1.0].min() > -0.5 - 1e-6


def test_firing_threshold_empties_the_images_of_its_sensor(network):
    arguments = inputs(network, [0, 1], (64, 64))
    before = network(*arguments)[0].numpy()
    network.firing_threshold.assign([0, 1e3, 0])
    after = network(*arguments)[0].numpy()
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[1] == -1.0).all()


def test_events_differ_by_noise_latent_and_sensor(network):
    rng = np.random.default_rng(0)
    for weight in network.trainable_variables:  # the condition may start without effect
        if weight.path.endswith(("gain/kernel", "shift/kernel")):
            weight.assign(rng.normal(size=weight.shape))
    arguments = inputs(network, [0], (64, 64))
    logit, _ = network.logits_and_charges(*arguments)
    others = inputs(network, [1], (64, 64), seed=1)
    for i in range(3):
        changed = [*arguments[:i], others[i], *arguments[i + 1 :]]
        assert np.abs(network.logits_and_charges(*changed)[0] - logit).max() > 1e-3


def test_shifted_noise_gives_shifted_hits():
    """With periodic edges and without position the generator commutes with shifts by cells."""
    network = generator(geometry(32, 48))
    stem = network.stem.kernel.numpy()
    stem[:, :, network.noise_channels :] = 0.0
    network.stem.kernel.assign(stem)
    sensor, latent, noise, origin = inputs(network, [0, 2], (32, 48))
    cells = tf.roll(noise, [3, 5], [1, 2])
    for plain, shifted in zip(
        network.logits_and_charges(sensor, latent, noise, origin),
        network.logits_and_charges(sensor, latent, cells, origin),
        strict=True,
    ):
        expected = tf.roll(network.to_pixels(plain), [12, 20], [1, 2])
        np.testing.assert_allclose(network.to_pixels(shifted), expected, atol=1e-4)


def test_hits_depend_on_the_position():
    network = generator(geometry(32, 48))
    sensor, latent, noise, origin = inputs(network, [0], (16, 16))
    there = origin + tf.constant([[16, 32]])
    difference = (
        network.logits_and_charges(sensor, latent, noise, origin)[0]
        - network.logits_and_charges(sensor, latent, noise, there)[0]
    )
    assert np.abs(difference).max() > 1e-4


def test_position_of_a_crop_is_that_of_the_whole():
    whole = position_map(tf.zeros([1, 2], tf.int32), (8, 12), 4, (32, 48)).numpy()
    crop = position_map(tf.constant([[8, 16]]), (2, 3), 4, (32, 48)).numpy()
    np.testing.assert_allclose(crop[0], whole[0, 2:4, 4:7], atol=1e-6)
    # Centres of 8 cells over [-1, 1], times the gain: -7/8, -5/8, ... along u; 12 cells along v
    np.testing.assert_allclose(
        whole[0, :, 0, 0], POSITION_GAIN * np.arange(-7, 8, 2) / 8, atol=1e-6
    )
    np.testing.assert_allclose(
        whole[0, 0, :, 1], POSITION_GAIN * np.arange(-11, 12, 2) / 12, atol=1e-6
    )


def test_samples_have_no_gradient_to_the_mixture_weights():
    network = generator(geometry())
    with tf.GradientTape() as tape:
        charge = network.logits_and_charges(*inputs(network, [0], (16, 48)))[1]
    gradient = tape.gradient(charge, network.head.bias.value).numpy()[network.logit_planes :]
    weight, mean, deviation = gradient.reshape(network.logit_planes, 3, -1).transpose(1, 0, 2)
    np.testing.assert_array_equal(weight, 0)
    assert np.abs(mean).min() > 0
    assert np.abs(deviation).max() > 0


def test_pixels_of_a_cell_start_equal():
    kernel = icnr(4, 2, "glorot_uniform")((3, 3, 5, 4 * (2 + 6))).numpy()
    for part in np.split(kernel, [4 * 2], axis=-1):  # logits, then charges
        pixels = part.reshape(3, 3, 5, 4, -1)
        np.testing.assert_array_equal(pixels, pixels[..., :1, :].repeat(4, -2))
        differ = np.abs(np.diff(pixels[..., 0, :])).max((0, 1, 2))
        assert differ.min() > 1e-3


def test_bfloat16_computes_and_float32_stores():
    detector = geometry()
    network = build_generator("sub_pixel", GENERATOR, detector, 1, "mixed_bfloat16", "generator")
    assert keras.mixed_precision.global_policy().name == "float32"
    assert {w.dtype for w in network.weights} == {"float32"}
    image, _ = network(*inputs(network, [0, 1], (16, 48)))
    assert image.dtype == tf.float32
    assert network.stem.compute_dtype == "bfloat16"


def test_settings_that_do_not_fit_are_bad_input():
    """One line with the reason, not Keras's account of its call stack."""
    with pytest.raises(InputError, match=r"^generator: a map of 4 x 12 cells has no whole 4 x 8"):
        generator(geometry(), attention=[4, 8])
