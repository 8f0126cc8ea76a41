"""Conformance of every registered algorithm; an algorithm is tried by existing.

The third one lives in ``third_algorithm``: one folder, found by its entry point.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from shared_runs import WRITE, Case, arrays, shared_case

from kerasgen.backend.checkpoint import load_weights, save_weights
from kerasgen.command import run
from kerasgen.kinds.pixels import PIXELS
from kerasgen.kinds.points import POINTS
from kerasgen.models.algorithm import algorithms
from kerasgen.models.trained import load_trained
from kerasgen.training import trainer
from kerasgen.zoo import evaluate, export, generate
from kerasgen.zoo.lookup import load_model

THIRD = Path(__file__).parent / "third_algorithm"
# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module", params=sorted(algorithms()))
def case(request: pytest.FixtureRequest, shared_folder: Path) -> Case:
    return shared_case(request.param, shared_folder)


@pytest.fixture
def opened(case: Case) -> Iterator[Any]:
    with case.algorithm.kind.open(case.config.data) as data:
        yield data


def built(case: Case, data: Any, config: Any = None) -> tuple[Any, Any]:
    """A model at its start, and its training batches."""
    config = config or case.config
    fitted = case.algorithm.fit(config, data)
    model = case.algorithm.build(config, data.schema, fitted)
    return model, case.algorithm.batches(config, data, fitted)


def test_the_third_algorithm_is_there() -> None:
    own = {"cluster_growth", "flow_matching", "pxd_gan", "sparse_vae"}
    assert own | {"gaussian_points"} == set(algorithms())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_stage_steps_and_names_its_terms(case: Case, opened: Any, precision: str) -> None:
    if not hasattr(case.config.training, "precision"):
        pytest.skip(f"{case.algorithm.name} has one precision")
    training = replace(case.config.training, precision=precision)
    model, batches = built(case, opened, replace(case.config, training=training))
    start = 0
    for stage, end in case.algorithm.stages(case.config):
        case.algorithm.begin_stage(model, stage, batches, True)
        assert model.stage == stage
        model.iterations.assign(start)
        step = trainer.compiled_step(model)
        step.read_variables()
        terms = step(batches.batch_at(start))
        step.write_variables()
        assert int(model.step) == start + 1
        assert all(np.isfinite(float(x)) for x in terms.values())
        networks = {name.split("/")[0] for name in terms}
        assert {f"{network}/loss" for network in networks} <= set(terms)
        start = end
    assert model.optimizers
    assert start == case.algorithm.stages(case.config)[-1][1]


def test_weights_survive_their_file(case: Case, opened: Any, tmp_path: Path) -> None:
    model, _ = built(case, opened)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "float" in str(weight.dtype):
            weight.assign(rng.normal(size=weight.shape))
    save_weights(model, tmp_path / "x.weights.h5")
    keras.utils.clear_session()
    other, _ = built(case, opened)
    load_weights(other, tmp_path / "x.weights.h5")
    assert len(model.weights) == len(other.weights) > 3
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_event_does_not_depend_on_its_batch(case: Case) -> None:
    model = load_trained(case.folder)
    kind = case.algorithm.kind
    four = arrays(kind.generate(model, range(2, 6), 9))
    apart = [arrays(kind.generate(model, range(k, k + 1), 9)) for k in range(2, 6)]
    for name, values in four.items():
        if name != "indptr":
            joined = np.concatenate([x[name] for x in apart])
            np.testing.assert_array_equal(values, joined, err_msg=name)
    other = arrays(kind.generate(model, range(2, 6), 10))
    assert any(not np.array_equal(other[name], values) for name, values in four.items())


def test_the_exported_model_makes_the_same_events(case: Case, tmp_path: Path) -> None:
    assert run(export.main, [str(case.folder), "--out", str(tmp_path)]) == 0
    exported, trained = load_model(str(tmp_path / "small")), load_trained(case.folder)
    calibrated = "calibrated" in case.algorithm.variants(case.config)
    assert exported.calibrated == trained.calibrated == calibrated
    assert (exported.identity, exported.schema) == (trained.identity, trained.schema)
    kind = case.algorithm.kind
    ours, theirs = (arrays(kind.generate(m, range(3), 4)) for m in (trained, exported))
    for name, values in ours.items():
        np.testing.assert_allclose(theirs[name], values, atol=1e-6, err_msg=name)
    for name, model in (("run", case.folder), ("served", tmp_path / "small")):
        out = ["--out", str(tmp_path / f"{name}.h5")]
        assert run(generate.main, [str(model), "--events", "3", "--seed", "4", *out]) == 0
    kinds = {kind.name: kind.is_file(tmp_path / "served.h5") for kind in (PIXELS, POINTS)}
    assert kinds == {kind.name: kind is case.algorithm.kind for kind in (PIXELS, POINTS)}


def test_a_model_is_not_compared_with_events_of_another_kind(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (other,) = {PIXELS, POINTS} - {case.algorithm.kind}
    WRITE[other.name](tmp_path / "other.h5")
    exported = str(case.folder / "exported" / "small")
    files = ["--reference", str(tmp_path / "other.h5"), "--candidate", exported]
    assert run(evaluate.main, [*files, "--out", str(tmp_path / "report")]) == 2
    line = capsys.readouterr().err
    assert f"a model of {case.algorithm.kind.name}" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_the_report_of_a_run(case: Case, tmp_path: Path) -> None:
    variants = set(case.algorithm.variants(case.config))
    document = json.loads((case.folder / "report" / "metrics.json").read_text())
    assert variants <= set(document["candidates"])
    assert document["candidate"] == case.algorithm.variants(case.config)[-1]
    assert run(evaluate.main, [str(case.folder), "--out", str(tmp_path / "report")]) == 0
    same = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert same["metrics"] == document["metrics"]
    known = case.algorithm.kind.metric_names(case.config.data)
    assert set(same["metrics"]) & set(known)
    page = (tmp_path / "report" / "report.html").read_text()
    if same.get("baseline"):
        assert ">100 000</td>" in page


def test_parameters_can_be_counted(case: Case) -> None:
    trained = load_trained(case.folder)
    networks = case.algorithm.networks(case.config, trained.schema, trained.generator)
    assert networks
    assert all(network.count_params() > 0 for network in networks.values())
    seen, unit = case.algorithm.examples(case.config)
    assert seen > 0
    assert unit.endswith("s")


def test_without_its_entry_point_the_third_algorithm_is_unknown(tmp_path: Path) -> None:
    """The commands know it by the folder on the path alone."""
    command = [
        sys.executable,
        "-m",
        "kerasgen",
        "train",
        str(THIRD / "gaussian_points/recipe.toml"),
    ]
    dry = ["--dry-run", "--run", str(tmp_path / "run")]
    for path, code, text in ((str(THIRD), 0, ""), ("", 2, "algorithm = 'gaussian_points'")):
        environment = os.environ | {"PYTHONPATH": path, "KERASGEN_CACHE": str(tmp_path)}
        done = subprocess.run([*command, *dry], env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert text in done.stderr


def test_a_package_that_cannot_be_imported_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[kerasgen.algorithms]\nbroken = not_there:ALGORITHM\n"
    )
    (tmp_path / "recipe.toml").write_text('algorithm = "broken"\n')
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "kerasgen", "train"]
    for recipe, code in ((str(tmp_path / "recipe.toml"), 2), ("pxd_biggan", 0)):
        done = subprocess.run(
            [*command, recipe, "--dry-run"], env=environment, cwd=tmp_path, capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert ("not_there:ALGORITHM: ModuleNotFoundError" in done.stderr) == (code == 2)
        assert "Traceback" not in done.stderr
