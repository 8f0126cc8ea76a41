"""Dead, masked and hot pixels: what they do to events."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pixel_events import assert_same_hits, random_events
from pixel_masks import GEOMETRY, mask_of, masks

from kerasgen.data.hits import Hits, from_dense, to_dense
from kerasgen.data.pixel_mask import KINDS, EventMasking, PixelMask, pixels_of


@given(masks(), st.integers(0, 2**63 - 1))
def test_no_silent_pixel_fires_and_others_keep_their_hits(mask: PixelMask, seed: int) -> None:
    """Pixel by pixel, against the meaning of the lines in a loop."""
    events = random_events(GEOMETRY, [4, 9, 2])
    before, masking = to_dense(events, GEOMETRY), EventMasking(mask)
    after = masking.apply_at(events, [(seed, 4), (seed, 9), (seed, 2)], 3)
    images = to_dense(after, GEOMETRY).astype(int)
    silent, hot = np.zeros((2, *images.shape), np.bool_)
    for line in mask.lines:
        for k in range(3):
            if line["span"][0] <= 3 + k <= line["span"][1]:
                (r, s), (c, d) = line["row"], line["col"]
                which = hot if KINDS[line["kind"]] == "hot" else silent
                which[3 * k + line["sensor"], r : s + 1, c : d + 1] = True
    assert not images[silent].any()
    np.testing.assert_array_equal(images[~silent & ~hot], before[~silent & ~hot])
    assert (images[hot & ~silent] >= before[hot & ~silent]).all()
    np.testing.assert_array_equal(after.event, events.event)


@given(masks(), st.integers(0, 2**63 - 1), st.integers(0, 2))
def test_an_event_does_not_depend_on_others(mask: PixelMask, seed: int, k: int) -> None:
    events = random_events(GEOMETRY, [4, 9, 2])
    keys = [(seed, 4), (seed, 9), (seed, 2)]
    together = EventMasking(mask).apply_at(events, keys, 0)
    images = np.arange(3) + 3 * k
    alone = EventMasking(mask).apply_at(events.take(images), keys[k : k + 1], k)
    assert_same_hits(alone, together.take(images))


def empty_event(number: int = 0) -> Hits:
    return from_dense(np.zeros((3, 12, 20), int), np.arange(3), np.full(3, number))


def fired_counts(mask: PixelMask, events: int, seed: int = 5) -> np.ndarray:
    """How often each pixel fires in events that have no hits: [sensors, rows, cols]."""
    masking = EventMasking(mask)
    images = [to_dense(masking.apply(empty_event(k), seed), GEOMETRY) > 0 for k in range(events)]
    return np.sum(images, axis=0)


def test_hot_pixels_fire_at_their_rate() -> None:
    """Within five binomial errors of 4000 events, each pixel, and independently of each other."""
    n = 4000
    rates = {(0, 3, 4): 0.3, (0, 3, 5): 0.3, (2, 11, 19): 0.003, (1, 0, 0): 1.0, (1, 0, 1): 0.0}
    names = GEOMETRY.names
    counts = fired_counts(
        mask_of(*(f"{names[s]},{r},{c},hot,{rate}" for (s, r, c), rate in rates.items())), n
    )
    for pixel, rate in rates.items():
        error = np.sqrt(n * rate * (1 - rate))
        assert abs(counts[pixel] - n * rate) <= 5 * error, (pixel, rate)
        counts[pixel] = 0
    assert not counts.any()
    masking = EventMasking(mask_of("1.1.1,3,4-5,hot,0.3"))
    pairs = [len(masking.apply(empty_event(k), 5).adu) == 2 for k in range(n)]
    assert abs(np.sum(pairs) - 0.09 * n) <= 5 * np.sqrt(n * 0.09 * 0.91)


def test_charges_of_hot_pixels_are_uniform_in_their_range() -> None:
    masking = EventMasking(mask_of("*,*,*,hot,1,10-13"))
    adu = masking.apply(empty_event(), 1).adu
    counts = np.bincount(adu, minlength=14)
    assert counts[:10].sum() == 0
    assert len(counts) == 14
    n = GEOMETRY.pixels * 3 / 4
    assert (abs(counts[10:] - n) <= 5 * np.sqrt(n * 0.75)).all()
    whole = EventMasking(mask_of("*,*,*,hot,1")).apply(empty_event(), 1).adu
    assert 2 <= whole.min() < 10
    assert 290 < whole.max() <= 300


def test_seeds_and_events_differ_and_repeat() -> None:
    masking = EventMasking(mask_of("*,*,*,hot,0.5"))
    keys = [(0, 0), (0, 1), (1, 0), (2**63 - 1, 2**63 - 1), (0, -(2**63))]
    found = [masking.apply_at(empty_event(), [key], 0) for key in keys]
    assert len({x.row.tobytes() + x.adu.tobytes() for x in found}) == len(keys)
    assert_same_hits(EventMasking(masking.mask).apply_at(empty_event(), keys[3:4], 0), found[3])


def test_charges_add_up_to_the_highest() -> None:
    images = np.zeros((3, 12, 20), int)
    images[0, 5, 6:9] = [10, 295, 3]
    event = from_dense(images, np.arange(3), np.zeros(3))
    event.type[:] = 2
    found = EventMasking(mask_of("1.1.1,5,6-7,hot,1,20")).apply(event, 0)
    assert found.adu.tolist() == [30, 300, 3]
    assert found.type.tolist() == [0, 2, 2]  # of the higher charge


def test_silence_wins_and_of_hot_lines_the_first() -> None:
    mask = mask_of(
        "1.1.1,2,3-5,hot,1,9", "1.1.1,2,4-7,hot,0.25,8", "1.1.1,2,3,dead", "*,*,7,masked"
    )
    pixels = pixels_of(mask)
    assert pixels.hot.tolist() == [44, 45, 46]
    assert pixels.rate.tolist() == [1, 1, 0.25]
    assert pixels.charge[:, 0].tolist() == [9, 9, 8]
    assert pixels.silent.sum() == 3 * 12 + 1
    assert mask.summary() == "37 pixels dead or masked, 3 hot"


def test_hot_pixels_that_have_fired_do_not_fire_again() -> None:
    """The mask of a file merged with the same one, and with another."""
    first, more = mask_of("1.1.1,2,3,hot,1,9"), mask_of("1.1.1,2,3,hot,1,9", "1.1.1,2,3-4,hot,1,7")
    event = EventMasking(first).apply(empty_event(), 0)
    merged = first.merged(more)
    assert len(merged.lines) == 2
    both = EventMasking(merged, fired=first).apply(event, 0)
    assert both.col.tolist() == [3, 4]
    assert both.adu.tolist() == [9, 7]
