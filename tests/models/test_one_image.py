"""Folded inference of one image: the same numbers as the network of training, in fewer passes."""

from __future__ import annotations

from itertools import product
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import generator, geometry

from kerasgen.backend.engine import normal
from kerasgen.layers.residual import GeneratorBlock
from kerasgen.layers.spectral import SpectralConv2D
from kerasgen.models.pxd_gan import one_image
from kerasgen.models.pxd_gan.image_logits import image_logits

BATCH = 2
SEED = tf.constant([3, 4], tf.int64)


def normals(*shape: int, seed: int = 5) -> Any:
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def scramble(layer: Any) -> None:
    """Random weights, none of them neutral."""
    rng = np.random.default_rng(6)
    for weight in layer.weights:
        positive = weight.path.endswith("variance")
        weight.assign(
            rng.uniform(0.5, 2, weight.shape) if positive else rng.normal(size=weight.shape)
        )


@pytest.mark.parametrize(
    ("padding", "up", "noise_gain"), list(product(["same", "wrap"], [1, 2, 4], [0.0, 0.5]))
)
def test_a_block(padding: str, up: int, noise_gain: float) -> None:
    block = GeneratorBlock(4, bottleneck=2, up=up, noise_gain=noise_gain, padding=padding)
    block.build((None, None, None, 8), (None, 3))
    scramble(block)
    x, condition = normals(BATCH, 6, 8, 8), normals(BATCH, 3)
    noise = normals(BATCH, 6 * up, 8 * up, 1)
    expected = block(x, condition, noise).numpy()
    for i in range(BATCH):
        affine = one_image.affine_maps(block.norms, condition[i : i + 1])
        found = one_image.folded_block(block, x[i : i + 1], affine, noise[i : i + 1])
        np.testing.assert_allclose(found[0], expected[i], rtol=1e-4, atol=1e-4)


def test_an_upsampling_by_two_is_part_of_its_convolution() -> None:
    """By hand: one channel, a kernel whose values identify its taps, on a map of one cell."""
    conv = SpectralConv2D(1, 3, padding="same", spectral_norm=False)
    conv.build((None, None, None, 1))
    conv.kernel.assign(np.arange(1.0, 10).reshape(3, 3, 1, 1))
    x = tf.pad(tf.ones([1, 1, 1, 1]), one_image.BORDER)
    y = one_image.upsampled_convolution(x, conv, (tf.ones(1), tf.zeros(1)))[0, 1:-1, 1:-1, 0]
    np.testing.assert_allclose(y, [[5 + 6 + 8 + 9, 4 + 5 + 7 + 8], [2 + 3 + 5 + 6, 1 + 2 + 4 + 5]])


VARIANTS: dict[str, dict[str, Any]] = {
    "sub_pixel": {},
    "sub_pixel, without other noise": {"noise_gain": 0.0, "latent_size": 0},
    "sub_pixel, no periodic edges": {"padding": "same"},
    "sub_pixel, tanh": {"output": "tanh", "attention": [2, 4]},
    "biggan_deep": {},
    "biggan_deep, tanh": {"output": "tanh", "padding": "same", "noise_gain": 0.0},
}


def from_layers(network: keras.Model, sensor: Any, latent: Any) -> tuple[Any, ...]:
    """``distribution`` with the noise that ``image_logits`` takes from SEED."""
    height, width, planes = network.noise_shape(network.image)
    noise = normal(SEED, [1, height, width, planes - network.pixel_planes])
    return network.distribution(sensor, latent, noise, tf.zeros([1, 2], tf.int32))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_generator(variant: str) -> None:
    architecture = variant.split(",")[0]
    size = (64, 64) if architecture == "biggan_deep" else (16, 48)
    channels = 2 if variant == "sub_pixel" else 1
    network = generator(geometry(*size), architecture, channels, **VARIANTS[variant])
    scramble(network)
    sensor, latent = tf.constant([1]), normals(1, network.latent_size)
    logit, *charge = from_layers(network, sensor, latent)
    found, charge_at = image_logits(network, sensor, latent, SEED)
    scale = float(tf.math.reduce_std(logit))
    np.testing.assert_allclose(found, logit[0], atol=1e-4 * scale, rtol=1e-4)
    cells = tf.where(tf.ones(found.shape))[::7]
    for expected, value in zip(charge, charge_at(cells), strict=True):
        expected = tf.gather_nd(expected[0], cells)
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-4 * scale)


def test_one_image_takes_fewer_passes() -> None:
    """Operations on whole maps beside the convolutions: sums, products, copies."""
    network = generator(geometry(), noise_gain=0.0)

    def passes(call: Any) -> int:
        graph = tf.function(call).get_concrete_function().graph
        graphs = [graph.as_graph_def().node]
        kinds = {"Mul", "AddV2", "Tile", "ConcatV2"}
        shapes = {n.name: graph.get_operation_by_name(n.name) for n in graphs[0]}
        return sum(op.type in kinds and op.outputs[0].shape.rank == 4 for op in shapes.values())

    sensor, latent = tf.constant([1]), normals(1, network.latent_size)
    layers = passes(lambda: from_layers(network, sensor, latent))
    assert passes(lambda: image_logits(network, sensor, latent, SEED)[0]) < layers / 2
