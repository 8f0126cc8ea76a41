"""The configuration of a recipe: recipe, ``--quick``, ``--config`` and ``--set``, checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kerasgen.config import RunConfig, merge, parse_change, read_toml
from kerasgen.errors import InputError, nearest
from kerasgen.models.trained import config_from_table
from kerasgen.zoo.catalogue import recipes


def recipe_file(recipe: str) -> tuple[str, Path]:
    """Name and file of a recipe, given by its name or by the path of its file.

    A file ``recipe.toml`` has the name of its folder, another one its own.

    Raises:
        InputError: unknown recipe.
    """
    known = recipes()
    if recipe in known:
        return recipe, known[recipe]
    path = Path(recipe)
    if path.suffix != ".toml":
        raise InputError(f"unknown recipe {recipe!r}{nearest(recipe, known)}, or a file.toml")
    named = path.absolute()
    return (named.parent.name if named.name == "recipe.toml" else named.stem), path


def load_config(
    recipe: str, config_file: str | None = None, quick: bool = False, changes: Sequence[str] = ()
) -> RunConfig:
    """A recipe with the changes asked for, in this order: quick form, file, ``key=value``.

    Args:
        recipe: name of a recipe, or path of a recipe file.
        config_file: TOML file of keys that replace the recipe's.
        quick: apply the section ``[quick]``.
        changes: ``section.key=value`` each.

    Raises:
        InputError: unknown recipe or key, a value of the wrong type or outside its range.
    """
    name, path = recipe_file(recipe)
    table = read_toml(path)
    quick_table = table.pop("quick", {})
    if quick:
        merge(table, quick_table)
    if config_file is not None:
        other = read_toml(Path(config_file))
        other.pop("quick", None)
        if other.pop("recipe", name) != name:
            raise InputError(f"{config_file}: is the configuration of another recipe")
        merge(table, other)
    for change in changes:
        merge(table, parse_change(change))
    return config_from_table(table | {"recipe": name})
