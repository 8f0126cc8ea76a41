"""Shapes of the images of a run, made once from configuration and geometry."""

from __future__ import annotations

from dataclasses import dataclass

from kerasgen.data.geometry import Geometry
from kerasgen.data.pipeline import padded_size
from kerasgen.errors import InputError
from kerasgen.models.pxd_gan.settings import Config

# Sizes of images are multiples of this: the pipeline pads to 16, and BigGAN-deep doubles its first
# map six times.
MULTIPLE = {"sub_pixel": 16, "biggan_deep": 64}
# Corners of crops are at multiples of this: the cells of the generator's first map.
CROP_STRIDE = {"sub_pixel": 4, "biggan_deep": 64}


@dataclass(frozen=True)
class Shapes:
    """Shapes of the images of a run, pixels.

    Attributes:
        sensor: rows and columns of the sensor.
        image: height and width of the padded sensor.
        crop: height and width of the images of the training.
        channels: charge channels.
    """

    sensor: tuple[int, int]
    image: tuple[int, int]
    crop: tuple[int, int]
    channels: int


def shapes_of(config: Config, geometry: Geometry) -> Shapes:
    """The shapes of a run.

    Args:
        config: of the run.
        geometry: the detector.

    Raises:
        InputError: the architecture cannot make images of this size.
    """
    image = padded_image(geometry, config.architecture)
    height, width = config.training.crop or image
    channels = max(len(config.data.channels), 1)
    return Shapes((geometry.rows, geometry.cols), image, (height, width), channels)


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


def check_shapes(config: Config, shapes: Shapes) -> None:
    """Raise InputError unless crops fit into the sensor, and cells and attention windows into both.

    The discriminator sees crops only.
    """
    crop, deep = config.training.crop, config.architecture == "biggan_deep"
    if crop and (crop[0] > shapes.image[0] or crop[1] > shapes.image[1]):
        raise InputError(
            f"training.crop = {crop} is larger than the padded sensor {list(shapes.image)}"
        )
    if deep and any(n % MULTIPLE["biggan_deep"] for n in crop):
        raise InputError(
            f"training.crop = {crop}: architecture 'biggan_deep' needs multiples of 64 pixels"
        )
    image, part = ("the padded sensor", shapes.image), ("training.crop", shapes.crop)
    factor = 4 if deep else config.generator.factor
    check_cells("generator", factor, config.generator.attention, [image, part])
    check_cells("discriminator", 8, config.discriminator.attention, [part])


def check_cells(
    network: str, cell: int, attention: list[int], sizes: list[tuple[str, tuple[int, int]]]
) -> None:
    """Raise InputError unless cells divide images, and attention windows divide maps of cells.

    Args:
        network: for the message.
        cell: height and width of a cell, pixels.
        attention: window [height, width], cells; [] for none.
        sizes: name, and height and width in pixels, of each image.
    """
    window = attention or [1, 1]
    for what, size in sizes:
        if any(n % (cell * w) for n, w in zip(size, window, strict=True)):
            raise InputError(
                f"{network}: {what} of {size[0]} x {size[1]} pixels has no whole cells of "
                f"{cell} x {cell} pixels in windows of {window[0]} x {window[1]} cells "
                f"({network}.attention)"
            )
