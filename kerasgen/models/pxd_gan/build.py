"""From recipe keys and a geometry to networks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import keras
import tensorflow as tf

from kerasgen.data.geometry import Geometry
from kerasgen.data.pipeline import padded_size
from kerasgen.errors import InputError
from kerasgen.models.pxd_gan.biggan_deep import BigGANDeepCritic, BigGANDeepGenerator
from kerasgen.models.pxd_gan.deposits import PLACE, DepositEncoder
from kerasgen.models.pxd_gan.output import charge_cut
from kerasgen.models.pxd_gan.patch_critic import PatchCritic
from kerasgen.models.pxd_gan.settings import CriticSettings, GeneratorSettings
from kerasgen.models.pxd_gan.sub_pixel import SubPixelGenerator

# Sizes are multiples of this: the pipeline pads to 16, and BigGAN-deep doubles its first map
# six times.
MULTIPLE = {"sub_pixel": 16, "biggan_deep": 64}
# Arguments that ``SubPixelGenerator`` alone has.
SUB_PIXEL = (
    "charge_components",
    "deposits",
    "factor",
    "noise_channels",
    "size",
    "threshold",
    "up_blocks",
)


def padded_image(geometry: Geometry, architecture: str) -> tuple[int, int]:
    """Height and width of the padded sensor, pixels.

    Raises:
        InputError: the architecture cannot make images of this size.
    """
    size = padded_size(geometry.rows), padded_size(geometry.cols)
    multiple = MULTIPLE[architecture]
    if size[0] % multiple or size[1] % multiple:
        raise InputError(
            f"architecture {architecture!r} needs padded sensors of a multiple of {multiple} "
            f"pixels, {geometry.name} has {size[0]} x {size[1]}"
        )
    return size


@contextmanager
def policy(dtype: str) -> Iterator[None]:
    """Layers made inside compute in ``dtype`` ("float32" or "mixed_bfloat16")."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(dtype)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def build_generator(
    architecture: str,
    settings: GeneratorSettings,
    geometry: Geometry,
    channels: int,
    dtype: str,
    name: str,
) -> keras.Model:
    """A built generator for the sensors of a geometry.

    Arguments:
        architecture: "sub_pixel" or "biggan_deep".
        channels: charge channels of the hitmap.
        dtype: "float32" or "mixed_bfloat16".

    Raises:
        InputError: settings that do not fit each other or the image.
    """
    image = padded_image(geometry, architecture)
    options: dict[str, Any] = asdict(settings) | {"attention": list(settings.attention) or None}
    kind: Any = SubPixelGenerator
    options["threshold"] = charge_cut(geometry.threshold, geometry.max_charge)
    options["size"] = geometry.rows, geometry.cols
    if architecture == "biggan_deep":
        kind = BigGANDeepGenerator
        options = {key: value for key, value in options.items() if key not in SUB_PIXEL}
    try:
        with policy(dtype):
            generator = kind(
                image, len(geometry.sensors), image_channels=channels, name=name, **options
            )
            generator(
                tf.zeros([1], tf.int32),
                tf.zeros([1, settings.latent_size]),
                tf.zeros([1, *generator.noise_shape(image)]),
                tf.zeros([1, 2], tf.int32),
            )
    except ValueError as error:
        raise InputError(f"generator: {first_line(error)}") from None
    return generator


def build_critic(
    architecture: str,
    settings: CriticSettings,
    geometry: Geometry,
    channels: int,
    size: tuple[int, int],
    dtype: str,
) -> keras.Model:
    """A built critic; ``size`` is the height and width of its images, pixels.

    Raises:
        InputError: settings that do not fit each other or the image.
    """
    kind: Any = BigGANDeepCritic if architecture == "biggan_deep" else PatchCritic
    options: dict[str, Any] = asdict(settings) | {"attention": list(settings.attention) or None}
    if architecture == "biggan_deep":
        del options["logit_scale"]
    image = padded_image(geometry, architecture)
    try:
        with policy(dtype):
            critic = kind(image, len(geometry.sensors), name="critic", **options)
            critic(
                tf.zeros([1, *size, channels]), tf.zeros([1], tf.int32), tf.zeros([1, 2], tf.int32)
            )
    except ValueError as error:
        raise InputError(f"critic: {first_line(error)}") from None
    return critic


def build_encoder(
    settings: GeneratorSettings, channels: int, size: tuple[int, int], dtype: str
) -> DepositEncoder:
    """A built encoder of the deposits that a generator draws; arguments as above."""
    with policy(dtype):
        encoder = DepositEncoder(settings.noise_channels - PLACE, settings.factor, name="encoder")
        encoder(tf.zeros([1, *size, channels]))
    return encoder


def first_line(error: Exception) -> str:
    """Keras writes pages; the reason is the first line that is not about its call stack."""
    lines = [re.sub(r"\x1b\[\d*m", "", x).strip() for x in str(error).splitlines()]
    reasons = [x for x in lines if x and not x.startswith("Exception encountered when calling")]
    return reasons[0] if reasons else type(error).__name__
