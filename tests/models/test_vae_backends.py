"""The sparse VAE on TensorFlow and on JAX: the same steps, weights and sets, to rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import vae_steps
from vae_steps import CASES, RELEASED, STEPS, build, held_out_terms, steps

from kerasgen.backend.checkpoint import load_weights
from kerasgen.models.trained import load_trained

pytest.importorskip("jax")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``vae_steps.py`` wrote on JAX, and this process's weights."""
    folder = tmp_path_factory.mktemp("jax")
    here = Path(vae_steps.__file__)
    path = os.pathsep.join([str(here.parents[1]), str(here.parents[2])])
    # Keras copies variables into numpy 2 in the old way.
    warnings = ["-W", "error", "-W", "ignore:__array__ implementation:DeprecationWarning"]
    command = [sys.executable, *warnings, str(here), str(folder)]
    fast = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # to compile
    environment = os.environ | fast | {"KERAS_BACKEND": "jax", "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", CASES)
def test_steps_agree(name: str, on_jax: Path, tmp_path: Path):
    found = np.load(on_jax / f"{name}.npz")
    expected = steps(CASES[name], tmp_path / "weights.h5")
    assert set(found) == set(expected)
    terms = {"reconstruction", "kl", "loss"} | (
        {"features"} if CASES[name].loss.features else set()
    )
    assert {x for x in found if x.startswith("autoencoder")} == {
        f"autoencoder/{term}/{k}" for term in terms for k in range(STEPS)
    }
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
    vae = build(CASES[name])
    before = held_out_terms(CASES[name], vae)
    load_weights(vae, on_jax / f"{name}.weights.h5")
    assert int(vae.step) == 2 * STEPS
    after = held_out_terms(CASES[name], vae)
    assert abs(after["reconstruction"] - before["reconstruction"]) > 1e-3
    for key, value in after.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", RELEASED)
def test_released_weights_make_the_same_sets(name: str, on_jax: Path):
    found = np.load(on_jax / f"{name}.npz")
    generator = load_trained(vae_steps.ZOO / name).generator
    seed = np.stack([np.full(vae_steps.SETS, 5), np.arange(vae_steps.SETS)], axis=-1)
    for key, values in generator.generate(seed=seed).items():
        np.testing.assert_allclose(found[key], values, rtol=1e-4, atol=1e-4, err_msg=key)
