"""The table of recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasgen.errors import InputError
from kerasgen.zoo.list import METRICS, recipe_row, table

RECIPE = 'description = "all sensors"\n[data]\nsource = "simulate:pxd"\n'
RECORD = (
    '{"parameters": {"generator": 11580000, "discriminator": 500000},'
    ' "metrics": {"cluster_size_u": {"value": 0.07}, "adu_mean": {"value": 0.4512},'
    ' "adu_w1": {"value": null}, "pairs_u": {"value": 1}}}'
)


def test_row_of_a_recipe_with_a_recorded_run(tmp_path: Path):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "metrics.json").write_text(RECORD)
    assert recipe_row("pxd", tmp_path / "recipe.toml") == {
        "recipe": "pxd",
        "data": "simulate:pxd",
        "parameters": "generator 11.58 M, discriminator 0.50 M",
        METRICS: "mean charge of fired pixels 45.1 %; cluster length along u 0.07 pixels",
        "description": "all sensors",
    }


def test_table_has_metrics_below_and_no_empty_columns(tmp_path: Path):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    bare = recipe_row("a", tmp_path / "recipe.toml")
    assert table([bare]) == "recipe  data          description\na       simulate:pxd  all sensors"
    assert table([bare | {METRICS: "w1_adu 0.451 ADU"}]).endswith("\n    w1_adu 0.451 ADU")
    assert table([]) == "no recipes"


@pytest.mark.parametrize(("name", "text"), [("recipe.toml", "x ="), ("metrics.json", "{")])
def test_unreadable_file_names_the_recipe(tmp_path: Path, name: str, text: str):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"recipe 'pxd' in .* cannot be read"):
        recipe_row("pxd", tmp_path / "recipe.toml")
