"""Build networks from recipe keys and a geometry."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import keras

from kerasgen.data.geometry import Geometry
from kerasgen.errors import InputError
from kerasgen.models.pxd_gan.biggan_deep import BigGANDeepDiscriminator, BigGANDeepGenerator
from kerasgen.models.pxd_gan.output import charge_threshold
from kerasgen.models.pxd_gan.patch_discriminator import PatchDiscriminator
from kerasgen.models.pxd_gan.settings import DiscriminatorSettings, GeneratorSettings
from kerasgen.models.pxd_gan.shapes import padded_image
from kerasgen.models.pxd_gan.sub_pixel import SubPixelGenerator

# Lines of Keras about its calls, before the reason.
ABOUT_CALLS = ("Exception encountered when calling", "Could not automatically infer")
# Arguments that only ``SubPixelGenerator`` has.
SUB_PIXEL_ONLY = (
    "charge_components",
    "charge_threshold",
    "factor",
    "noise_channels",
    "up_blocks",
)


def build_generator(
    architecture: str,
    settings: GeneratorSettings,
    geometry: Geometry,
    channels: int,
    dtype: str,
    name: str,
    equal: keras.Model | None = None,
) -> keras.Model:
    """Build a generator for the sensors of a geometry.

    Args:
        architecture: "sub_pixel" or "biggan_deep".
        settings: recipe keys.
        geometry: the detector.
        channels: charge channels of the hitmap.
        dtype: "float32" or "mixed_bfloat16".
        name: of the network.
        equal: a generator of the same arguments, which spares the tracing.

    Raises:
        InputError: settings that do not fit each other or the image.
    """
    image = padded_image(geometry, architecture)
    options: dict[str, Any] = asdict(settings) | {"attention": list(settings.attention) or None}
    network: Any = SubPixelGenerator
    options["charge_threshold"] = charge_threshold(geometry.threshold, geometry.max_charge)
    if architecture == "biggan_deep":
        network = BigGANDeepGenerator
        options = {key: value for key, value in options.items() if key not in SUB_PIXEL_ONLY}
    try:
        generator = network(
            image, len(geometry.sensors), image_channels=channels, name=name, dtype=dtype, **options
        )
        if equal is not None:
            build_like(generator, equal)
            return generator
        build(
            generator,
            keras.KerasTensor((1,), "int32"),
            keras.KerasTensor((1, settings.latent_size)),
            keras.KerasTensor((1, *generator.noise_shape(image))),
            keras.KerasTensor((1, 2), "int32"),
        )
    except ValueError as error:
        raise InputError(f"generator: {first_line(error)}") from None
    return generator


def build_discriminator(
    architecture: str,
    settings: DiscriminatorSettings,
    geometry: Geometry,
    channels: int,
    size: tuple[int, int],
    dtype: str,
) -> keras.Model:
    """Build a discriminator.

    Args:
        architecture: "sub_pixel" or "biggan_deep".
        settings: recipe keys.
        geometry: the detector.
        channels: charge channels of the hitmap.
        size: height and width of the images, pixels.
        dtype: "float32" or "mixed_bfloat16".

    Raises:
        InputError: settings that do not fit each other or the image.
    """
    deep = architecture == "biggan_deep"
    network: Any = BigGANDeepDiscriminator if deep else PatchDiscriminator
    options: dict[str, Any] = asdict(settings) | {"attention": list(settings.attention) or None}
    if deep:
        del options["logit_scale"]
    image = padded_image(geometry, architecture)
    try:
        discriminator = network(
            image, len(geometry.sensors), name="discriminator", dtype=dtype, **options
        )
        build(
            discriminator,
            keras.KerasTensor((1, *size, channels)),
            keras.KerasTensor((1,), "int32"),
            keras.KerasTensor((1, 2), "int32"),
        )
    except ValueError as error:
        raise InputError(f"discriminator: {first_line(error)}") from None
    return discriminator


def build(network: keras.Model, *inputs: keras.KerasTensor) -> None:
    """Create the variables of a network for inputs of these shapes, without computing anything.

    A call of the network would trace it a second time, for a result that nobody needs.

    Raises:
        ValueError: the network cannot take them.
    """
    with keras.name_scope(network.name):
        network.compute_output_spec(*inputs)
    network.built = True


def build_like(network: keras.Model, other: keras.Model) -> None:
    """Create the variables of a network by the shapes of an equal one, without tracing it."""
    with keras.name_scope(network.name):
        for layer, built in zip(network.layers, other.layers, strict=True):
            layer.build_from_config(built.get_build_config())
    network.built = True


def first_line(error: Exception) -> str:
    """The first line of a Keras message that is not about its call stack: the reason."""
    lines = [re.sub(r"\x1b\[\d*m", "", x).strip() for x in str(error).splitlines()]
    reasons = [x for x in lines if x and not x.startswith(ABOUT_CALLS)]
    return reasons[0] if reasons else type(error).__name__
