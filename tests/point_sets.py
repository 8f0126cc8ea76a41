"""Small samples of point sets for tests."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from kerasgen.data.jets import SCHEMA
from kerasgen.data.point_store import write_points
from kerasgen.data.points import PointSets, build_point_sets


def toy_jets(n: int, size: int = 6, seed: int = 0) -> PointSets:
    """Gluons (narrow) and quarks (narrower) of 2 to ``size`` constituents."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    counts = rng.integers(2, size + 1, n)
    weights = rng.gamma(1.0, 1.0, (n, size)) + 0.05
    weights *= np.arange(size) < counts[:, None]
    pt = np.sort(weights / weights.sum(axis=1, keepdims=True), axis=1)[:, ::-1]
    width = np.where(label == 0, 0.15, 0.05)[:, None, None]
    points = np.concatenate([rng.normal(0, 1, (n, size, 2)) * width, pt[..., None]], -1)
    axes = np.stack([rng.uniform(900, 1100, n), rng.normal(0, 0.7, n), pt[:, 0] * 100, counts], -1)
    return build_point_sets(points, counts, label, axes)


def write_toy_jets(path: Path, n: int = 600) -> None:
    """A kerasgen HDF5 file of such jets."""
    write_points(path, SCHEMA, [toy_jets(n)], "tests")


def write_jetnet(path: Path, sets: PointSets) -> None:
    """A file of jets in the form of doi:10.5281/zenodo.6975118 (30) and 6975117 (150 particles)."""
    mask = sets.mask[..., None].astype(np.float32)
    with h5py.File(path, "w") as file:
        file["particle_features"] = np.concatenate([sets.points, mask], axis=-1)
        file["jet_features"] = sets.features


def toy_superpixels(n: int, size: int = 25, seed: int = 0) -> PointSets:
    """Digits of 10 to ``size`` points anywhere, the most intense first."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(10, size + 1, n)
    points = rng.uniform(0, 1, (n, size, 3))
    points[..., 2] = np.sort(points[..., 2], axis=1)[:, ::-1]
    return build_point_sets(points, counts, rng.integers(0, 10, n), counts[:, None])
