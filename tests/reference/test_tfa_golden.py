"""Our layers and losses against tensorflow-addons (arrays: README.md in this folder)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasgen.layers.spectral import (
    SpectralConv2D,
    SpectralDense,
    SpectralEmbedding,
    SpectralLayer,
    power_iteration,
)
from kerasgen.losses.contrastive import margin_terms

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

# name: (our layer, shape of its input)
LAYERS: dict[str, tuple[Callable[[], SpectralLayer], tuple[int, ...]]] = {
    "dense": (lambda: SpectralDense(5), (2, 8)),
    "conv3x3": (lambda: SpectralConv2D(6, 3), (2, 5, 5, 4)),
    "conv1x1": (lambda: SpectralConv2D(3, 1), (2, 2, 2, 16)),
    "conv_one_filter": (lambda: SpectralConv2D(1, 3), (2, 5, 5, 4)),
    "embedding": (lambda: SpectralEmbedding(40, 8), (2,)),
}


def iterated(name: str, iterations: int) -> tuple[SpectralLayer, dict[str, np.ndarray]]:
    """Our layer after that many power iterations from the stored start, and the arrays of it."""
    with np.load(GOLDEN / f"tfa_spectral_normalization_{iterations}.npz") as file:
        golden = {key[len(name) + 1 :]: file[key] for key in file if key.startswith(f"{name}_")}
    make, input_shape = LAYERS[name]
    layer = make()
    layer.build(input_shape)
    layer.kernel.assign(golden["w"])
    layer.u.assign(golden["u"])
    for _ in range(iterations):
        power_iteration(layer)
    return layer, golden


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_power_iteration(name: str, iterations: int):
    layer, golden = iterated(name, iterations)
    np.testing.assert_allclose(layer.u, golden["u_next"], atol=1e-6)
    np.testing.assert_array_equal(layer.kernel, golden["w"])  # theirs overwrites it
    # Ours is read half an iteration later, on the way up to the largest singular value.
    largest = np.linalg.svd(golden["w"].reshape(-1, golden["w"].shape[-1]))[1][0]
    assert golden["sigma"] * (1 - 1e-6) <= layer.sigma() <= largest * (1 + 1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_normalised_kernel_when_converged(name: str):
    layer, golden = iterated(name, 200)
    np.testing.assert_allclose(layer.sigma(), golden["sigma"], rtol=2e-6)
    np.testing.assert_allclose(layer.effective_kernel(), golden["w_over_sigma"], atol=2e-6)


def test_margin_loss():
    golden = np.load(GOLDEN / "tfa_contrastive.npz")
    same = keras.ops.cast(golden["same"], "float32")
    for margin, loss, mean in zip(golden["margin"], golden["loss"], golden["mean"], strict=True):
        ours = margin_terms(same, golden["distance"], float(margin))
        np.testing.assert_allclose(ours, loss, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(np.mean(ours), mean, rtol=1e-6)
