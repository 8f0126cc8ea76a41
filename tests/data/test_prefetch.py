"""Batches made ahead of the training: the same ones, and nothing is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from pixel_events import random_events, toy_geometry

from kerasgen.data.pipeline import ImageSampler
from kerasgen.data.prefetch import prefetched
from kerasgen.data.store import EventFile, EventWriter


def threads() -> list[threading.Thread]:
    """The threads that make batches."""
    return [t for t in threading.enumerate() if t.name == "batches"]


@pytest.mark.parametrize("n", [0, 1, 7])
@pytest.mark.parametrize("ahead", [1, 2, 10])
def test_the_same_batches_in_the_same_order(n: int, ahead: int) -> None:
    with prefetched(range(n), ahead) as batches:
        assert list(batches) == list(range(n))
    assert not threads()


def test_batches_of_events_are_those_of_their_steps(tmp_path: Path) -> None:
    """Bit by bit, whatever was made ahead of them, also from the middle."""
    geometry = toy_geometry(rows=30, cols=48)
    with EventWriter(tmp_path / "a.h5", geometry, "a test") as writer:
        writer.write(random_events(geometry, list(range(11))))
    with EventFile(tmp_path / "a.h5") as file:

        def sampler() -> ImageSampler:
            return ImageSampler(file, range(11), 4, 3, (8, 16), True, window_events=4)

        for steps in (range(12), range(7, 12)):
            with prefetched(map(sampler().batch_at, steps)) as batches:
                found = list(batches)
            fresh = sampler()
            for step, batch in zip(steps, found, strict=True):
                for name, expected in fresh.batch_at(step).items():
                    np.testing.assert_array_equal(batch[name], expected, err_msg=f"{step} {name}")


def test_batches_are_made_ahead_but_not_far() -> None:
    made: list[int] = []
    with prefetched(map(made.append, count()), ahead=2) as batches:
        next(batches)
        deadline = time.monotonic() + 10
        while len(made) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        assert len(made) == 4  # one taken, two ready, one that waits for its place
    assert not threads()


class BrokenError(Exception):
    pass


def test_an_exception_is_raised_where_its_batch_would_be_taken() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise BrokenError("the third")

    with prefetched(broken()) as batches:
        assert [next(batches), next(batches)] == [1, 2]
        with pytest.raises(BrokenError, match="the third"):
            next(batches)
        assert list(batches) == []
    assert not threads()


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_an_early_end_joins_the_thread(taken: int) -> None:
    with prefetched(count()) as batches:
        assert [next(batches) for _ in range(taken)] == list(range(taken))
    assert not threads()


def test_an_error_of_the_training_joins_the_thread() -> None:
    def training() -> None:
        with prefetched(count()) as batches:
            next(batches)
            raise BrokenError

    with pytest.raises(BrokenError):
        training()
    assert not threads()


def test_an_exception_that_nobody_takes_is_forgotten() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise BrokenError

    with prefetched(broken()) as batches:
        assert next(batches) == 1
    assert not threads()
