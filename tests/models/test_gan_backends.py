"""The GAN on TensorFlow and on JAX: the same losses and weights, step by step.

Weights are written by the one backend and loaded by the other before every step; images and noise
come from numpy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gan_parity import CASES, STEPS

SCRIPT = Path(__file__).parent / "gan_parity.py"
# Compiles in less time; the steps are few.
QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """Terms and weights of all cases by backend; TensorFlow writes the start."""
    folder = tmp_path_factory.mktemp("parity")
    arrays = {}
    for backend in ("tensorflow", "jax"):
        environment = os.environ | QUICK | {
            "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        command = [sys.executable, "-W", "error", str(SCRIPT), str(folder), backend]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        arrays[backend] = dict(np.load(folder / f"{backend}.npz"))
    return arrays


@pytest.mark.parametrize("case", CASES)
def test_every_loss_term_is_that_of_the_other_backend(case: str, found) -> None:
    ours, theirs = ({k: x for k, x in found[b].items() if k.startswith(f"{case}/terms/")}
                    for b in ("tensorflow", "jax"))  # fmt: skip
    assert ours.keys() == theirs.keys()
    assert len({k.split("/")[2] for k in ours}) == STEPS
    for name, value in ours.items():
        assert np.isfinite(value)
        np.testing.assert_allclose(theirs[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    terms = {k.rsplit("/", 1)[1] for k in ours}
    expected = {"adversarial", "contrastive", "consistency", "penalty", "pixel_aware"}
    expected |= {"orthogonal", "loss"}
    assert terms == expected


@pytest.mark.parametrize("case", CASES)
def test_the_ema_weights_are_those_of_the_other_backend(case: str, found) -> None:
    names = [k for k in found["jax"] if k.startswith(f"{case}/ema/")]
    assert len(names) > 20 * STEPS
    for name in names:
        a, b = found["tensorflow"][name], found["jax"][name]
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3, err_msg=name)
