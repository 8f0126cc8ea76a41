"""Small detectors and events for the tests of the data layer."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import strategies as st

from kerasgen.data.geometry import Geometry, geometry_from_json
from kerasgen.data.hits import Hits, from_dense


def toy_geometry(rows: int = 12, cols: int = 20, names: tuple[str, ...] = ()) -> Geometry:
    """A detector of three sensors whose names sort differently as strings."""
    names = names or ("1.1.1", "1.2.1", "1.10.1")
    return geometry_from_json(
        json.dumps(
            {
                "name": "toy",
                "rows": rows,
                "cols": cols,
                "threshold": 2,
                "max_charge": 300,
                "sensors": [
                    {"name": n, "id": 900 - 32 * i, "layer": 1, "ladder": i}
                    for i, n in enumerate(names)
                ],
            }
        )
    )


def random_events(
    geometry: Geometry, events: list[int], seed: int = 0, fraction: float = 0.2
) -> Hits:
    """Events with about ``fraction`` of the pixels fired, charges over the whole range, types 0..3.

    The second image of the first event is empty.
    """
    rng = np.random.default_rng(seed)
    sensors = len(geometry.sensors)
    shape = (len(events) * sensors, geometry.rows, geometry.cols)
    adu = rng.integers(geometry.threshold, geometry.max_charge + 1, shape)
    adu[rng.random(shape) > fraction] = 0
    adu[1:2] = 0
    hits = from_dense(adu, np.tile(np.arange(sensors), len(events)), np.repeat(events, sensors))
    hits.type[:] = rng.integers(0, 4, len(hits.type))
    return hits


def assert_same_hits(a: Hits, b: Hits) -> None:
    for name, values in vars(a).items():
        assert getattr(b, name).dtype == values.dtype, name
        np.testing.assert_array_equal(getattr(b, name), values, err_msg=name)


@st.composite
def pixel_events(draw: st.DrawFn) -> tuple[Geometry, Hits]:
    """A toy geometry and up to four events in any order, some of them without hits."""
    geometry = toy_geometry(draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    numbers = st.integers(-(2**63), 2**63 - 1)
    events = draw(st.lists(numbers, min_size=1, max_size=4, unique=True))
    fraction = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return geometry, random_events(geometry, events, draw(st.integers(0, 99)), fraction)
