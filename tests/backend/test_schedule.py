"""Learning rates at the ends and in the middle of a run."""

from __future__ import annotations

import pytest

from kerasgen.backend.schedule import WarmUpCosine


def rate(step: int, final: float = 0.1, scale: float = 1.0) -> float:
    return float(WarmUpCosine(2e-4, steps=110, warm_up=10, final=final, scale=scale)(step))


def test_warms_up_linearly_from_one_step() -> None:
    assert rate(0) == pytest.approx(2e-5)
    assert rate(4) == pytest.approx(1e-4)
    assert rate(10) == pytest.approx(2e-4)


def test_cosine_ends_at_the_final_share() -> None:
    assert rate(60) == pytest.approx(2e-4 * 0.55)  # half way: the mean of 1 and 0.1
    assert rate(110) == pytest.approx(2e-5)
    assert rate(500) == pytest.approx(2e-5)


def test_constant_schedule_and_scale() -> None:
    assert rate(90, final=1.0) == pytest.approx(2e-4)
    assert rate(90, final=1.0, scale=0.5) == pytest.approx(1e-4)
