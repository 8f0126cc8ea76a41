"""Recipes, their changes, and what is refused."""

from __future__ import annotations

import contextlib
import io
import json
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasgen.command import run
from kerasgen.config import Length, Range, to_toml
from kerasgen.errors import InputError
from kerasgen.models.algorithm import algorithm_of, algorithms
from kerasgen.models.trained import config_from_table, read_config
from kerasgen.zoo import train
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
    config = load_config("pxd_biggan_crops", str(file), quick=True, changes=["training.batch=6"])
    assert config.training.steps == 7
    assert config.training.batch == 6
    assert config.data == load_config("pxd_biggan_crops", quick=True).data


def test_values_are_toml_or_plain_words() -> None:
    changes = ["training.crop=[32,64]", "loss.adversarial=wasserstein", "loss.consistency=0"]
    config = load_config("pxd_biggan_crops", changes=changes)
    assert config.training.crop == [32, 64]
    assert config.loss.adversarial == "wasserstein"
    assert config.loss.consistency == 0.0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("training.step=5", "did you mean 'steps'"),
        ("trainig.steps=5", "did you mean 'training'"),
        ("training.steps=0", "is too small, at least 1"),
        ("training.steps=many", "must be of type int"),
        ("training.steps=1.5", "must be of type int"),
        ("training.steps=true", "must be of type int"),
        ("training.steps", "key=value"),
        ("training=5", "is a section"),
        ("loss.adversarial=hing", "did you mean 'hinge'"),
        ("training.crop=[64]", "must be [height, width]"),
        ("training.crop=64", "must be a list"),
        ("training.ema_decay=1.0", "is too large, below 1"),
        ("loss.consistency=-1", "too small"),
        ("loss.consistency=nan", "must be a finite number"),
        ("loss.temperature=0", "is too small, above 0"),
        ("training.generator_rate=inf", "finite"),
        ("training.pretraining_steps=3", "unknown key 'training.pretraining_steps'"),
        ("generator.clusters=true", "unknown key 'generator.clusters'"),
        ("training.seed=4294967296", "too large"),
        ("data.held_out=2000", "data.events = 2000 of a simulation must be above"),
        ("data.channels=[1,1]", "each once"),
        ("data.channels=[256]", "256 is too large, at most 255"),
    ],
)
def test_bad_changes_are_refused_in_one_line(change: str, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        load_config("pxd_biggan_crops", changes=[change])
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'pxd_biggan_crops'"):
        load_config("pxd_bigan_crops")


def test_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_config("pxd_biggan_crops", str(tmp_path / "none.toml"))
    (tmp_path / "config.toml").write_text("steps = = 3")
    with pytest.raises(InputError, match="not TOML"):
        read_config(tmp_path)
    (tmp_path / "other.toml").write_text('recipe = "pxd_timepix"\n')
    with pytest.raises(InputError, match="another recipe"):
        load_config("pxd_biggan_crops", str(tmp_path / "other.toml"))


THIRD = Path(__file__).parents[1] / "third_algorithm" / "gaussian_points" / "recipe.toml"
RECIPES = {
    "cluster_growth": "pxd_biggan", "pxd_gan": "pxd_biggan_crops", "sparse_vae": "jet_vae",
    "flow_matching": "jet_flow", "gaussian_points": str(THIRD),
}  # fmt: skip


def keys_of(schema: Any, prefix: str = "") -> dict[str, Any]:
    """Annotation of every key of a configuration, by dotted name."""
    hints = get_type_hints(schema, include_extras=True)
    found: dict[str, Any] = {}
    for field in fields(schema):
        hint, name = hints[field.name], prefix + field.name
        found |= keys_of(hint, f"{name}.") if is_dataclass(hint) else {name: hint}
    return found


def nonsense(hint: Any) -> list[Any]:
    """Values that an annotation does not allow: of another type, no number, out of range."""
    if get_origin(hint) is Literal:
        return ["nonsense", 3, True]
    constraints = getattr(hint, "__metadata__", ())
    inner = get_args(hint)[0] if constraints else hint
    others: list[Any] = {
        int: ["many", 1.5, True, [1]],
        float: ["many", True, float("nan"), float("inf"), [1.0]],
        bool: ["many", 1, [True]],
        str: [3, True, ["x"]],
    }.get(inner, ["many", 3, [[]]])
    for constraint in constraints:
        if isinstance(constraint, Range):
            low, high = constraint.low, constraint.high
            others += [int(x) if inner is int else x for x in (low - 1, high + 1)
                       if abs(x) != float("inf")]  # fmt: skip
        if isinstance(constraint, Length) and constraint.allowed:
            others.append([1] * (max(constraint.allowed) + 1))
    if get_origin(inner) is list:
        (item,) = get_args(inner)
        others += [[x] for x in nonsense(item)]
    return others


EVERY = [
    (name, key, value)
    for name in algorithms()
    for key, hint in keys_of(algorithm_of(name).config).items()
    for value in nonsense(hint)
    if key != "recipe"
]


def test_every_key_has_nonsense() -> None:
    """Every key is tried, and every number among them with a value out of its range."""
    tried = {(name, key) for name, key, _ in EVERY}
    for name in algorithms():
        hints = keys_of(algorithm_of(name).config)
        assert {(name, key) for key in hints} - tried == {(name, "recipe")}
        numbers = [k for k, h in hints.items() if h in (int, float)]
        assert numbers == [], "a number without a range"


def test_every_key_refuses_nonsense(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Out of range, of the wrong type, or not a number: one line, exit 2, nothing written."""
    folder = tmp_path / "run"
    for name, key, value in EVERY:
        text = json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")
        arguments = [RECIPES[name], "--run", str(folder), "--set", f"{key}={text}"]
        assert run(train.main, arguments) == 2, (key, value)
        line = capsys.readouterr().err
        assert line.count("\n") == 1, (key, value, line)
        assert key.split(".")[-1] in line, (key, value, line)
    assert not folder.exists()


@given(key=st.sampled_from([k for _, k, _ in EVERY]), text=st.text(max_size=30))
def test_any_text_is_a_value_or_one_line(key: str, text: str) -> None:
    arguments = ["pxd_biggan_crops", "--dry-run", "--set", f"{key}={text}"]
    lines = io.StringIO()
    with contextlib.redirect_stderr(lines), contextlib.redirect_stdout(io.StringIO()):
        try:
            load_config("pxd_biggan_crops", changes=[f"{key}={text}"])
        except InputError:
            assert run(train.main, arguments) == 2
            assert lines.getvalue().count("\n") == 1


def test_a_configuration_names_its_recipe_and_its_algorithm() -> None:
    with pytest.raises(InputError, match="recipe is missing"):
        config_from_table({"algorithm": "pxd_gan"})
    with pytest.raises(InputError, match="algorithm is missing"):
        config_from_table({"recipe": "pxd_biggan_crops"})
    with pytest.raises(InputError, match="did you mean 'pxd_gan'"):
        config_from_table({"recipe": "pxd_biggan_crops", "algorithm": "pxd_gun"})
