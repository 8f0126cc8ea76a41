"""The floors of the house: no import runs up, and there is no circle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]


def contract(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the package against other contracts."""
    path = folder / "contracts.toml"
    path.write_text(text)
    command = [*LINT, "--config", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_every_contract_is_kept() -> None:
    done = subprocess.run(LINT, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_an_import_that_runs_up_is_found(tmp_path: Path) -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    tools = text[text.index("[tool.importlinter]") :]
    turned = tools.replace('    "data",\n', "").replace('    "cli",\n', '    "cli",\n    "data",\n')
    assert turned != tools
    done = contract(turned, tmp_path)
    assert done.returncode == 1
    assert "No import runs up BROKEN" in done.stdout
