"""Where the recipes are, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def zoo_folder() -> Path:
    """Folder of the recipes: one subfolder per model.

    ``kerasgen/_zoo`` in an installed wheel, ``zoo`` beside the package in a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "_zoo"
    return installed if installed.is_dir() else package.parent / "zoo"


def recipes() -> dict[str, Path]:
    """Path of ``recipe.toml`` by recipe name, in alphabetical order."""
    return {path.parent.name: path for path in sorted(zoo_folder().glob("*/recipe.toml"))}
