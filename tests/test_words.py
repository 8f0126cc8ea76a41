"""Retired words stay retired: identifiers and recipe keys in code, terms in documents."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Parts of identifiers, recipe keys and file names that have a standard name now.
IDENTIFIERS = (
    "critic", "own_cut", "charge_cut", "average_decay", "moved_clusters", "reconstruction_steps",
    "reconstruction_every", "reconstruction_rate", "contrastive_form", "consistency_form",
    "score_scale", "drawn_deposits", "sampled_deposits", "deposit_weights", "deposit_statistics",
    "PointForm", "form_from_json", "units_from_json", "fit_units", "DrawnDecoder", "FORMS",
    "HEADLINES", "write_compact", "is_point_run", "is_point_model", "SPARSE_VAE", "ExportedPoints",
    "TrainedPoints", "append_line", "power_table", "planted", "LEAST_", "FARTHEST",
)  # fmt: skip
TERMS = (
    "critic", "critics", "the game", "anew", "hopeless", "charge map", "planted",
    "averaged generator",
    "own cut", "power table",
)  # fmt: skip


def tracked(*patterns: str) -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = [ROOT / name for name in done.stdout.splitlines()]
    return [path for path in found if path.is_file() and path != Path(__file__)]


@pytest.fixture(autouse=True)
def checkout() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: git knows which files are the project's")


def lines_with(paths: list[Path], expression: str) -> list[str]:
    pattern = re.compile(expression)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def test_retired_identifiers_are_in_no_code_and_no_recipe() -> None:
    expression = "|".join(rf"(?<![a-z]){re.escape(name)}" for name in IDENTIFIERS)
    paths = tracked("kerasgen", "tests/*.py", "benchmarks/*.py", "examples", "zoo/*.toml", "tuning")
    text = [p for p in paths if p.suffix in (".py", ".toml", ".j2", ".c", ".sh")]
    assert len(text) > 200
    found = [x for x in lines_with(text, expression) if not re.search(r"critical|criticis", x)]
    assert found == []


def test_retired_terms_are_in_no_document_and_no_docstring() -> None:
    paths = [*tracked("*.md"), *tracked("kerasgen/*.py", "kerasgen/*.j2")]
    assert len(paths) > 20
    expression = r"(?i)\b(" + "|".join(TERMS) + r")\b"
    assert lines_with(paths, expression) == []


def test_a_retired_word_would_be_found(tmp_path: Path) -> None:
    """The search itself works: a word that is surely there is found."""
    assert lines_with(tracked("kerasgen/errors.py"), r"\bInputError\b")
