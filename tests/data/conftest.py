"""Fixtures of the tests of the data layer."""

from __future__ import annotations

from pathlib import Path

import pytest
from pixel_events import toy_geometry


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Geometry file of the toy detector, for --geometry."""
    path = tmp_path / "toy.json"
    path.write_text(toy_geometry().to_json(), encoding="utf-8")
    return path
