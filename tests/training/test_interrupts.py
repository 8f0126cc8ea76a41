"""Ctrl-C: raised at once, after a step, or at the next check where Python swallowed it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kerasgen.training.interrupts import Interrupts


def interrupt() -> None:
    """A real SIGINT for this process; Python runs its handler before the next line."""
    os.kill(os.getpid(), signal.SIGINT)


class InterruptedEnd:
    """A real SIGINT comes in its destructor; Python ignores what is raised there."""

    def __del__(self) -> None:
        interrupt()


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Python reports because it could not raise it."""
    found: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda given: found.append(given.exc_type))
    return found


@pytest.fixture(autouse=True)
def usual_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_raised_at_once() -> None:
    done = []

    def training() -> None:
        with Interrupts().handled():
            interrupt()
            done.append("after it")

    with pytest.raises(KeyboardInterrupt):
        training()
    assert done == []


def test_a_swallowed_interrupt_is_raised_at_the_next_check(reported: list[Any]) -> None:
    interrupts = Interrupts()
    with interrupts.handled():
        interrupts.check()
        InterruptedEnd()
        assert reported == []
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


def test_a_swallowed_interrupt_is_raised_after_the_next_step(reported: list[Any]) -> None:
    done, interrupts = [], Interrupts()

    def steps() -> None:
        for step in range(3):
            with interrupts.deferred():
                done.append(step)

    with interrupts.handled():
        InterruptedEnd()
        with pytest.raises(KeyboardInterrupt):
            steps()
    assert reported == []
    assert done == [0]


def test_a_deferred_block_ends_first() -> None:
    done, interrupts = [], Interrupts()

    def step() -> None:
        with interrupts.deferred():
            interrupt()
            done.append("the whole step")

    with interrupts.handled(), pytest.raises(KeyboardInterrupt):
        step()
    assert done == ["the whole step"]


def test_an_error_of_a_block_is_not_replaced() -> None:
    interrupts = Interrupts()

    def step() -> None:
        with interrupts.deferred():
            interrupt()
            raise ValueError("of the step")

    with interrupts.handled():
        with pytest.raises(ValueError, match="of the step"):
            step()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


def test_the_handler_is_restored() -> None:
    with Interrupts().handled():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_caller_is_kept() -> None:
    seen: list[int] = []

    def own(number: int, frame: Any) -> None:
        seen.append(number)

    signal.signal(signal.SIGINT, own)
    try:
        interrupts = Interrupts()
        with interrupts.handled():
            assert signal.getsignal(signal.SIGINT) is own
            interrupt()
            with interrupts.deferred():
                interrupt()
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert seen == [signal.SIGINT] * 2


def test_another_thread_takes_no_signal() -> None:
    seen: list[Any] = []

    def training() -> None:
        with Interrupts().handled():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=training)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
