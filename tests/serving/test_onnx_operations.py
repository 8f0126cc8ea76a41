"""Operations of TensorFlow in ONNX Runtime: integers in every bit, functions to their precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from scipy import special

from kerasgen.errors import InputError
from kerasgen.serving.onnx_convert import converted

INTEGERS = np.array([-7, 7, -8, 8, 0, -1, 2**62 + 5, -(2**63), 2**63 - 1], np.int64)


def both(function: Callable[[Any], Any], x: Any) -> tuple[np.ndarray, np.ndarray]:
    """The value of a function by ONNX Runtime, and by TensorFlow."""
    x = np.asarray(x)
    signature = [tf.TensorSpec(x.shape, x.dtype, "x")]
    graph = tf.function(lambda x: {"y": function(x)}, input_signature=signature, autograph=False)
    session = onnxruntime.InferenceSession(
        converted(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0], graph(x)["y"].numpy()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x // 4, lambda x: x // -3, lambda x: x % 5, lambda x: x % -5,
        lambda x: tf.bitwise.right_shift(x, tf.constant(3, tf.int64)),
        lambda x: tf.bitwise.left_shift(x, tf.constant(3, tf.int64)),
        lambda x: tf.bitcast(x, tf.uint64) * tf.constant(0xBF58476D1CE4E5B9, tf.uint64),
        lambda x: tf.bitcast(tf.bitcast(x, tf.uint64) // 3, tf.int64),
    ],
    ids=["floor", "by negative", "modulo", "modulo negative", "right", "left", "times", "bits"],
)  # fmt: skip
def test_integers_keep_all_bits(function: Callable[[Any], Any]) -> None:
    np.testing.assert_array_equal(*both(function, INTEGERS))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x < 2**62 + 6, lambda x: x <= -(2**63), lambda x: x > 2**62 + 4,
        lambda x: x >= 2**63 - 1, lambda x: tf.cast(x, tf.int32) < tf.cast(x[::-1], tf.int32),
        lambda x: tf.cast(x, tf.uint8) > 7, lambda x: tf.cast(x, tf.float64) > 7.5,
        lambda x: x[2] < x[3],
    ],
    ids=["less", "equal", "greater", "highest", "int32", "uint8", "float64", "scalar"],
)  # fmt: skip
def test_comparisons_see_all_bits(function: Callable[[Any], Any]) -> None:
    np.testing.assert_array_equal(*both(function, INTEGERS))


@pytest.mark.parametrize("dtype", [tf.bool, tf.int32, tf.int64, tf.float32, tf.uint8])
def test_a_choice_gives_what_was_chosen(dtype: tf.DType) -> None:
    """Also infinities and nan, which a sum of products would spread, and rows by a column."""
    values = np.array([[0, 1, np.inf, np.nan, -5]] if dtype == tf.float32 else [[0, 1, 1, 0, 5]])

    def chosen(x: Any) -> Any:
        a = tf.constant(values, dtype)
        return tf.where(x[:, None] > 0, a, a[:, ::-1])

    np.testing.assert_array_equal(*both(chosen, INTEGERS))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[:, None], lambda x: x[..., None], lambda x: x[None, :, 1],
        lambda x: x[..., -1], lambda x: x[1, ..., 0], lambda x: x[2], lambda x: x[0, 1, 2],
        lambda x: x[:, 0, None, :], lambda x: x[:, :, :1], lambda x: x[:, 1:, None, 0],
        lambda x: x[:, ::-1, 0], lambda x: x[...], lambda x: x[:2, 0],
        lambda x: x[:, :, tf.size(x) // 12 - 1], lambda x: x[:, :, :1][..., 0],
    ],
)  # fmt: skip
def test_indices_and_new_axes(function: Callable[[Any], Any]) -> None:
    found, expected = both(function, np.arange(24).reshape(4, 2, 3))
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("x", [[-7.5, 7.5, -8.0, 0.0]])
def test_floating_point_division_rounds_down(x: list[float]) -> None:
    for function in (lambda x: x // 2.5, lambda x: x % 2.5):
        np.testing.assert_array_equal(*both(function, np.float32(x)))


def test_random_integers_are_those_of_tensorflow() -> None:
    """13 is no multiple of the numbers that one call of Philox gives."""

    def words(seed: Any) -> Any:
        return tf.random.stateless_uniform(
            [13], seed, minval=None, maxval=None, dtype=tf.uint64, alg="philox"
        )

    for seed in ([5, -9], [2**63 - 1, -(2**63)]):
        np.testing.assert_array_equal(*both(words, np.array(seed, np.int64)))


def test_normal_numbers_are_those_of_tensorflow() -> None:
    seed = np.array([5, -9], np.int64)
    found, expected = both(lambda x: tf.random.stateless_normal([50, 7], x, alg="philox"), seed)
    np.testing.assert_allclose(found, expected, atol=2e-6)


SMALL = np.array([1e-12, 1e-3, 0.02, 0.075, 0.3, 0.5, 0.7, 0.925, 0.99, 1 - 1e-9])
FUNCTIONS = {
    "ndtri": (tf.math.ndtri, special.ndtri, SMALL, 1e-14),
    "erfinv": (tf.math.erfinv, special.erfinv, np.float32([-0.9999, -0.5, 0, 0.3, 0.999]), 2e-7),
    "erfc": (tf.math.erfc, special.erfc, np.float32([-3, -0.1, 0, 0.1, 1, 2, 4, 8]), 2e-7),
    "lgamma": (tf.math.lgamma, special.gammaln, np.array([1, 2, 3, 10, 100.5, 1e4, 1e6]), 2e-14),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_functions(name: str) -> None:
    function, exact, x, error = FUNCTIONS[name]
    found, _ = both(function, x)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found, exact(x.astype(np.float64)), rtol=error, atol=1e-14)


@pytest.mark.parametrize("segments", [[2, 0, 2, -1], []])
def test_sums_of_segments(segments: list[int]) -> None:
    number = np.array(segments, np.int32)

    def sums(number: Any) -> Any:
        rows = tf.stack([tf.ones_like(number), 2 * tf.ones_like(number)], 1)
        return tf.math.unsorted_segment_sum(rows, number, 4)

    np.testing.assert_array_equal(*both(sums, number))


def test_a_shape_may_have_a_dimension_of_zero() -> None:
    def repeated(count: Any) -> Any:
        return tf.repeat(tf.range(tf.size(count)), count)

    for count in ([0, 0], [2, 0, 3]):
        np.testing.assert_array_equal(*both(repeated, np.int32(count)))


def test_positions_in_a_sorted_table() -> None:
    table = tf.constant([[0.0, 1.0, 1.0, 2.0], [-1.0, 0.0, 5.0, 6.0]])
    x = np.float32([[-1, 0, 1, 3], [-1, 5, 5.5, 9]])
    np.testing.assert_array_equal(*both(lambda x: tf.searchsorted(table, x, side="right"), x))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.bitcast(x, tf.int32),
        lambda x: tf.cast(tf.strings.length(tf.strings.as_string(x)), tf.float32),
    ],
    ids=["bits", "strings"],
)
def test_what_onnx_cannot_express_is_refused(function: Callable[[Any], Any]) -> None:
    with pytest.raises(InputError, match="no equivalent in ONNX"):
        both(function, np.float32([1]))
