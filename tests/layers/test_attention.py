"""Self-attention over cells, on the whole map and in windows."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kerasgen.layers.attention import SelfAttention, from_windows, to_windows


def built(channels: int = 16, gamma: float = 0.7, **options) -> SelfAttention:
    layer = SelfAttention(**options)
    layer.build((None, None, None, channels))
    layer.gamma.assign(gamma)
    return layer


def cells(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(3).normal(size=shape), tf.float32)


def test_starts_as_the_identity():
    layer = SelfAttention()
    x = cells(2, 4, 6, 8)
    np.testing.assert_array_equal(layer(x), x)


def test_value_where_all_cells_are_equal():
    """Whatever the weights are, they sum to one: y = x + gamma Wo Wv x."""
    layer = built(channels=8, spectral_norm=False)
    x = np.array(cells(3, 1, 1, 8)).repeat(4, 1).repeat(2, 2)
    value = x @ layer.value.kernel.numpy()[0, 0]
    expected = x + 0.7 * value @ layer.out.kernel.numpy()[0, 0]
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_value_of_the_whole_map():
    """Equation of SAGAN, section 3, in numpy: softmax over the pooled cells."""
    layer = built(channels=16, spectral_norm=False)
    x = cells(1, 4, 6, 16)

    def project(conv):
        return np.array(x)[0] @ conv.kernel.numpy()[0, 0]

    def pool(y):
        return y.reshape(2, 2, 3, 2, -1).max((1, 3)).reshape(6, -1)

    score = project(layer.query).reshape(24, -1) @ pool(project(layer.key)).T
    weight = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    y = (weight @ pool(project(layer.value))) @ layer.out.kernel.numpy()[0, 0]
    np.testing.assert_allclose(layer(x), x + 0.7 * y.reshape(1, 4, 6, 16), atol=1e-5)


def test_a_crop_of_whole_windows_computes_what_the_map_computes():
    layer = built(window=[4, 6])
    x = cells(2, 8, 18, 16)
    np.testing.assert_allclose(layer(x)[:, 4:8, 6:18], layer(x[:, 4:8, 6:18]), atol=1e-6)
    whole = built(window=None)
    assert np.abs(whole(x)[:, 4:8, 6:18] - whole(x[:, 4:8, 6:18])).max() > 1e-3


def test_windows_there_and_back():
    x = cells(2, 4, 6, 3)
    tiles = to_windows(x, 2, 3)
    assert tiles.shape == (8, 2, 3, 3)
    np.testing.assert_array_equal(tiles[1], x[0, 0:2, 3:6])
    np.testing.assert_array_equal(tiles[6], x[1, 2:4, 0:3])
    np.testing.assert_array_equal(from_windows(tiles, 4, 6), x)


def test_parameters_are_those_of_biggan():
    layer = built(channels=16)
    # query and key 16 x 2, value 16 x 8, output 8 x 16, gamma
    assert sum(int(np.prod(w.shape)) for w in layer.trainable_variables) == 32 + 32 + 128 + 128 + 1


@pytest.mark.parametrize("window", [[3, 6], [4, 3], [1, 1]])
def test_a_window_that_pooling_cannot_halve_is_refused(window: list[int]):
    """Pooling would drop cells, and reshaping would then mix windows."""
    layer = built(window=window)
    with pytest.raises(ValueError, match="even"):
        layer(cells(4, 12, 12, 16))


def test_a_map_without_whole_windows_is_refused():
    with pytest.raises(ValueError, match="no whole 4 x 6 windows"):
        built(window=[4, 6])(cells(1, 6, 6, 16))


def test_too_few_channels_are_refused():
    with pytest.raises(ValueError, match="at least 8 channels"):
        SelfAttention()(cells(1, 4, 4, 4))
