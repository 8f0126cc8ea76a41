"""Handwritten digits as point sets: the most intense superpixels (x, y, I) of each image.

An image is cut into superpixels by SLIC (doi:10.1109/TPAMI.2012.120, scikit-image), as for the
MNIST superpixels of arXiv:1611.08402; the 25 with the highest mean intensity are the points
(arXiv:2109.15197). x (to the right), y (downwards) and I are on [0, 1].
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

from kerasgen.data.points import PointForm, PointSets, point_sets
from kerasgen.errors import InputError, RunFailure

FORM = PointForm(
    "superpixels",
    ("x", "y", "intensity"),
    ("superpixels",),
    tuple(str(digit) for digit in range(10)),
    "x, y: fraction of the image's width and height; intensity: mean over the superpixel, "
    "fraction of the highest; superpixels: with any intensity, before the cut to P points",
)
SEGMENTS, MOST = 75, 25
# Weight of distance against intensity, for images on [0, 1]. At 0.3 an image of MNIST has 75
# superpixels, as asked for; smaller values leave fewer (63 at 0.05), larger ones ignore strokes.
COMPACTNESS = 0.3
BLOCK = 1000  # images handed over at a time


def superpixels(image: NDArray[Any], segments: int = SEGMENTS) -> NDArray[np.float64]:
    """Superpixels with any intensity, the most intense first: [k, 3], (x, y, I).

    Args:
        image: [H, W] on [0, 1].
        segments: superpixels to aim for; 0: every pixel is one.
    """
    height, width = image.shape
    if segments:
        from skimage.segmentation import slic

        found = slic(
            image, n_segments=segments, compactness=COMPACTNESS, channel_axis=None, start_label=0
        )
    else:
        found = np.arange(image.size).reshape(image.shape)
    row, col = np.indices(image.shape)
    flat = found.ravel()
    area = np.bincount(flat)
    columns = [
        np.bincount(flat, weights.ravel()) / area
        for weights in ((col + 0.5) / width, (row + 0.5) / height, image)
    ]
    points = np.stack(columns, -1)[columns[2] > 0]
    return points[np.argsort(-points[:, 2], kind="stable")]


def image_sets(
    images: NDArray[Any], labels: NDArray[Any], segments: int, most: int, origin: str
) -> Iterator[PointSets]:
    """Point sets of images [n, H, W] on [0, 1], a block at a time, with a progress bar.

    Raises:
        InputError: labels that are no digits or not as many, or an image without any intensity.
    """
    if len(images) != len(labels) or not len(images):
        raise InputError(f"{origin}: {len(images)} images and {len(labels)} labels")
    if labels.max() > 9:
        raise InputError(f"{origin}: label {labels.max()}, allowed: digits 0 to 9")
    with tqdm(total=len(images), unit="image", desc="superpixels", disable=None) as bar:
        for start in range(0, len(images), BLOCK):
            block = images[start : start + BLOCK]
            found = [superpixels(image, segments) for image in block]
            counts = np.array([len(points) for points in found])
            if not counts.all():
                raise InputError(f"{origin}: image {start + int(np.argmin(counts))} is empty")
            padded = np.zeros((len(block), most, 3))
            for points, rows in zip(found, padded, strict=True):
                rows[: len(points)] = points[:most]
            bar.update(len(block))
            yield point_sets(
                padded, np.minimum(counts, most), labels[start : start + BLOCK], counts
            )


def built_in_digits() -> tuple[Iterator[PointSets], PointForm]:
    """1797 handwritten digits of 8 x 8 pixels that ship inside scikit-learn; pixels as points.

    UCI Optical Recognition of Handwritten Digits (doi:10.24432/C50P49), its test set, in an order
    of its own that mixes the writers.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images, labels = digits.images[order] / 16, digits.target[order]
    form = replace(FORM, units=FORM.units.replace("superpixel", "pixel"))
    return image_sets(images, labels, 0, MOST, "digits of scikit-learn"), form


def mnist() -> tuple[Iterator[PointSets], PointForm]:
    """MNIST through ``keras.datasets``, which downloads it: 60 000 images, then the 10 000 of test.

    Raises:
        RunFailure: it cannot be downloaded.
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
    return image_sets(images, labels, SEGMENTS, MOST, "MNIST"), FORM


def idx_sets(path: Path, most: int = MOST) -> tuple[Iterator[PointSets], PointForm]:
    """Images of an MNIST idx file, with the labels of the file beside it.

    Raises:
        InputError: not such files, or not the same number of rows.
    """
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    if name == path.name:
        raise InputError(f"{path}: the name must hold 'images', the labels are searched by it")
    images = read_idx(path, 3) / 255
    labels = read_idx(path.with_name(name), 1)
    return image_sets(images, labels, SEGMENTS, most, str(path)), FORM


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """The bytes of an idx file, plain or gzip.

    Raises:
        InputError: missing, damaged, or with another number of axes.
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
