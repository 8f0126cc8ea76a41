"""Whole runs of the sparse VAE through the commands: trained, interrupted, resumed, used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import uproot
from point_sets import toy_jets, write_toy_jets
from shared_runs import assert_same_tensors, tensors
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from kerasgen.command import run
from kerasgen.data.jets import SCHEMA
from kerasgen.data.point_source import PointDataSettings, read_rows, read_sets
from kerasgen.data.point_store import PointFile, write_points
from kerasgen.data.set_sampler import SetSampler
from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.evaluation.point_sets import PointEvaluationSettings
from kerasgen.models.trained import read_config
from kerasgen.run_folder import read_metrics
from kerasgen.serving.saved_model import load_exported
from kerasgen.serving.warm_up import WARM_UP
from kerasgen.training.monitor import Monitor
from kerasgen.zoo import evaluate, export, generate, publish, release, train
from kerasgen.zoo.catalogue import zoo_folder

# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CHANGES = [
    "data.held_out=200", "data.points=0", "network.width=16", "network.latent_size=6",
    "prior.layers=2", "prior.width=8", "prior.steps=30", "training.steps=40",
    "training.batch=32", "training.evaluate_every=25", "training.evaluate_events=100",
    "evaluation.events=200", "evaluation.batches=2", "evaluation.batch=20", "data.classes=[]",
    "network.pt=true",
]  # fmt: skip
SETS = [x for change in CHANGES for x in ("--set", change)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jets") / "jets.h5"
    write_toy_jets(path)
    return path


def train_arguments(data: Path, folder: Path, *more: str) -> list[str]:
    return ["jet_vae_flow", "--data", str(data), "--run", str(folder), *SETS, *more]


@pytest.fixture(scope="module")
def whole(data: Path) -> Path:
    folder = data.parent / "whole"
    assert run(train.main, train_arguments(data, folder)) == 0
    return folder


def test_held_out_sets_have_the_classes_of_the_rest_whatever_the_order_of_the_file(
    tmp_path: Path,
) -> None:
    jets = toy_jets(1000)
    path = tmp_path / "sorted.h5"
    write_points(path, SCHEMA, [jets.take(np.argsort(jets.label))], "tests")
    with PointFile(path) as file:
        training, held_out = read_sets(file, PointDataSettings(source=str(path), held_out=400))
    assert (len(training), len(held_out)) == (600, 400)
    assert abs(training.label.mean() - held_out.label.mean()) < 0.1


def test_run_folder_is_complete(whole: Path):
    for name in (
        "config.toml", "schema.json", "normaliser.json", "conditions.npz", "model.weights.h5",
        "checkpoints/last.weights.h5", "report/report.html", "report/metrics.json",
        "report/features.png", "report/substructure.png", "report/sets.png", "report/classes.png",
    ):  # fmt: skip
        assert (whole / name).is_file(), name
    steps = [json.loads(x)["step"] for x in (whole / "metrics.jsonl").read_text().splitlines()]
    assert steps == [25, 40, 50, 70, 70]
    document = json.loads((whole / "report/metrics.json").read_text())
    assert {"w1m", "w1p", "w1efp", "fpd", "kpd", "cov", "mmd"} <= set(document["metrics"])
    assert {"w1_tau21", "w1_tau32", "w1_d2"} <= set(document["metrics"])
    for metric in document["metrics"].values():
        assert metric["floor"] is not None
        if metric["value"] is None:  # not defined for a network that has hardly learned
            assert not metric["within"]
        else:
            assert metric["error"] >= 0
    assert not list(whole.rglob(".partial*"))


def test_interrupted_where_the_flow_begins_it_ends_in_the_same_bits(
    data: Path, whole: Path, tmp_path: Path, monkeypatch
):
    folder, times = tmp_path / "run", []
    evaluate_step = Monitor.evaluate

    def interrupted(self, step: int) -> tuple[str, bool]:
        times.append(step)
        if len(times) == 2:
            raise KeyboardInterrupt
        return evaluate_step(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "evaluate", interrupted)
        assert run(train.main, train_arguments(data, folder)) == 130
    assert not (folder / "model.weights.h5").exists()
    monkeypatch.setattr("kerasgen.zoo.run.finish", lambda *_: None)
    assert run(train.main, ["jet_vae_flow", "--run", str(folder), "--resume"]) == 0
    assert_same_tensors(folder / "model.weights.h5", whole / "model.weights.h5")


@pytest.mark.parametrize("on_collapse", ["stop", "rollback"])
def test_a_run_that_diverges_stops_and_keeps_its_checkpoint(
    data: Path, tmp_path: Path, on_collapse: str, capsys
):
    folder = tmp_path / "run"
    changes = ["training.rate=1e30", f"training.on_collapse={on_collapse}"]
    sets = [x for change in changes for x in ("--set", change)]
    assert run(train.main, train_arguments(data, folder, *sets)) == 1
    out, error = capsys.readouterr()
    assert error.strip().splitlines()[-1].startswith("kerasgen: step ")
    assert "last good checkpoint" in error
    # The rates, 1/2, 1/4, 1/8 and 1/16 of them are tried.
    assert out.count("half the rates") == (4 if on_collapse == "rollback" else 0)
    last = tensors(folder / "checkpoints/last.weights.h5")
    assert all(np.isfinite(x).all() for x in last.values())


def test_generated_files(whole: Path, tmp_path: Path):
    def file(name: str, *more: str, source: Path = whole) -> Path:
        out = tmp_path / name
        assert run(generate.main, [str(source), "--out", str(out), "--seed", "5", *more]) == 0
        return out

    with PointFile(file("all.h5", "--events", "20")) as stored:
        sets = stored.read(0, 20)
        assert stored.attributes["seed"] == 5
    second = ["--events", "20", "--shards", "2", "--shard", "1"]
    with PointFile(file("second.h5", *second)) as stored:
        np.testing.assert_array_equal(stored.read(0, 10).points, sets.points[10:])
    arrays = np.load(file("all.npz", "--events", "20"))
    np.testing.assert_array_equal(arrays["points"], sets.points)
    with uproot.open(file("all.root", "--events", "20")) as root:
        assert root.classnames() == {"sets;1": "TTree"}
        found = root["sets"].arrays()
    assert found["pt_rel"].to_list()[3] == sets.points[3, sets.mask[3], 2].tolist()
    with PointFile(file("hard.h5", "--events", "20", "--pt", "1200")) as stored:
        hard = stored.read(0, 20)
    assert set(hard.features[:, 0]) == {1200.0}
    exported = whole / "exported" / "jet_vae_flow"
    with PointFile(file("served.h5", "--events", "20", source=exported)) as stored:
        np.testing.assert_allclose(stored.read(0, 20).points, sets.points, atol=1e-6)


def test_export_and_signatures(whole: Path, tmp_path: Path):
    assert run(export.main, [str(whole), "--out", str(tmp_path)]) == 0
    folder = tmp_path / "jet_vae_flow"
    assert [p.name for p in folder.iterdir()] == ["1"]
    model = load_exported(folder).generator.model
    names = {"serving_default", "generate", "generate_class", "encode", "decode", "reconstruct"}
    assert set(model.signatures) == names | {"generate_pt"}
    asked = model.signatures["generate_pt"](
        seed=tf.zeros([3, 2], tf.int64), pt=tf.constant([900.0, 1200.0, -1.0])
    )
    np.testing.assert_array_equal(asked["jet"][:2, 0], [900, 1200])
    assert (asked["points"][0].numpy() != asked["points"][1].numpy()).any()
    assert asked["count"].numpy()[2] == -1
    seed = tf.constant([[3, 1], [3, 2]], tf.int64)
    both = model.signatures["serving_default"](seed=seed)["points"]
    one = model.signatures["generate"](seed=seed[1:])["points"]
    assert both.shape == (2, 6, 3)
    np.testing.assert_array_equal(one[0], both[1])
    records = tf.data.TFRecordDataset(str(folder / "1" / WARM_UP)).as_numpy_iterator()
    requests = [PredictionLog.FromString(x).predict_log.request for x in records]
    assert [r.model_spec.signature_name for r in requests] == ["generate", "generate_class"]
    for request in requests:
        values = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        assert len(model.signatures[request.model_spec.signature_name](**values)["points"]) == 1
    table = json.loads((folder / "1" / "manifest.json").read_text())
    assert table["evaluation"]["metrics"]["w1m"]["value"] > 0
    assert table["sha256"]["model.weights.h5"] == checksum(whole / "model.weights.h5")
    (folder / "1" / WARM_UP).write_bytes(b"other")
    with pytest.raises(InputError, match=r"is not the file that manifest\.json names"):
        load_exported(folder)


def test_a_finished_run_becomes_the_folder_of_a_hub(
    whole: Path, data: Path, tmp_path: Path, capsys
) -> None:
    target = tmp_path / "hub"
    assert run(publish.main, [str(whole), "--to", str(target)]) == 0
    names = {p.name for p in target.iterdir()}
    assert {"README.md", "config.toml", "model.weights.h5", "metrics.json", "sample.png"} <= names
    assert read_config(target).data.source == data.name
    card = (target / "README.md").read_text("utf-8")
    assert str(data.parent) not in card + (target / "metrics.json").read_text("utf-8")
    assert "license" not in card.split("---\n")[1]  # of weights that are not ours
    assert f"% the data: {data.name} (please cite its source)" in card
    out = tmp_path / "jets.h5"
    assert run(generate.main, [str(target), "--events", "50", "--out", str(out)]) == 0
    with PointFile(out) as stored:
        assert len(stored) == 50


def test_a_released_run_is_used_by_its_name_and_is_a_start(
    whole: Path, data: Path, tmp_path: Path, monkeypatch, capsys
):
    zoo = tmp_path / "zoo"
    released = zoo / "jet_vae_flow"
    released.mkdir(parents=True)
    (released / "recipe.toml").write_bytes((zoo_folder() / "jet_vae_flow/recipe.toml").read_bytes())
    assert run(release.main, [str(whole), "--zoo", str(zoo)]) == 0
    monkeypatch.setattr("kerasgen.zoo.catalogue.zoo_folder", lambda: zoo)
    assert read_config(released).data.source == data.name
    before = {p: checksum(p) for p in released.iterdir()}
    out = tmp_path / "jets.h5"
    assert run(generate.main, ["jet_vae_flow", "--events", "50", "--out", str(out)]) == 0
    with PointFile(out) as stored:
        assert len(stored) == 50
    report = ["--events", "150", "--out", str(tmp_path / "report"), "--data", str(data)]
    assert run(evaluate.main, ["jet_vae_flow", *report]) == 0
    started = train_arguments(data, tmp_path / "run", "--init", "zoo")

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kerasgen.training.trainer.train_steps", interrupted)
        assert run(train.main, started) == 130
    assert "Starts from the released weights of jet_vae_flow (zoo:" in capsys.readouterr().out
    assert read_config(tmp_path / "run").training.init.startswith("zoo:")
    (start,) = read_metrics(tmp_path / "run")
    trained = read_metrics(whole)[1]
    assert (start["step"], trained["step"]) == (0, 40)
    own, same = (x["metrics"]["reconstruction"] for x in (start, trained))
    assert own == pytest.approx(same, rel=0.02)
    assert {p: checksum(p) for p in released.iterdir()} == before
    capsys.readouterr()
    other = ["--run", str(tmp_path / "no"), "--set", "network.width=8"]
    assert run(train.main, [*started, *other]) == 2
    assert "networks differ, network.width = 8 and of the released" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_evaluate_again_and_files(whole: Path, data: Path, tmp_path: Path, monkeypatch, capsys):
    small = PointEvaluationSettings(batches=2, batch=20)
    monkeypatch.setattr("kerasgen.evaluation.point_sets.WITHOUT_RUN", small)
    out = tmp_path / "again"
    assert run(evaluate.main, [str(whole), "--events", "150", "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("jet mass / pT (W1)") == 1
    assert (out / "report.html").is_file()
    files = ["--reference", str(data), "--candidate", str(data), "--out", str(tmp_path / "files")]
    assert run(evaluate.main, files) == 0
    document = json.loads((tmp_path / "files/metrics.json").read_text())
    assert document["metrics"]["w1m"]["value"] == 0
    assert document["metrics"]["cov"]["within"]
    exported = str(whole / "exported" / "jet_vae_flow")
    model = ["--reference", str(data), "--candidate", exported, "--events", "150"]
    assert run(evaluate.main, [*model, "--out", str(tmp_path / "model")]) == 0
    judged = json.loads((tmp_path / "model/metrics.json").read_text())
    assert judged["events"] == {"reference": document["events"]["reference"], "generated": 150}
    assert f"{whole.name} (exported)" in judged["data"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["data.classes=[gloun]"], "data.classes must be a list"),
        (['data.classes=["gloun"]'], "did you mean 'gluon'"),
        (["data.points=7"], "has 6 points per set, data.points = 7"),
        (["data.held_out=600"], "none is left to train on"),
        (["network.encoder=dens"], "did you mean 'dense'"),
        (["network.widht=8"], "did you mean 'width'"),
        (["prior.variant=normal"], "prior.steps: above 0 with prior.variant = 'flow'"),
        (["data.coordinates=cartesian"], "data.log_intensity: a component"),
        (["loss.reconstruction=chamfer"], "loss.reconstruction = 'chamfer'"),
        (["data.source=digts"], "did you mean 'digits'"),
        (["evaluation.batch=1"], "evaluation.batch = 1 is too small"),
        (["data.held_out=50"], "data.held_out = 50 is too small"),
        (["loss.reconstruction=ordered"], "network.decoder = 'autoregressive' goes with"),
        (["loss.features=1.0"], "loss.features: 0 with"),
        (["data.coordinates=polar"], "loss.mirror: for"),
        (["data.log_intensity=false"], "network.total: for network.decoder = 'autoregressive'"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_bad_configuration_is_one_line(data, tmp_path, changes, reason, dry, capsys):
    more = [x for change in changes for x in ("--set", change)]
    arguments = train_arguments(data, tmp_path / "run", *more, *dry)
    if "data.source" in changes[0]:
        del arguments[1:3]
    assert run(train.main, arguments) == 2
    line = capsys.readouterr().err
    assert reason in line
    assert line.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_point_sets_do_not_have(whole: Path, tmp_path: Path, capsys):
    out = str(tmp_path / "x.h5")
    for main, more in (
        (evaluate.main, ["--out", str(tmp_path)]),
        (generate.main, ["--events", "2", "--out", out]),
        (export.main, ["--out", str(tmp_path)]),
    ):
        assert run(main, [str(whole), *more, "--no-calibration"]) == 2
        assert "has no calibration" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def numbers(sets: np.ndarray) -> dict[str, np.ndarray]:
    return {"row": sets}


def test_every_set_once_per_epoch():
    sampler = SetSampler(numbers, 10, 4, seed=3)
    rows = np.concatenate([sampler.batch_at(step)["row"] for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    again = SetSampler(numbers, 10, 4, seed=3).batch_at(3)["row"]
    assert again.tolist() == rows[12:16].tolist()


@pytest.mark.parametrize("sets", [40, 43, 47])
def test_windows_hold_part_of_the_sets_and_lose_none(sets: int):
    held = []

    def load(rows: np.ndarray) -> dict[str, np.ndarray]:
        held.append(len(rows))
        return numbers(rows)

    def sampler() -> SetSampler:
        return SetSampler(load, sets, 5, seed=3, window=13, block=4)

    whole = sampler()
    steps = -(-3 * sets // 5)
    rows = np.concatenate([whole.batch_at(step)["row"] for step in range(steps)])
    for epoch in range(3):
        assert sorted(rows[epoch * sets : (epoch + 1) * sets]) == list(range(sets))
    assert max(held) == 12
    assert len(held) <= 3 * -(-sets // 12) + 1  # each window is read once
    assert rows[:sets].tolist() != rows[sets : 2 * sets].tolist()
    resumed = sampler().batch_at(steps - 1)["row"]
    assert resumed.tolist() == rows[-5:].tolist()


def test_rows_are_read_in_any_order(data: Path, monkeypatch):
    monkeypatch.setattr("kerasgen.data.point_source.READ", 50)
    rows = np.random.default_rng(0).permutation(600)[:200]
    with PointFile(data) as file:
        whole, part = file.read(0, 600), read_rows(file, rows, 4)
    np.testing.assert_array_equal(part.points, whole.points[rows][:, :4])
    np.testing.assert_array_equal(part.label, whole.label[rows])


def test_a_dry_run_checks_jets_that_are_to_be_simulated(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path / "cache"))
    for change, reason in (
        ('data.classes=["gluno"]', "did you mean 'gluon'"),
        ("data.points=151", "1 to 150"),
    ):
        arguments = ["jet_vae", "--dry-run", "--run", str(tmp_path / "run"), "--set", change]
        assert run(train.main, arguments) == 2
        assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_superpixels_end_to_end(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kerasgen.metrics.classifier.STEPS", 300)
    changes = [
        "network.width=16", "network.latent_size=4", "training.steps=30", "training.batch=32",
        "training.evaluate_every=30", "training.evaluate_events=100", "evaluation.events=200",
        "evaluation.batches=2", "evaluation.batch=20",
    ]  # fmt: skip
    sets = [x for change in changes for x in ("--set", change)]
    folder = tmp_path / "run"
    assert run(train.main, ["superpixel_vae", "--run", str(folder), *sets]) == 0
    document = json.loads((folder / "report/metrics.json").read_text())
    # The classifier knows real digits that it was not trained on.
    assert document["metrics"]["misclassified"]["floor"] < 0.15
    assert 0 <= document["metrics"]["misclassified"]["value"] <= 1
    for coordinates, reason in (("polar", "for jets"), ("cartesian", "for jets")):
        more = ["--set", f"data.coordinates={coordinates}", "--run", str(tmp_path / coordinates)]
        assert run(train.main, ["superpixel_vae", *more]) == 2, reason
