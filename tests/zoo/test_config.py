"""Recipes, their changes, and what is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kerasgen.config import to_toml
from kerasgen.errors import InputError
from kerasgen.models.trained import config_from_table, read_config
from kerasgen.zoo.catalogue import recipes
from kerasgen.zoo.recipes import load_config


@pytest.mark.parametrize("name", sorted(recipes()))
@pytest.mark.parametrize("quick", [False, True])
def test_every_recipe_resolves_and_survives_the_file(name: str, quick: bool) -> None:
    config = load_config(name, quick=quick)
    assert config_from_table(tomllib.loads(to_toml(config))) == config


def test_changes_come_after_file_and_quick(tmp_path: Path) -> None:
    file = tmp_path / "more.toml"
    file.write_text("[training]\nsteps = 7\nbatch = 3\n")
    config = load_config("pxd_biggan", str(file), quick=True, changes=["training.batch=6"])
    assert config.training.steps == 7
    assert config.training.batch == 6
    assert config.data == load_config("pxd_biggan", quick=True).data


def test_values_are_toml_or_plain_words() -> None:
    changes = ["training.crop=[32,64]", "loss.adversarial=wasserstein", "loss.consistency=0"]
    config = load_config("pxd_biggan", changes=changes)
    assert config.training.crop == [32, 64]
    assert config.loss.adversarial == "discriminator"
    assert config.loss.consistency == 0.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("training.step=5", "did you mean 'steps'"),
        ("trainig.steps=5", "did you mean 'training'"),
        ("training.steps=0", "too small, at least 1"),
        ("training.steps=many", "must be of type int"),
        ("training.steps=1.5", "must be of type int"),
        ("training.steps=true", "must be of type int"),
        ("training.steps", "key=value"),
        ("training=5", "is a section"),
        ("loss.adversarial=hing", "did you mean 'hinge'"),
        ("training.crop=[64]", "must be [height, width]"),
        ("training.crop=64", "must be a list"),
        ("training.ema_decay=1.0", "not in [0, 1)"),
        ("loss.consistency=-1", "too small"),
        ("loss.consistency=nan", "too small"),
        ("loss.temperature=0", "above 0"),
        ("training.generator_rate=inf", "finite"),
        ("training.pretraining_every=3", "training.batch = 4 must be a multiple of"),
        ("training.pretraining_every=0", "too small, at least 1"),
        ("training.seed=4294967296", "too large"),
        ("data.held_out=2000", "data.events = 2000 of a simulation must be above"),
        ("data.channels=[1,1]", "0..255, each once"),
        ("data.channels=[256]", "0..255, each once"),
    ],
)
def test_bad_changes_are_refused_in_one_line(change: str, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        load_config("pxd_biggan", changes=[change])
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'pxd_biggan'"):
        load_config("pxd_bigan")


def test_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_config("pxd_biggan", str(tmp_path / "none.toml"))
    (tmp_path / "config.toml").write_text("steps = = 3")
    with pytest.raises(InputError, match="not TOML"):
        read_config(tmp_path)
    (tmp_path / "other.toml").write_text('recipe = "pxd_timepix"\n')
    with pytest.raises(InputError, match="another recipe"):
        load_config("pxd_biggan", str(tmp_path / "other.toml"))
