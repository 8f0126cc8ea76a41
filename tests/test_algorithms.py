"""Conformance of every registered algorithm; an algorithm is tried by existing.

The third one lives in ``third_algorithm``: one folder, found by its entry point.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from point_sets import write_toy_jets
from small_run import write_events

from kerasgen.backend.checkpoint import load_weights, save_weights
from kerasgen.command import run
from kerasgen.config import RunConfig, to_toml
from kerasgen.kinds.pixels import PIXELS
from kerasgen.kinds.points import POINTS
from kerasgen.models.algorithm import Algorithm, algorithm_of, algorithms
from kerasgen.models.trained import config_from_table, load_trained, read_config
from kerasgen.run_folder import LAST, WEIGHTS, read_metrics
from kerasgen.training import trainer
from kerasgen.zoo import evaluate, export, generate, train
from kerasgen.zoo.lookup import load_model

THIRD = Path(__file__).parent / "third_algorithm"
# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
WRITE = {"pixels": write_events, "points": write_toy_jets}
SMALL = {
    "pixels": {"data.events": 0, "data.held_out": 4, "training.evaluate_events": 2,
               "evaluation.events": 4},
    "points": {"data.events": 0, "data.held_out": 200, "training.evaluate_events": 100,
               "evaluation.events": 150, "evaluation.batches": 2, "evaluation.batch": 20},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A small run of an algorithm, trained through the command, and how to train it again."""

    algorithm: Algorithm
    folder: Path
    arguments: list[str]

    @property
    def config(self) -> RunConfig:
        return read_config(self.folder)

    def train(self, folder: Path, *more: str) -> int:
        """Train the same run in another folder."""
        return run(train.main, [*self.arguments, "--run", str(folder), *more])


@pytest.fixture(scope="module", params=sorted(algorithms()))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    algorithm = algorithm_of(request.param)
    folder = tmp_path_factory.mktemp(algorithm.name)
    WRITE[algorithm.kind.name](folder / "events.h5")
    table: dict[str, Any] = {"recipe": "small", "algorithm": algorithm.name}
    changes = SMALL[algorithm.kind.name] | algorithm.smallest
    changes |= {"training.evaluate_every": 3, "data.source": str(folder / "events.h5")}
    for key, value in changes.items():
        section, name = key.split(".")
        table.setdefault(section, {})[name] = value
    recipe = folder / "small.toml"
    recipe.write_text(to_toml(config_from_table(table)))
    made = Case(algorithm, folder / "run", [str(recipe)])
    assert made.train(made.folder) == 0
    return made


@pytest.fixture
def opened(case: Case) -> Iterator[Any]:
    with case.algorithm.kind.open(case.config.data) as data:
        yield data


def built(case: Case, data: Any) -> tuple[Any, Any]:
    """A model at its start, and its training batches."""
    fitted = case.algorithm.fit(case.config, data)
    model = case.algorithm.build(case.config, data.schema, fitted)
    return model, case.algorithm.batches(case.config, data, fitted)


def weights(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, x: found.update({name: x[()]}) if isinstance(x, h5py.Dataset) else None
        )
    return found


def arrays(events: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(x) for name, x in vars(events).items()}


def test_the_third_algorithm_is_there() -> None:
    assert {"pxd_gan", "sparse_vae", "gaussian_points"} == set(algorithms())


def test_every_stage_steps_and_names_its_terms(case: Case, opened: Any) -> None:
    model, batches = built(case, opened)
    start = 0
    for stage, end in case.algorithm.stages(case.config):
        case.algorithm.begin_stage(model, stage, batches, True)
        assert model.stage == stage
        model.iterations.assign(start)
        (batch,) = batches.dataset(start, 1)
        terms = trainer.compiled_step(model, tf.distribute.get_strategy())(batch)
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


