import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from kerasgen.metrics.binning import bin_centres, integer_edges, wasserstein


@given(st.integers(0, 200_000), st.integers(1, 600))
@settings(max_examples=50, deadline=None)
def test_every_integer_has_one_bin_of_bounded_width(highest: int, fine: int) -> None:
    edges = integer_edges(highest, fine=fine, growth=0.02)
    widths = np.diff(edges)
    assert edges[0] == 0
    assert edges[-1] == highest + 1
    assert np.all(widths >= 1)
    assert np.all(widths[edges[:-1] < min(fine, highest + 1)] == 1)
    assert np.all(widths <= np.maximum(1, 0.02 * edges[:-1]))


def test_centres_are_the_integers_where_bins_are_fine() -> None:
    assert bin_centres(integer_edges(9)).tolist() == list(range(10))
    assert bin_centres(np.array([0, 1, 4])).tolist() == [0.0, 2.0]


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=40),
    st.lists(st.integers(0, 60), min_size=1, max_size=40),
)
@settings(max_examples=50, deadline=None)
def test_wasserstein_agrees_with_scipy(a: list[int], b: list[int]) -> None:
    mine = wasserstein(
        np.bincount(a, minlength=61).astype(float),
        np.bincount(b, minlength=61).astype(float),
        np.arange(61.0),
    )
    assert mine == pytest.approx(wasserstein_distance(a, b), abs=1e-9)


def test_wasserstein_of_an_empty_sample_is_undefined() -> None:
    assert np.isnan(wasserstein(np.ones(3), np.zeros(3), np.arange(3.0)))
