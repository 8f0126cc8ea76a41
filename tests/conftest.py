"""Settings that must be in place before the tests, and TensorFlow, are imported."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# One thread per worker: the workers share the cores, and the networks are small.
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
for name in ONE_THREAD:
    os.environ.setdefault(name, "1")
# Tests compare bits, which a GPU does not promise; set the variable to test on one all the same.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

# JAX compiles a step once for all processes of the session.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="kerasgen-jax-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# An algorithm beside those of the package: its entry point is found on the path.
sys.path.append(str(Path(__file__).parent / "third_algorithm"))

# No deadline: on a busy machine, or on the first call of TensorFlow, an example takes its time.
settings.register_profile("kerasgen", deadline=None)
settings.load_profile("kerasgen")

# A job in the background of a script starts with SIGINT ignored, and so would the processes that
# the tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


# Trainings, model servers, networks of recipes, many processes: ``make check`` leaves them out.
SLOW = (
    "training", "examples", "serving", "test_algorithms.py", "test_without_tensorflow.py",
    "test_generate.py", "test_release.py", "test_search.py", "test_one_run.py", "test_gan.py",
    "test_statistics.py", "test_generators.py", "test_sparse_vae.py", "test_one_image.py",
    "test_discriminators.py", "test_gan_backends.py", "test_sampling.py", "test_two_sample.py",
    "test_jet_metrics.py", "test_vae_backends.py", "test_flow_backends.py",
    "test_keras_import.py", "test_evaluate.py", "test_evaluate_run.py", "test_samples.py",
    "test_figures.py", "test_resume.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, and run trainings first.

    One worker is then busy with them while the other runs nearly all the rest. The Makefile keeps
    xdist from moving them to the end, because their files have few tests.
    """
    for item in items:
        if set(item.path.parts) & set(SLOW):
            item.add_marker("slow")
    items.sort(key=lambda item: "training" not in item.path.parts)