def test_a_resumed_run_is_the_one_that_was_never_interrupted(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, times = tmp_path / "run", []
    checkpoint = trainer.checkpoint

    def interrupted(*arguments: Any) -> None:
        times.append(1)
        if len(times) == 2:
            raise KeyboardInterrupt
        checkpoint(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "checkpoint", interrupted)
        assert case.train(folder) == 130
    assert not (folder / WEIGHTS).exists()
    resume = [case.arguments[0], "--run", str(folder), "--resume"]
    assert run(train.main, resume) == 0
    for name in (LAST, WEIGHTS):
        a, b = weights(folder / name), weights(case.folder / name)
        assert a.keys() == b.keys()
        for key, values in a.items():
            np.testing.assert_array_equal(values, b[key], err_msg=f"{name}: {key}")
    lines = [[x["step"] for x in read_metrics(f)] for f in (folder, case.folder)]
    assert lines[0] == lines[1]


def test_a_failure_goes_back_to_the_start_of_its_stage(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first interval of the last stage fails once: the stage begins twice, and ends."""
    last, begun, failed = case.algorithm.stages(case.config)[-1][0], [], []
    train_steps, begin_stage = trainer.train_steps, type(case.algorithm).begin_stage

    def failing(training: Any, *arguments: Any) -> str:
        if training.model.stage == last and not failed:
            failed.append(last)
            return "it shall fail"
        return train_steps(training, *arguments)

    def begin(self: Any, model: Any, stage: str, batches: Any, fresh: bool) -> None:
        begun.append((stage, fresh))
        begin_stage(self, model, stage, batches, fresh)

    monkeypatch.setattr(trainer, "train_steps", failing)
    monkeypatch.setattr(type(case.algorithm), "begin_stage", begin)
    assert case.train(tmp_path / "run", "--set", "training.on_collapse=rollback") == 0
    assert begun.count((last, True)) == 2
    assert {fresh for _, fresh in begun} == {True}


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


@contextmanager
def keras_defaults(policy: str, floatx: str, image_data_format: str, epsilon: float) -> Any:
    """Other defaults of Keras, as a user or ``keras.json`` sets them."""
    names = ("dtype_policy", "floatx", "image_data_format", "epsilon")
    before = [getattr(keras.config, name)() for name in names]
    values = [policy, floatx, image_data_format, epsilon]
    try:
        for name, value in zip(names, values, strict=True):
            getattr(keras.config, f"set_{name}")(value)
        yield
        left = [getattr(keras.config, name)() for name in names]
        assert [left[0].name, *left[1:]] == values
    finally:
        for name, value in zip(names, before, strict=True):
            getattr(keras.config, f"set_{name}")(value)


def test_a_run_does_not_depend_on_the_defaults_of_keras(case: Case, tmp_path: Path) -> None:
    """Training, evaluation, generation and export: the same bits, and the defaults are kept.

    With float64 the default of whole numbers is int64.
    """
    folder, kind = tmp_path / "run", case.algorithm.kind
    expected = arrays(kind.generate(load_trained(case.folder), range(3), 4))
    with keras_defaults("mixed_float16", "float64", "channels_first", 0.1):
        assert case.train(folder) == 0
        served = load_model(str(folder / "exported" / "small"))
        found = [kind.generate(model, range(3), 4) for model in (load_trained(folder), served)]
    for name in (LAST, WEIGHTS):
        a, b = weights(folder / name), weights(case.folder / name)
        assert a.keys() == b.keys()
        for key, values in a.items():
            assert values.dtype == b[key].dtype
            np.testing.assert_array_equal(values, b[key], err_msg=f"{name}: {key}")
    for name, values in expected.items():
        np.testing.assert_array_equal(arrays(found[0])[name], values, err_msg=name)
        np.testing.assert_allclose(arrays(found[1])[name], values, atol=1e-6, err_msg=name)
    reports = [
        json.loads((f / "report" / "metrics.json").read_text()) for f in (folder, case.folder)
    ]
    assert reports[0]["metrics"] == reports[1]["metrics"]


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
        resampled = case.algorithm.resampled(load_trained(case.folder).generator)
        assert same["baseline"]["resampled"] == resampled
        assert f">100 000{resampled and ', '}{resampled}</td>" in page


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
