"""Copies of training images, injected and not."""

from dataclasses import replace

import numpy as np
import pytest
from toy_events import TOY, toy_events

from kerasgen.data.hits import Hits, concatenate
from kerasgen.metrics.memorisation import are_training_copies, memorised, training_signatures

SENSORS = len(TOY.sensors)
TRAINING, HELD_OUT, MADE = (
    toy_events(n, seed, clusters=80) for n, seed in ((90, 1), (60, 2), (50, 3))
)


def known(hits: Hits) -> np.ndarray:
    return training_signatures([hits], TOY)


def with_copies(fraction: float) -> Hits:
    """Replace a fraction of the generated images by training images of the same sensor."""
    rng = np.random.default_rng(4)
    images = np.arange(len(MADE))
    copy = len(MADE) + SENSORS * rng.integers(90, size=len(MADE)) + images % SENSORS
    chosen = np.where(rng.random(len(MADE)) < fraction, copy, images)
    return replace(concatenate([MADE, TRAINING]).take(chosen), event=MADE.event)


def test_blocks_give_the_signatures_of_the_whole() -> None:
    parts = [TRAINING.take(np.arange(k, k + 9 * SENSORS)) for k in range(0, 540, 9 * SENSORS)]
    np.testing.assert_array_equal(training_signatures(parts, TOY), known(TRAINING))


@pytest.mark.parametrize("fraction", [0.0, 0.05, 1.0])
def test_every_copy_is_found_and_nothing_else(fraction: float) -> None:
    made = with_copies(fraction)
    truth = np.array(
        [
            any(
                np.array_equal(image, other)
                for other in (TRAINING.col[a:b] for a, b in _bounds(TRAINING, k % SENSORS))
            )
            for k, image in enumerate(
                made.col[a:b] for a, b in zip(made.indptr[:-1], made.indptr[1:], strict=True)
            )
        ]
    )
    found = are_training_copies(known(made), known(TRAINING)).ravel()
    np.testing.assert_array_equal(found, truth)
    assert found.mean() == pytest.approx(fraction, abs=0.03)


def _bounds(hits: Hits, sensor: int) -> list[tuple[int, int]]:
    images = range(sensor, len(hits), SENSORS)
    return [(int(hits.indptr[k]), int(hits.indptr[k + 1])) for k in images]


def test_a_copy_is_one_of_its_own_sensor() -> None:
    images = np.arange(len(TRAINING)).reshape(-1, SENSORS)
    moved = TRAINING.take(np.roll(images, 1, axis=1).ravel())
    assert not are_training_copies(known(moved), known(TRAINING)).any()


def test_the_metric_detects_injected_copies_and_accepts_real_events() -> None:
    reference, training = known(HELD_OUT), known(TRAINING)
    assert memorised(reference, known(MADE), training, 0)["within"]
    found = memorised(reference, known(with_copies(0.1)), training, 0)
    assert found["value"] == pytest.approx(0.1, abs=0.04)
    assert not found["within"]
    assert memorised(reference, known(TRAINING), training, 0)["value"] == 1
