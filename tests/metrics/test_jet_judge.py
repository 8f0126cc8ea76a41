"""The judge of jets: what it sees, and that it tells jets apart where they differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasgen.command import run
from kerasgen.metrics import jet_judge
from kerasgen.metrics.jet_judge import JetJudge, jets_auc, judge_inputs, pair_features
from kerasgen.zoo import evaluate, generate

Sample = dict[str, Any]


def toy_jets(n: int, seed: int, width: float = 0.1) -> Sample:
    """Jets of 2 to 6 constituents, normal in eta and phi."""
    rng = np.random.default_rng(seed)
    mask = np.arange(6) < rng.integers(2, 7, n)[:, None]
    share = -np.sort(-rng.exponential(size=(n, 6)) * mask, axis=1)
    share /= share.sum(axis=1, keepdims=True)
    points = np.concatenate([rng.normal(0, width, (n, 6, 2)), share[..., None]], axis=-1)
    points = (points * mask[..., None]).astype(np.float32)
    return {"points": points, "mask": mask, "label": rng.integers(0, 2, n)}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jet_judge, "BATCH", 64)


def test_inputs_of_a_constituent() -> None:
    points = np.array([[[0.03, -0.04, 0.5], [0.0, 0.0, 0.0]]], np.float32)
    sample = {"points": points, "mask": np.array([[True, False]]), "label": np.array([1])}
    found = judge_inputs(sample, np.random.default_rng(0))
    want = [0.15, -0.2, np.log(0.5) / 2 + 1.5, np.log(0.05 + 1e-4) / 2 + 1.5, 1.0]
    assert found.image[0, 0] == pytest.approx(want, rel=1e-4)
    assert not found.image[0, 1].any()
    assert found.sensor.tolist() == [1]


def test_features_of_a_pair() -> None:
    """Two constituents at a distance of 0.5 with shares of 0.6 and 0.2."""
    points = np.array([[[0.3, 0.0, 0.6], [0.0, 0.4, 0.2]]], np.float32)
    sample = {"points": points, "mask": np.ones((1, 2), bool), "label": np.zeros(1, int)}
    inputs = judge_inputs(sample, np.random.default_rng(0)).image
    found = np.asarray(pair_features(keras.ops.convert_to_tensor(inputs)))[0]
    mass = np.log(0.6 * 0.2 * 0.5**2)
    distance, kt, fraction = np.log(0.5), np.log(0.2 * 0.5), np.log(0.2 / 0.8)
    want = [distance / 2 + 1.5, kt / 3 + 2, fraction / 2, mass / 5 + 2]
    for pair in (found[0, 1], found[1, 0]):
        assert pair == pytest.approx(want, rel=1e-4)


def test_neither_order_nor_padding_changes_a_score() -> None:
    sample = toy_jets(5, 1)
    model = JetJudge(2, dtype="float32")
    inputs = judge_inputs(sample, np.random.default_rng(0))
    label = inputs.sensor
    plain = np.asarray(model([inputs.image, label]))
    order = np.random.default_rng(2).permutation(6)
    assert np.asarray(model([inputs.image[:, order], label])) == pytest.approx(plain, abs=1e-5)
    wider = np.pad(inputs.image, ((0, 0), (0, 3), (0, 0)))
    assert np.asarray(model([wider, label])) == pytest.approx(plain, abs=1e-5)


def test_equal_jets_are_not_told_apart_and_wider_ones_are(short: None) -> None:
    real = toy_jets(1600, 1)
    same, error = jets_auc(real, toy_jets(1600, 2), np.random.default_rng(0))
    assert abs(same - 0.5) < 4 * error
    assert error < 0.03
    wider, error = jets_auc(real, toy_jets(1600, 3, width=0.15), np.random.default_rng(0))
    assert wider - 0.5 > 5 * error


def test_an_evaluation_with_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jet_judge, "EPOCHS", 1)
    files = [str(tmp_path / name) for name in ("a.h5", "b.h5")]
    for seed, path in enumerate(files):
        options = ["--events", "300", "--seed", str(seed), "--out", path]
        assert run(generate.main, ["jet_vae", *options]) == 0
    arguments = ["--reference", files[0], "--candidate", files[1], "--out", str(tmp_path / "out")]
    assert run(evaluate.main, [*arguments, "--networks"]) == 0
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    found = document["candidates"]["generated"]["metrics"]["auc"]
    assert 0.3 < found["value"] < 0.7
    assert abs(found["floor"] - 0.5) < 0.2
    assert "a network tells jets apart" in capsys.readouterr().out


def test_superpixels_have_no_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "digits.h5")
    assert run(generate.main, ["superpixel_vae", "--events", "700", "--out", path]) == 0
    capsys.readouterr()
    arguments = ["--reference", path, "--candidate", path, "--out", str(tmp_path / "out")]
    assert run(evaluate.main, [*arguments, "--networks"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--networks: for pixel hits and jets, the data hold" in line
