"""Sparse hits: dense round trip, selection, flat lists, range checks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pixel_events import assert_same_hits, pixel_events, random_events, toy_geometry

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import (
    Hits,
    check_order,
    check_values,
    concatenate,
    from_dense,
    from_lists,
    sort_hits,
    to_dense,
)
from kerasgen.errors import InputError


@given(pixel_events())
def test_dense_round_trip(case: tuple[Geometry, Hits]) -> None:
    geometry, hits = case
    images = to_dense(hits, geometry)
    assert images.sum() == hits.adu.sum()
    again = from_dense(images, hits.sensor, hits.event)
    assert_same_hits(replace(hits, type=again.type), again)


@given(pixel_events(), st.data())
def test_take_selects_dense_images(case: tuple[Geometry, Hits], data: st.DataObject) -> None:
    geometry, hits = case
    chosen = np.array(data.draw(st.lists(st.integers(0, len(hits) - 1), max_size=9)), np.int64)
    part = hits.take(chosen)
    np.testing.assert_array_equal(to_dense(part, geometry), to_dense(hits, geometry)[chosen])
    np.testing.assert_array_equal(part.event, hits.event[chosen])


@given(pixel_events())
def test_concatenate_undoes_take(case: tuple[Geometry, Hits]) -> None:
    _, hits = case
    halves = np.array_split(np.arange(len(hits)), 2)
    assert_same_hits(concatenate([hits.take(half) for half in halves]), hits)


@given(pixel_events(), st.randoms(use_true_random=False))
def test_flat_lists_in_any_order(case: tuple[Geometry, Hits], random: object) -> None:
    geometry, hits = case
    order = np.random.default_rng(random.getrandbits(32)).permutation(len(hits.row))  # type: ignore[attr-defined]
    sensors = len(geometry.sensors)
    again = from_lists(
        hits.event[::sensors],
        (hits.image // sensors)[order],
        hits.sensor[hits.image][order],
        {name: getattr(hits, name)[order] for name in ("row", "col", "adu", "type")},
        geometry,
        "lists",
    )
    assert_same_hits(sort_hits(again, geometry), hits)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.array([[[70000]]]), "70000"),
        (np.array([[[-1]]]), "-1"),
        (np.array([[[np.nan]]]), "float64"),
    ],
)
def test_dense_charges_never_wrap(images: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_dense(images, np.array([0]), np.array([0]))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("row", 12, r"toy: event 8, sensor 1\.10\.1: row 12, allowed: 0\.\.11"),
        ("col", 20, r"event 8, sensor 1\.10\.1: column 20, allowed: 0\.\.19"),
        ("adu", 301, r"event 8, sensor 1\.10\.1: charge \(ADU\) 301, allowed: 2\.\.300"),
        ("adu", 1, r"charge \(ADU\) 1, allowed: 2\.\.300 of geometry toy"),
    ],
)
def test_values_outside_the_geometry(name: str, value: int, message: str) -> None:
    geometry = toy_geometry()
    hits = random_events(geometry, [4, 8])
    check_values(hits, geometry, "toy")
    getattr(hits, name)[-1] = value
    with pytest.raises(InputError, match=message):
        check_values(hits, geometry, "toy")


def test_unknown_sensor() -> None:
    geometry = toy_geometry()
    hits = random_events(geometry, [4])
    hits.sensor[2] = 3
    with pytest.raises(InputError, match=r"event 4: unknown sensor 3, allowed: 0\.\.2"):
        check_values(hits, geometry, "toy")


def test_sorted_and_no_pixel_twice() -> None:
    geometry = toy_geometry()
    hits = random_events(geometry, [4])
    check_order(hits, geometry, "toy")
    hits.row[:2], hits.col[:2] = [5, 3], [0, 0]
    with pytest.raises(InputError, match="out of order"):
        check_order(hits, geometry, "toy")
    hits.row[:2] = 0
    with pytest.raises(InputError, match=r"sensor 1\.1\.1: pixel \(0, 0\) appears twice"):
        check_order(hits, geometry, "toy")
