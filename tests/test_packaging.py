"""The wheel works without a checkout: recipes, geometries, tables and templates are inside."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kerasgen.zoo.catalogue import recipes, zoo_folder

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "kerasgen", "zoo", "tuning")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, so that no build folder is left or found."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source / name)
    target = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", target, source)
    (path,) = target.glob("kerasgen-*.whl")
    return path


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def files_below(folder: str) -> set[str]:
    paths = (ROOT / folder).rglob("*")
    return {
        str(path.relative_to(ROOT / folder))
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_every_file_of_the_package_and_the_zoo_is_in_the_wheel(wheel: Path):
    inside = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"kerasgen/{name}" for name in files_below("kerasgen")}
    expected |= {f"kerasgen/_zoo/{name}" for name in files_below("zoo")}
    expected |= {f"kerasgen/_tuning/{path.name}" for path in (ROOT / "tuning").glob("*.toml")}
    assert expected - inside == set()
    assert "kerasgen/data/geometries/belle2-pxd.json" in inside
    assert any(name.endswith("/recipe.toml") for name in inside)


def test_nothing_else_is_in_the_wheel(wheel: Path):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    (metadata,) = tops - {"kerasgen"}
    assert metadata.endswith(".dist-info")


def test_installed_wheel_lists_its_recipes_from_anywhere(wheel: Path, tmp_path: Path):
    target = tmp_path / "a folder with spaces"
    pip("install", "--no-deps", "--no-index", "--target", target, wheel)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def python(*arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=elsewhere,
            env={**os.environ, "PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    origin = python("-c", "import kerasgen.zoo.catalogue as c; print(c.zoo_folder())")
    assert Path(origin.strip()) == target.resolve() / "kerasgen" / "_zoo"
    studies = "import kerasgen.tuning.study as s; print(*s.studies())"
    assert "superpixel_vae" in python("-c", studies)
    listing = python("-m", "kerasgen.zoo.list")
    assert {line.split()[0] for line in listing.splitlines()[1:]} >= set(recipes())
    assert list(elsewhere.iterdir()) == []


def test_checkout_finds_its_own_recipes():
    assert zoo_folder() == ROOT / "zoo"
    assert recipes()
    assert all(path.is_file() for path in recipes().values())


def test_every_requirement_is_pinned_once():
    """constraints.txt has each direct requirement of setup.cfg, exactly once."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    sections = [config["options"]["install_requires"]]
    sections += [config["options.extras_require"][name] for name in ("test", "lint")]
    needed = {
        line.replace("[", ">").split(">")[0].lower().replace("_", "-")
        for section in sections
        for line in section.split()
    }
    lines = (ROOT / "constraints.txt").read_text().lower().splitlines()
    pinned = [line.split("==")[0].replace("_", "-") for line in lines if not line.startswith("#")]
    assert len(pinned) == len(set(pinned))
    assert needed - set(pinned) == set()
