"""Flow matching on TensorFlow and on JAX: the same steps, weights and sets, to rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import flow_steps
import numpy as np
import pytest
from flow_steps import STEPS, build, results

from kerasgen.backend.checkpoint import load_weights

pytest.importorskip("jax")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``flow_steps.py`` wrote on JAX."""
    folder = tmp_path_factory.mktemp("jax")
    here = Path(flow_steps.__file__)
    path = os.pathsep.join([str(here.parent), str(here.parents[1])])
    # Keras copies variables into numpy 2 in the old way.
    warnings = ["-W", "error", "-W", "ignore:__array__ implementation:DeprecationWarning"]
    command = [sys.executable, *warnings, str(here), str(folder)]
    fast = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # to compile
    environment = os.environ | fast | {"KERAS_BACKEND": "jax", "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def test_steps_and_sets_agree(on_jax: Path):
    model = build()
    found, expected = np.load(on_jax / "results.npz"), results(model)
    assert set(found) == set(expected)
    losses = [float(expected[f"field/points/{k}"]) for k in range(STEPS)]
    assert np.ptp(losses) > 1e-2
    for k in range(STEPS):
        for term in ("points", "summary", "loss"):
            key = f"field/{term}/{k}"
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-5)
    for name in ("count", "label", "total", "jet"):
        np.testing.assert_array_equal(found[name], expected[name])
    # Adam divides by small gradients in the first steps, so weights agree less than losses.
    np.testing.assert_allclose(found["points"], expected["points"], atol=2e-3)
    assert expected["points"].std() > 0.05


def test_weights_of_one_backend_load_on_the_other(on_jax: Path):
    model = build()
    before = [w.numpy() for w in model.ema.weights]
    load_weights(model, on_jax / "model.weights.h5")
    assert int(model.step) == STEPS
    assert any((w.numpy() != x).any() for w, x in zip(model.ema.weights, before, strict=True))
