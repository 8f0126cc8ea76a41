"""Random numbers of TensorFlow's stateless operations, in integer operations of ONNX.

Both are functions of key and counter alone. Words have the bits of TensorFlow; normal numbers its
value to the rounding of logarithm, sine and cosine.
"""

from __future__ import annotations

import math

from onnx import TensorProto

from kerasgen.serving.onnx_number import Number

WORD, ROUNDS = 2**32 - 1, 10
MULTIPLIERS, WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
MANTISSA, SMALLEST = 2**23 - 1, 1e-7  # bits of a uniform float32; the smallest one in a logarithm


def philox(shape: Number, key: Number, counter: Number, words: int) -> Number:
    """Philox4x32-10 (Salmon et al., SC 2011) in the order of TensorFlow, uint64 [n].

    Args:
        shape: of the tensor of random numbers that TensorFlow asked for.
        key, counter: uint64 [1] and [2].
        words: of 32 bits that a random number needs; n is ``words`` times their number or more.
    """
    size = shape.cast(TensorProto.INT64).apply("ReduceProd", keepdims=0)
    blocks = (size * words + 3) / 4
    block = size.constant(0).apply("Range", blocks, 1).cast(TensorProto.UINT64)
    words_of_counter = [x for k in range(2) for x in (counter.at(k) & WORD, counter.at(k) >> 32)]
    c, carry = [], block
    for word in words_of_counter:
        total = word + carry
        c.append(total & WORD)
        carry = total >> 32
    k = [key.at(0) & WORD, key.at(0) >> 32]
    for _ in range(ROUNDS):
        products = [c[2 * i] * MULTIPLIERS[i] for i in range(2)]
        c = [
            (products[1] >> 32) ^ c[1] ^ k[0], products[1] & WORD,
            (products[0] >> 32) ^ c[3] ^ k[1], products[0] & WORD,
        ]  # fmt: skip
        k = [(x + step) & WORD for x, step in zip(k, WEYL, strict=True)]
    columns = [x.axis(1) for x in c]
    return columns[0].apply("Concat", *columns[1:], axis=1)


def shaped(values: Number, shape: Number) -> Number:
    """As many of the values, in rows, as a shape has, in this shape."""
    size = shape.cast(TensorProto.INT64)
    flat = values.apply("Reshape", values.integers([-1]))
    count = size.apply("ReduceProd", keepdims=0).axis(0)
    return flat.apply("Slice", size.integers([0]), count).apply("Reshape", size)


def random_words(shape: Number, key: Number, counter: Number, dtype: int) -> Number:
    """Random uint32 or uint64 of a shape, those of ``tf.random.stateless_uniform``."""
    if dtype == TensorProto.UINT32:
        return shaped(philox(shape, key, counter, 1), shape).cast(dtype)
    words = philox(shape, key, counter, 2)
    pairs = words.apply("Reshape", words.integers([-1, 2]))
    low, high = (pairs.apply("Gather", pairs.integers(k), axis=1) for k in range(2))
    return shaped(low + (high << 32), shape)


def random_normal(shape: Number, key: Number, counter: Number) -> Number:
    """Normal float32 of a shape, those of ``tf.random.stateless_normal``: by Box and Muller."""
    words = philox(shape, key, counter, 1)
    uniform = (words & MANTISSA).cast(TensorProto.FLOAT) * 2.0**-23
    pairs = uniform.apply("Reshape", uniform.integers([-1, 2]))
    radius, angle = (pairs.apply("Gather", pairs.integers(k), axis=1) for k in range(2))
    radius = (radius.apply("Max", SMALLEST).apply("Log") * -2.0).apply("Sqrt")
    angle = angle * (2 * math.pi)
    sine, cosine = ((angle.apply(f) * radius).axis(1) for f in ("Sin", "Cos"))
    return shaped(sine.apply("Concat", cosine, axis=1), shape)
