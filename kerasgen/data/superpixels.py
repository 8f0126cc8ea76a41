"""Handwritten digits as point sets: the most intense superpixels (x, y, I) of each image.

SLIC (doi:10.1109/TPAMI.2012.120, scikit-image) divides an image into superpixels, as for the MNIST
superpixels of arXiv:1611.08402; the 25 of highest mean intensity are the points
(arXiv:2109.15197). x (to the right), y (downwards) and I are in [0, 1].
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kerasgen.data.points import PointSchema, PointSets, build_point_sets
from kerasgen.errors import InputError, RunFailure

SCHEMA = PointSchema(
    "superpixels",
    ("x", "y", "intensity"),
    ("superpixels",),
    tuple(str(digit) for digit in range(10)),
    "x, y: fraction of the image's width and height; intensity: mean over the superpixel, "
    "fraction of the highest; superpixels: with any intensity, before the cut to P points",
)
# Of images whose points are single pixels.
DIGITS_SCHEMA = replace(SCHEMA, units=SCHEMA.units.replace("superpixel", "pixel"))
SUPERPIXELS, MAX_POINTS = 75, 25
# SLIC weight of distance against intensity, for images in [0, 1]. At 0.3 an MNIST image has the
# requested 75 superpixels; smaller values give fewer (63 at 0.05), larger ones ignore strokes.
COMPACTNESS = 0.3
BLOCK = 1000  # images per block


def superpixels(image: NDArray[Any], number: int = SUPERPIXELS) -> NDArray[np.float64]:
    """Compute the superpixels with non-zero intensity, by falling intensity: [k, 3], (x, y, I).

    Args:
        image: [H, W] in [0, 1].
        number: approximate number of superpixels; 0: every pixel is a superpixel.
    """
    height, width = image.shape
    if number:
        from skimage.segmentation import slic

        assigned = slic(
            image, n_segments=number, compactness=COMPACTNESS, channel_axis=None, start_label=0
        )
    else:
        assigned = np.arange(image.size).reshape(image.shape)
    row, col = np.indices(image.shape)
    flat = assigned.ravel()
    area = np.bincount(flat)
    columns = [
        np.bincount(flat, weights.ravel()) / area
        for weights in ((col + 0.5) / width, (row + 0.5) / height, image)
    ]
    points = np.stack(columns, -1)[columns[2] > 0]
    return points[np.argsort(-points[:, 2], kind="stable")]


def image_sets(
    images: NDArray[Any], labels: NDArray[Any], number: int, most: int, origin: str
) -> Iterator[PointSets]:
    """Convert images to point sets block by block, with a progress bar.

    Args:
        images: [n, H, W] in [0, 1].
        labels: [n], digits.
        number: as in ``superpixels``.
        most: maximum number of points of a set.
        origin: file or source, the start of the error message.

    Raises:
        InputError: labels that are no digits, different numbers of images and labels, or an
            image without any intensity.
    """
    if len(images) != len(labels) or not len(images):
        raise InputError(f"{origin}: {len(images)} images and {len(labels)} labels")
    if labels.max() > 9:
        raise InputError(f"{origin}: label {labels.max()}, allowed: digits 0 to 9")
    with tqdm(total=len(images), unit="image", desc="superpixels", disable=None) as bar:
        for start in range(0, len(images), BLOCK):
            block = images[start : start + BLOCK]
            found = [superpixels(image, number) for image in block]
            counts = np.array([len(points) for points in found])
            if not counts.all():
                raise InputError(f"{origin}: image {start + int(np.argmin(counts))} is empty")
            padded = np.zeros((len(block), most, 3))
            for points, rows in zip(found, padded, strict=True):
                rows[: len(points)] = points[:most]
            bar.update(len(block))
            yield build_point_sets(
                padded, np.minimum(counts, most), labels[start : start + BLOCK], counts
            )


def built_in_digits() -> tuple[Iterator[PointSets], PointSchema]:
    """Load the 1797 digits of 8 x 8 pixels in scikit-learn, with pixels as points.

    Test set of UCI Optical Recognition of Handwritten Digits (doi:10.24432/C50P49), in a fixed
    random order that mixes the writers.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images, labels = digits.images[order] / 16, digits.target[order]
    return image_sets(images, labels, 0, MAX_POINTS, "digits of scikit-learn"), DIGITS_SCHEMA


def mnist_sets() -> tuple[Iterator[PointSets], PointSchema]:
    """Download MNIST by ``keras.datasets``: 60 000 training images, then 10 000 test images.

    Raises:
        RunFailure: MNIST cannot be downloaded.
    """
    import keras

    try:
        (images, labels), (more, more_labels) = keras.datasets.mnist.load_data()
    except Exception as e:  # urllib, sockets and Keras raise nearly anything
        reason = " ".join(str(e).split())[:160]
        raise RunFailure(
            f"MNIST cannot be downloaded ({reason}); with the idx files at hand: kerasgen convert "
            "train-images-idx3-ubyte.gz mnist.h5, then --data mnist.h5"
        ) from None
    images, labels = np.concatenate([images, more]) / 255, np.concatenate([labels, more_labels])
    return image_sets(images, labels, SUPERPIXELS, MAX_POINTS, "MNIST"), SCHEMA


def idx_sets(path: Path, most: int = MAX_POINTS) -> tuple[Iterator[PointSets], PointSchema]:
    """Read an MNIST idx file of images, and the file of labels beside it.

    Raises:
        InputError: not idx files, or numbers of images and labels that differ.
    """
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    if name == path.name:
        raise InputError(f"{path}: the name must hold 'images', the labels are searched by it")
    images = read_idx(path, 3) / 255
    if not images[:1].size:
        raise InputError(f"{path}: empty, there are no images")
    labels = read_idx(path.with_name(name), 1)
    return image_sets(images, labels, SUPERPIXELS, most, str(path)), SCHEMA


def is_idx(path: Path) -> bool:
    """Return whether a gzip file holds an idx file of images."""
    try:
        with gzip.open(path) as file:
            return file.read(4) == b"\x00\x00\x08\x03"
    except (OSError, EOFError, zlib.error):
        return False


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Read the array of bytes of an idx file, plain or gzip.

    Raises:
        InputError: missing, damaged, or another number of axes.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        zero, kind, found, *shape = struct.unpack_from(f">HBB{axes}I", content)
        if (zero, kind, found) != (0, 8, axes):
            raise InputError(f"{path}: not an idx file of bytes with {axes} axes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, struct.error, zlib.error) as e:
        raise InputError(f"{path}: not an idx file, or damaged ({e})") from None
    except ValueError as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{path}: truncated or too long ({e})") from None
