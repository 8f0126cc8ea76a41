"""Studies: valid ones are read, others refused in one line; values become recipe keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from point_sets import write_toy_jets
from small_study import STUDY, small_study, write_study

from kerasgen.atomic import partial_name
from kerasgen.command import run
from kerasgen.config import value_of
from kerasgen.tuning import search
from kerasgen.tuning.space import (
    Parameter,
    hyper_parameters,
    parse_parameter,
    recipe_values,
)
from kerasgen.tuning.study import read_study, scaled_steps, studies
from kerasgen.zoo.recipes import load_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jets") / "jets.h5"
    write_toy_jets(path)
    return path


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", ["superpixel_vae", "jet_vae", "pxd_biggan_crops"])
def test_studies_of_kerasgen_are_valid(name: str, quick: bool):
    assert name in studies()
    study = read_study(name, quick)
    assert study.trials == 3 or not quick
    for p in study.space:
        assert value_of(study.config({p.name: p.values()[1]}), p.name) == p.values()[1]


def test_values_reach_the_recipe(tmp_path: Path, data: Path):
    study = small_study(tmp_path, data)
    beta, latent, encoder = study.space
    assert (beta.low, beta.log, latent.low, encoder.choices) == (0.1, True, 2, ("dense", "set"))
    values = recipe_values(study.space, hyper_parameters(study.space).values)
    config = study.config(values)
    assert config.loss.beta == values["loss.beta"]
    assert config.network.latent_size == values["network.latent_size"]
    assert isinstance(values["network.latent_size"], int)
    assert config.training.steps == 8


def test_lists_can_be_chosen():
    p = parse_parameter("discriminator.attention", {"choices": [[], [8, 12]]}, [])
    values = recipe_values((p,), hyper_parameters((p,)).values)
    assert values == {"discriminator.attention": []}


def test_steps_scale_together():
    changes = {"training.steps": 300, "adversarial.steps": 200, "adversarial.alone": 100}
    config = load_config("pxd_biggan", changes=[f"{k}={v}" for k, v in changes.items()])
    assert list(scaled_steps(config, 1 / 3).values()) == [100, 67, 33]
    assert scaled_steps(config, 1 / 3).keys() == changes.keys()


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e6), st.floats(0, 1), st.booleans())
def test_position_is_between_the_ends(low: float, factor: float, fraction: float, log: bool):
    p = Parameter("a.b", low, low * factor, log)
    value = min(max(low + fraction * (p.high - low), low), p.high)
    assert p.position(low) == 0
    assert p.position(p.high) == pytest.approx(1)
    assert -1e-9 <= p.position(value) <= 1 + 1e-9


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("loss.beta =", "loss.bta =", "did you mean 'beta'"),
        ("low = 0.1, high = 10.0", "low = 10.0, high = 0.1", "the range 10.0 to 0.1 is empty"),
        ("low = 2, high = 8", "low = 2, high = 2", "the range 2 to 2 is empty"),
        ("low = 0.1", "low = 0.0", "a log range must start above 0, not at 0.0"),
        ("low = 0.1", "low = nan", "must be a finite number"),
        ("low = 2", "low = 2.5", "low = 2.5 must be a whole number"),
        ("low = 2,", "low = 1,", "network.latent_size = 1 is too small"),
        ("low = 2,", "lo = 2,", "did you mean 'low'"),
        ('choices = ["dense", "set"]', 'choices = ["dense", "sett"]', "did you mean 'set'"),
        ('choices = ["dense", "set"]', 'choices = ["dense"]', "a list of two or more"),
        ('choices = ["dense", "set"]', 'choices = ["set", "set"]', "has a value twice"),
        ('choices = ["dense", "set"]', "low = 1, high = 2", "is not a number: give choices"),
        ('["w1p"]', '["adu_w1"]', "recipe 'jet_vae' does not compute 'adu_w1'"),
        ('["w1p"]', "[]", "objective is empty"),
        ('"random"', '"randm"', "did you mean 'random'"),
        ('"jet_vae"', '"jet_va"', "did you mean 'jet_vae'"),
        ("trials = 4", "trials = 0", "trials = 0 is too small"),
        ("trials = 4", "trails = 4", "did you mean 'trials'"),
        ("trials = 4", "trials = 4.5", "trials must be of type int"),
        ("training.steps = 8", "training.stesp = 8", "did you mean 'steps'"),
        ("training.steps = 8", "loss.beta = 8", "loss.beta is both in [space] and in [set]"),
        ("loss.beta = {", "training.seed = {", "training.seed is not searched"),
        ("test = 200", "reduce.sensors = ['1.1.1']", "for recipes of pixel detectors"),
        ("test = 200", "test = 500", "none is left to train on"),
        ("test = 200", "stop.metric = 'w1_point'", "did you mean 'w1_points'"),
        ("[space]", "[space", "not TOML"),
    ],
)
def test_bad_studies_are_one_line(tmp_path, data, old, new, reason, capsys, monkeypatch):
    monkeypatch.delenv("KERASTUNER_ORACLE_IP", raising=False)
    assert old in STUDY
    path = write_study(tmp_path, data, STUDY.replace(old, new, 1))
    assert run(search.main, [str(path), "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert reason in line
    assert line.count("\n") == 1
    assert not list((tmp_path / "out").glob("study.json"))


def test_bad_arguments_are_one_line(tmp_path, data, capsys, monkeypatch):
    path = str(write_study(tmp_path, data))
    out = ["--out", str(tmp_path / "out")]
    for arguments, environment, reason in (
        (["superpixl_vae"], {}, "did you mean 'superpixel_vae'"),
        ([path, *out, "--workers", "5"], {}, "more than the 4 trials"),
        ([path, *out, "--workers", "4000"], {}, "--workers 4000: more than the"),
        ([path, *out, "--trials", "0"], {}, "not a whole number"),
        ([path, *out], {"IP": "localhost"}, "KERASTUNER_ORACLE_PORT is not"),
        ([path, *out], {"IP": "a", "PORT": "x", "ID": "chief"}, "'x' is no port"),
        ([path, *out, "--workers", "1"], {"IP": "a"}, "leave KERASTUNER_ORACLE_IP unset"),
    ):
        for key, value in environment.items():
            name = "KERASTUNER_TUNER_ID" if key == "ID" else f"KERASTUNER_ORACLE_{key}"
            monkeypatch.setenv(name, value)
        assert run(search.main, arguments) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(tmp_path, data, capsys):
    path, out = write_study(tmp_path, data), tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    assert run(search.main, [str(path), "--out", str(out)]) == 2
    assert "is no folder of a study" in capsys.readouterr().err
    search.write_study_file(read_study(str(path)), tmp_path / "claimed")
    write_study(tmp_path, data, STUDY.replace("high = 8", "high = 9"), seed="3")
    assert run(search.main, [str(path), "--out", str(tmp_path / "claimed")]) == 2
    assert "holds another study (other seed, space)" in capsys.readouterr().err
    more = read_study(str(write_study(tmp_path, data, trials="40")))
    search.check_study(more, tmp_path / "claimed")  # more trials: still the same study


def test_a_folder_that_another_process_claims_meanwhile_is_taken(tmp_path, data, monkeypatch):
    study, out = read_study(str(write_study(tmp_path, data))), tmp_path / "out"
    out.mkdir()
    (out / ".lock").touch()
    partial_name(out / search.STUDY).touch()  # the other process is about to name it
    search.check_study(study, out)
    list_folder = Path.iterdir

    def claim_and_list(folder: Path):
        search.write_study_file(study, out)
        (out / "logs").mkdir()
        return list_folder(folder)

    monkeypatch.setattr(Path, "iterdir", claim_and_list)
    search.check_study(study, out)
    assert (out / "logs").is_dir()
