"""Fixtures of the tests of evaluations."""

import pytest


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports whose figures are not rendered, which takes most of the time."""
    monkeypatch.setattr("kerasgen.evaluation.hits.figure_to_png", lambda figure: b"")
