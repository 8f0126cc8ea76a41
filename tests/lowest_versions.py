"""Print the lowest versions that setup.cfg allows, as constraints of pip.

``make lowest`` installs them and runs the tests with them:

    python tests/lowest_versions.py setup.cfg > lowest.txt
"""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

from packaging.requirements import Requirement


def lowest(requirement: Requirement) -> str:
    """Lowest version that a requirement allows.

    Raises:
        ValueError: the requirement has no ``>=``, ``==`` or ``~=``.
    """
    bounds = [s.version for s in requirement.specifier if s.operator in (">=", "==", "~=")]
    if len(bounds) != 1:
        raise ValueError(f"{requirement}: has no lowest version, write {requirement.name}>=...")
    return bounds[0]


def constraints(path: Path) -> list[str]:
    """Lines ``name==version`` for all that ``kerasgen[test]`` requires directly."""
    config = configparser.ConfigParser()
    with path.open(encoding="utf-8") as file:
        config.read_file(file)
    lines = config["options"]["install_requires"].splitlines()
    lines += config["options.extras_require"]["test"].splitlines()
    found = [Requirement(line) for line in lines if line.strip()]
    return [f"{requirement.name}=={lowest(requirement)}" for requirement in found]


if __name__ == "__main__":
    try:
        print("\n".join(constraints(Path(sys.argv[1]))))
    except ValueError as e:
        raise SystemExit(f"{sys.argv[1]}: {e}") from None
