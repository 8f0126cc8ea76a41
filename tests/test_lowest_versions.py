"""The lowest versions that ``make lowest`` installs."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def lowest_versions(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tests" / "lowest_versions.py"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def setup_cfg(folder: Path, test: str) -> Path:
    path = folder / "setup.cfg"
    path.write_text(
        "[options]\ninstall_requires =\n    numpy>=2\n# a comment\n    keras>=3.15,<4\n"
        f"[options.extras_require]\ntest =\n    {test}\nlint =\n    ruff\n"
    )
    return path


def test_lowest_of_each_requirement(tmp_path: Path):
    path = setup_cfg(tmp_path, "jax<0.11,>=0.7\n    onnx==1.20.1\n    h5py[extra]~=3.11")
    expected = ["numpy==2", "keras==3.15", "jax==0.7", "onnx==1.20.1", "h5py==3.11"]
    assert lowest_versions(path).stdout.split() == expected


@pytest.mark.parametrize("requirement", ["wheel", "wheel<1", "wheel>0.4", "wheel!=0.45"])
def test_a_requirement_without_lowest_version_is_named(tmp_path: Path, requirement: str):
    result = lowest_versions(setup_cfg(tmp_path, requirement))
    assert result.returncode != 0
    assert result.stdout == ""
    assert f"{requirement}: has no lowest version" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_package_has_the_same_bounds_in_all_extras():
    """The tests with the lowest versions are of the extra ``test``: the others must agree."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    bounds: dict[str, set[str]] = {}
    for line in "\n".join(lists).split("\n"):
        if line.strip():
            requirement = Requirement(line)
            bounds.setdefault(requirement.name, set()).add(str(requirement.specifier))
    assert {name: found for name, found in bounds.items() if len(found) > 1} == {}
