"""Superpixels of digits, from scikit-learn and from idx files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from kerasgen.command import run
from kerasgen.data.convert import main
from kerasgen.data.point_store import PointFile
from kerasgen.data.points import check_sets, concatenate
from kerasgen.data.superpixels import SCHEMA, built_in_digits, superpixels
from kerasgen.errors import InputError

MNIST = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "mnist"


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    content = header + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_pixels_are_points():
    image = np.zeros((4, 8))
    image[1, 2], image[3, 0] = 0.5, 1.0
    # x and y are centres of pixels, as a fraction of width and height; the brightest comes first.
    expected = [[0.5 / 8, 3.5 / 4, 1.0], [2.5 / 8, 1.5 / 4, 0.5]]
    np.testing.assert_allclose(superpixels(image, 0), expected)


def test_a_bright_square_is_found():
    image = np.zeros((28, 28))
    image[8:16, 4:12] = 0.8
    points = superpixels(image)
    inside = points[points[:, 2] > 0.4]
    np.testing.assert_allclose(inside[:, 0].mean(), 8 / 28, atol=0.02)
    np.testing.assert_allclose(inside[:, 1].mean(), 12 / 28, atol=0.02)
    assert (np.diff(points[:, 2]) <= 0).all()
    assert points[:, 2].max() == pytest.approx(0.8)


def test_built_in_digits():
    blocks, schema = built_in_digits()
    sets = concatenate(blocks)
    check_sets(sets, schema, "digits")
    assert len(sets) == 1797
    assert (np.bincount(sets.label) > 170).all()
    assert sets.points[..., 2].max() == 1.0
    assert (np.diff(sets.points[..., 2], axis=1) <= 0).all()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_convert_idx(tmp_path: Path, suffix: str):
    images = np.zeros((3, 28, 28))
    images[:, 10:20, 10:14] = 200
    images[1, 10:20, 14:18] = 100
    source = tmp_path / f"toy-images-idx3-ubyte{suffix}"
    write_idx(source, images)
    write_idx(tmp_path / f"toy-labels-idx1-ubyte{suffix}", np.array([3, 1, 4]))
    assert run(main, [str(source), str(tmp_path / "toy.h5")]) == 0
    with PointFile(tmp_path / "toy.h5") as file:
        sets = file.read(0, 3)
        assert file.schema == SCHEMA
    assert sets.label.tolist() == [3, 1, 4]
    assert sets.points[:, 0, 2] == pytest.approx(200 / 255, abs=0.02)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "toy-labels-idx1").unlink(), "no such file"),
        (lambda folder: write_idx(folder / "toy-labels-idx1", np.zeros(2)), "3 images and 2"),
        (lambda folder: write_idx(folder / "toy-labels-idx1", np.full(3, 12)), "label 12"),
        (lambda folder: write_idx(folder / "toy-images-idx3", np.zeros((3, 9, 9))), "is empty"),
        (
            lambda folder: (folder / "toy-images-idx3").write_bytes(
                (folder / "toy-images-idx3").read_bytes()[:200]
            ),
            "truncated",
        ),
    ],
)
def test_bad_idx_is_one_line(tmp_path: Path, damage, reason: str, capsys):
    write_idx(tmp_path / "toy-images-idx3", np.ones((3, 9, 9)))
    write_idx(tmp_path / "toy-labels-idx1", np.zeros(3))
    damage(tmp_path)
    assert run(main, [str(tmp_path / "toy-images-idx3"), str(tmp_path / "toy.h5")]) == 2
    line = capsys.readouterr().err
    assert reason in line
    assert line.count("\n") == 1
    assert not (tmp_path / "toy.h5").exists()


@pytest.mark.skipif(not MNIST.is_dir(), reason="shared/data/mnist is not here")
def test_mnist_has_the_superpixels_asked_for():
    with gzip.open(MNIST / "t10k-images-idx3-ubyte.gz") as file:
        content = file.read(16 + 200 * 784)
    images = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28) / 255
    found = [superpixels(image) for image in images]
    counts = np.array([len(points) for points in found])
    assert 20 < counts.mean() < 32
    kept = sum(p[:25, 2].sum() for p in found) / sum(p[:, 2].sum() for p in found)
    assert kept > 0.95


def test_labels_must_be_digits():
    from kerasgen.data.superpixels import image_sets

    with pytest.raises(InputError, match="allowed: digits 0 to 9"):
        next(image_sets(np.ones((1, 4, 4)), np.array([10]), 0, 25, "toy"))
