import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from toy_events import TOY, toy_events

from kerasgen.data.geometry import Geometry, Sensor
from kerasgen.data.hits import Hits, from_dense, to_dense
from kerasgen.metrics.clusters import find_clusters

SMALL = Geometry("small", 5, 6, 1, 255, (Sensor("1.1.1", 1, 1, 1), Sensor("1.2.1", 2, 1, 2)))


def shapes(hits: Hits, geometry: Geometry) -> list[tuple[int, ...]]:
    found = find_clusters(hits, geometry)
    rows = (found.image, found.size, found.size_u, found.size_v, found.charge, found.seed)
    return sorted(zip(*(x.tolist() for x in rows), strict=True))


def labelled(images: np.ndarray) -> list[tuple[int, ...]]:
    out = []
    for i, image in enumerate(images):
        label, _ = ndimage.label(image, np.ones((3, 3)))
        for k, box in enumerate(ndimage.find_objects(label), 1):
            adu = image[label == k]
            u, v = (s.stop - s.start for s in box)
            out.append((i, adu.size, u, v, int(adu.sum()), int(adu.max())))
    return sorted(out)


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
@settings(max_examples=80, deadline=None)
def test_clusters_agree_with_dense_labelling(seed: int, filled: float) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 256, (2, 5, 6)) * (rng.random((2, 5, 6)) < filled)
    hits = from_dense(images, np.arange(2), np.zeros(2, int))
    assert shapes(hits, SMALL) == labelled(images)


def test_clusters_of_events_in_any_order_of_hits() -> None:
    hits = toy_events(3, seed=1)
    rng = np.random.default_rng(0)
    order = np.lexsort((rng.random(len(hits.row)), hits.image))
    mixed = Hits(
        hits.indptr, hits.row[order], hits.col[order], hits.adu[order], hits.type[order],
        hits.sensor, hits.event,
    )  # fmt: skip
    assert shapes(mixed, TOY) == shapes(hits, TOY) == labelled(to_dense(hits, TOY))


def test_no_cluster_crosses_an_edge_of_the_sensor() -> None:
    images = np.zeros((2, 5, 6), int)
    images[0, 0, 5] = images[0, 1, 0] = 9  # end of one row, start of the next
    images[0, 4, 0] = images[1, 0, 0] = 9  # last row of one image, first of the next
    hits = from_dense(images, np.arange(2), np.zeros(2, int))
    assert [s[1] for s in shapes(hits, SMALL)] == [1, 1, 1, 1]


@pytest.mark.parametrize("n", [0, 2])
def test_no_hits_no_clusters(n: int) -> None:
    hits = from_dense(np.zeros((n, 5, 6), int), np.arange(n), np.zeros(n, int))
    assert len(find_clusters(hits, SMALL)) == 0
