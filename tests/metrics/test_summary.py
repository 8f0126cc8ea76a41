from dataclasses import replace

import numpy as np
import pytest
from toy_events import TOY, toy_events

from kerasgen.data.hits import Hits, concatenate, to_dense
from kerasgen.errors import InputError
from kerasgen.metrics import summary as module
from kerasgen.metrics.clusters import find_clusters
from kerasgen.metrics.summary import LAGS, Summary, join_summaries, summarise


def same(a: Summary, b: Summary) -> bool:
    return all(
        np.array_equal(getattr(a, k), getattr(b, k))
        for k in ("event", "fired", "adu_sum", "clusters")
    ) and all(
        np.array_equal(getattr(a, group)[k], getattr(b, group)[k])
        for group in ("histograms", "sums")
        for k in getattr(a, group)
    )


def test_sums_are_those_of_the_dense_images() -> None:
    hits = toy_events(20, seed=3)
    s = summarise(hits, TOY)
    images = to_dense(hits, TOY).reshape(20, 6, 48, 64)
    assert np.array_equal(s.fired, (images > 0).sum(axis=(2, 3)))
    assert np.array_equal(s.adu_sum, images.sum(axis=(2, 3)))
    for layer in range(2):
        part = images[:, 3 * layer : 3 * layer + 3]
        spectrum = [np.bincount(e[e > 0], minlength=256) for e in part]
        assert np.array_equal(s.histograms["adu"][:, layer], spectrum)
    found = find_clusters(hits, TOY)
    assert s.clusters.sum() == len(found)
    assert s.sums["seed"].sum() == found.seed.sum()
    assert s.sums["size_v"].sum() == found.size_v.sum()
    size = np.bincount(found.size)
    assert np.array_equal(s.histograms["size"].sum(axis=(0, 1))[: len(size)], size)


def test_overlap_counts_the_pixels_of_both_events() -> None:
    fired = to_dense(toy_events(18, seed=4), TOY).reshape(18, -1) > 0
    s = summarise(toy_events(18, seed=4), TOY)
    for k, lag in ((0, 1), (0, LAGS), (7, 3), (16, 1)):
        assert s.overlap[k, lag - 1] == (fired[k] & fired[k + lag]).sum()
    assert s.overlap[15, 0] == -1  # a chunk of 16 events ends there
    assert s.overlap[17, 0] == -1


def test_parts_join_to_the_whole() -> None:
    hits = toy_events(9, seed=5)
    parts = [hits.take(np.arange(a * 6, b * 6)) for a, b in ((0, 4), (4, 5), (5, 9))]
    assert same(join_summaries(summarise(p, TOY) for p in parts), summarise(hits, TOY))


def test_many_hits_are_taken_in_smaller_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    hits = toy_events(9, seed=5)
    whole = summarise(hits, TOY)
    monkeypatch.setattr(module, "CHUNK_HITS", 1)
    small = summarise(hits, TOY)
    assert same(small, whole)
    assert (small.overlap >= 0).sum() == 4  # pairs of events


def test_the_untrained_generator_that_fires_everywhere_is_summarised() -> None:
    hits = toy_events(2, seed=0)
    full = np.full((12, 48, 64), 9)
    from kerasgen.data.hits import from_dense

    s = summarise(from_dense(full, hits.sensor, hits.event), TOY)
    assert np.all(s.clusters == 1)
    assert np.all(s.fired == 48 * 64)


def bad_events() -> list[tuple[Hits, str]]:
    hits = toy_events(2, seed=1)
    adu = hits.adu.copy()
    adu[3] = 256
    sensor = hits.sensor.copy()
    sensor[[0, 1]] = 1, 0
    event = hits.event.copy()
    event[2] = 5
    return [
        (hits.take(np.arange(7)), "whole events"),
        (replace(hits, sensor=sensor), "numeric order"),
        (replace(hits, event=event), "whole events"),
        (replace(hits, adu=adu), "256"),
    ]


@pytest.mark.parametrize(("hits", "words"), bad_events())
def test_bad_events_are_refused_in_one_line(hits: Hits, words: str) -> None:
    with pytest.raises(InputError, match=words) as e:
        summarise(hits, TOY)
    assert "\n" not in str(e.value)


def test_join_refuses_nothing_and_other_geometries() -> None:
    with pytest.raises(InputError, match="no events"):
        join_summaries([])
    a = summarise(toy_events(2, seed=1), TOY)
    with pytest.raises(InputError, match="different geometries"):
        join_summaries([a, replace(a, geometry=replace(TOY, cols=65))])


def test_concatenated_hits_and_joined_summaries_are_the_same() -> None:
    a, b = toy_events(2, seed=1), toy_events(3, seed=2)
    assert same(
        summarise(concatenate([a, b]), TOY), join_summaries([summarise(a, TOY), summarise(b, TOY)])
    )
