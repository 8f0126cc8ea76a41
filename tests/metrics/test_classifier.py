"""The classifier of superpixels and its cache."""

from pathlib import Path

import keras
import numpy as np
import pytest

from kerasgen.data.points import PointSets, build_point_sets
from kerasgen.metrics import classifier


def two_classes(n: int) -> PointSets:
    """Three points in the left or in the right half of the image."""
    rng = np.random.default_rng(1)
    label = rng.integers(2, size=n)
    points = rng.random((n, 3, 3), np.float32)
    points[..., 0] = 0.5 * (points[..., 0] + label[:, None])
    counts = np.full(n, 3)
    return build_point_sets(points, counts, label, counts[:, None])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_kept_classifier_answers_as_when_it_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "STEPS", 30)
    sets = two_classes(200)
    first = classifier.train_classifier(sets, 2, cache=tmp_path)(sets)
    monkeypatch.setattr(keras.Model, "fit", None)  # not trained again
    again = classifier.train_classifier(sets, 2, cache=tmp_path)(sets)
    for ours, kept in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, kept)
    assert np.mean(first[0] == sets.label) > 0.95
    assert len(list(tmp_path.iterdir())) == 1
