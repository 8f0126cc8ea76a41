"""How busy the surroundings of a cluster are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from kerasgen.models.cluster_growth import numpy_functions, tensor_functions
from kerasgen.models.cluster_growth.activity import ACTIVITY, activity_of, region_shares
from kerasgen.models.cluster_growth.statistics import KNOTS_U, KNOTS_V

SIZE = 20, 60
EVEN = SimpleNamespace(
    along_u=np.linspace(0, SIZE[0], KNOTS_U, dtype=np.float32)[None],
    along_v=np.linspace(0, SIZE[1], KNOTS_V, dtype=np.float32)[None],
)


@pytest.mark.parametrize("xp", [numpy_functions, tensor_functions])
def test_clusters_are_counted_in_regions_of_their_image_and_type(xp):
    which = np.int32([0, 0, 0, 2])
    row, col = np.int32([1, 2, 19, 1]), np.int32([3, 5, 59, 3])
    usual, level = np.float32([6, 0, 12]), np.float32([1, 1, 2])
    found = activity_of(xp, EVEN, SIZE, which, 0 * which, row, col, usual, level)
    count = [[3, 2, 2], [3, 2, 2], [3, 1, 1], [1, 1, 1]]
    mean = np.array([[6, 2, 0.5]] * 3 + [[12, 4, 1]])
    assert found.shape == (4, ACTIVITY)
    np.testing.assert_allclose(found[:, :-1], np.log((np.array(count) + 1) / (mean + 1)), atol=1e-5)
    np.testing.assert_array_equal(found[:, -1], [0, 0, 0, 1])


@pytest.mark.parametrize("xp", [numpy_functions, tensor_functions])
def test_shares_of_regions_are_those_of_the_first_pixels(xp):
    table = 30 * np.linspace(0, 1, 40, dtype=np.float32) ** 2
    shares = np.asarray(region_shares(xp, table[None], 30, 4))[0]
    edges = np.array([0, 8, 15, 23, 30])
    np.testing.assert_allclose(shares, np.diff(np.sqrt(edges / 30)), atol=0.002)
