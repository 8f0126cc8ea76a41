"""Operations of TensorFlow that tf2onnx lacks or converts wrongly, in operations of ONNX.

Integers keep all their bits, random integers too. Functions of floating-point numbers are as exact
as their type, but may round otherwise than TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from onnx import TensorProto
from tf2onnx.onnx_opset.tensor import StridedSlice

from kerasgen.errors import InputError
from kerasgen.serving.onnx_number import Number
from kerasgen.serving.onnx_random import random_normal, random_words

# ln Gamma(z) = (z - 1/2) ln z - z + ln(2 pi) / 2 + sum_k STIRLING[k] / z^(2 k + 1), for large z.
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
SHIFT = 8  # arguments grow by it, by the recurrence of the Gamma function, until they are large
# Numerators and denominators of Wichura, algorithm AS 241 (1988, doi:10.2307/2347330), in three
# ranges of the probability: the middle, the tails, and the far tails.
QUANTILE = (
    (
        (3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427,
         13731.693765509461125, 45921.953931549871457, 67265.770927008700853,
         33430.575583588128105, 2509.0809287301226727),
        (1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
         21213.794301586595867, 39307.895800092710610, 28729.085735721942674,
         5226.4952788528545610),
    ),
    (
        (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550,
         3.64784832476320460504, 1.27045825245236838258, 0.241780725177450611770,
         0.0227238449892691845833, 7.74545014278341407640e-4),
        (1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
         0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4,
         1.05075007164441684324e-9),
    ),
    (
        (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580,
         0.296560571828504891230, 0.0265321895265761230930, 0.00124266094738807843860,
         2.71155556874348757815e-5, 2.01033439929228813265e-7),
        (1.0, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525,
         7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
         2.04426310338993978564e-15),
    ),
)  # fmt: skip
# Logarithm of erfc(x) exp(x^2) / t, a polynomial in t = 1 / (1 + x / 2), x >= 0; relative error
# 1.2e-7 (Press et al., Numerical Recipes, chapter 6.2).
COMPLEMENT = (
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398,
    1.48851587, -0.82215223, 0.17087277,
)  # fmt: skip
UNSIGNED: dict[int, int] = {
    TensorProto.INT64: TensorProto.UINT64,
    TensorProto.INT32: TensorProto.UINT32,
}
SIGNED = tuple(UNSIGNED)
SAME_BITS = {*UNSIGNED.items(), *((x, y) for y, x in UNSIGNED.items())}


def bitcast(x: Number, dtype: int) -> Number:
    """The same bits as an integer of the same size.

    Raises:
        InputError: bits of floating-point numbers, which no operation of ONNX gives.
    """
    if (x.dtype, dtype) not in SAME_BITS:
        raise InputError("Bitcast of other types than integers has no equivalent in ONNX")
    return x.cast(dtype)


def cosine(x: Number) -> Number:
    """cos(x); of float64 by the sine, because older ONNX Runtimes have no other."""
    if x.dtype != TensorProto.DOUBLE:
        return x.apply("Cos")
    return (x + math.pi / 2).apply("Sin")


def right_shift(x: Number, by: Number) -> Number:
    """x >> by, of signed integers with the sign: ONNX shifts unsigned ones only."""
    if x.dtype not in SIGNED:
        return x >> by
    kind, dtype = UNSIGNED[x.dtype], x.dtype
    shift = by.cast(kind)

    def shifted(y: Number) -> Number:
        return (y.cast(kind) >> shift).cast(dtype)

    below = shifted(x.apply("BitwiseNot")).apply("BitwiseNot")
    return (x < 0).where(below, shifted(x))


def left_shift(x: Number, by: Number) -> Number:
    """x << by."""
    if x.dtype not in SIGNED:
        return x << by
    kind = UNSIGNED[x.dtype]
    return (x.cast(kind) << by.cast(kind)).cast(x.dtype)


def floor_division(x: Number, by: Number) -> Number:
    """x // by, rounded down; ONNX rounds integers towards zero, as tf2onnx does."""
    quotient = x / by
    if x.dtype not in SIGNED:
        integers = TensorProto.UINT64, TensorProto.UINT32, TensorProto.UINT8
        return quotient if x.dtype in integers else quotient.apply("Floor")
    rest = x - quotient * by
    down = (rest < 0).apply("Xor", by < 0, dtype=TensorProto.BOOL)
    none = rest.apply("Equal", 0, dtype=TensorProto.BOOL)
    return none.where(quotient, down.where(quotient - 1, quotient))


def floor_modulo(x: Number, by: Number) -> Number:
    """x % by, with the sign of ``by``."""
    return x - floor_division(x, by) * by


def log_gamma(x: Number) -> Number:
    """ln Gamma(x) of x > 0."""
    product = x
    for k in range(1, SHIFT):
        product = product * (x + k)
    z = x + SHIFT
    inverse = z.constant(1) / z
    series = (inverse * inverse).polynomial(STIRLING) * inverse
    large = (z - 0.5) * z.apply("Log") - z + 0.5 * math.log(2 * math.pi) + series
    return large - product.apply("Log")


def normal_quantile(x: Number) -> Number:
    """The quantile function of the normal distribution, computed in float64."""
    p = x.cast(TensorProto.DOUBLE)
    centred = p - 0.5
    tail = p.apply("Min", p.constant(1) - p).apply("Max", 1e-300)
    root = tail.apply("Log").apply("Neg").apply("Sqrt")
    arguments = p.constant(0.180625) - centred * centred, root - 1.6, root - 5.0
    middle, near, far = (
        y.polynomial(above) / y.polynomial(below)
        for y, (above, below) in zip(arguments, QUANTILE, strict=True)
    )
    outer = (root < 5.0).where(near, far) * centred.apply("Sign")
    found = (centred.apply("Abs") < 0.425).where(centred * middle, outer)
    return found.cast(x.dtype)


def inverse_error_function(x: Number) -> Number:
    """erfinv(x), by the quantile function."""
    p = (x.cast(TensorProto.DOUBLE) + 1) * 0.5
    return (normal_quantile(p) * math.sqrt(0.5)).cast(x.dtype)


def complementary_error_function(x: Number) -> Number:
    """erfc(x), to the precision of float32."""
    wide = x.cast(TensorProto.DOUBLE)
    size = wide.apply("Abs")
    t = wide.constant(1) / (size * 0.5 + 1)
    upper = t * (t.polynomial(COMPLEMENT) - size * size).apply("Exp")
    return (wide < 0).where(upper.constant(2) - upper, upper).cast(x.dtype)


def select(condition: Number, yes: Number, no: Number) -> Number:
    """``yes`` where the condition holds, else ``no``; tf2onnx makes sums of products of it."""
    if yes.dtype != TensorProto.BOOL:
        return condition.where(yes, no)
    rest = condition.apply("Not").apply("And", no)
    return condition.apply("And", yes).apply("Or", rest)


def compared(operation: str) -> Callable[[Number, Number], Number]:
    """A comparison, of integers too; tf2onnx makes floating-point numbers of them first."""

    def compare(x: Number, y: Number) -> Number:
        integers = x.dtype not in (TensorProto.FLOAT, TensorProto.DOUBLE)
        # tf2onnx may change the type of a scalar later, if it counts the turns of a loop.
        if integers and not (x.dtype in SIGNED and x.shape and y.shape):
            x, y = x.cast(TensorProto.INT64), y.cast(TensorProto.INT64)
        return x.apply(operation, y, dtype=TensorProto.BOOL)

    return compare


def indexed(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """x[...] of new axes, whole axes and constant indices, for which tf2onnx copies x first.

    Other slices are as tf2onnx converts them.
    """
    masks = ("ellipsis", "new_axis", "shrink_axis", "begin", "end")
    bits = [node.get_attr_value(f"{mask}_mask", 0) for mask in masks]
    x = Number(graph, node.input[0])
    if x.shape is None or not all(y.is_const() for y in node.inputs[1:]):
        StridedSlice.version_10(graph, node)
        return
    begin, _, steps = (y.get_tensor_value() for y in node.inputs[1:])
    entries = [tuple(b >> k & 1 for b in bits) for k in range(len(begin))]
    consumed = sum(not (ellipsis or new) for ellipsis, new, *_ in entries)
    axis, place = 0, 0  # of x, and of the result
    chosen: list[tuple[int, int]] = []
    added: list[int] = []
    for (ellipsis, new, index, low, high), first, step in zip(entries, begin, steps, strict=True):
        if ellipsis:
            axis, place = (y + len(x.shape) - consumed for y in (axis, place))
        elif new:
            added.append(place)
            place += 1
        elif index:
            chosen.append((axis, int(first)))
            axis += 1
        elif (low or first == 0) and high and step == 1:
            axis, place = axis + 1, place + 1
        else:
            StridedSlice.version_10(graph, node)
            return
    for at, first in reversed(chosen):
        # The only element of an axis needs no copy.
        one = x.shape is not None and x.shape[at] == 1
        x = x.apply("Squeeze", x.integers([at])) if one else x.at(first, at)
    if added:
        x = x.apply("Unsqueeze", x.integers(added))
    replace(graph, node, x)


def upper_bound(table: Number, x: Number) -> Number:
    """How many numbers of a row of ``table`` [B, K] are at most x [B, M], [B, M]."""
    columns, rows = (y.axis(k) for y, k in ((x, 2), (table, 1)))
    beyond = columns < rows
    within = beyond.apply("Not").cast(TensorProto.INT32)
    return within.apply("ReduceSum", within.integers([-1]), dtype=TensorProto.INT32, keepdims=0)


def segment_sum(x: Number, segment: Number, count: Number) -> Number:
    """Sums of the rows of x [n, ...] of each segment 0 to ``count`` - 1; n may be 0.

    Args:
        x: rows.
        segment: [n], of the rows; those that are negative count nowhere.
        count: scalar.
    """
    number, size = segment.cast(TensorProto.INT64), count.cast(TensorProto.INT64)
    rest = x.apply("Shape", dtype=TensorProto.INT64)
    rest = rest.apply("Slice", rest.integers([1]), rest.integers([len(x.shape)]))
    rows = (size + 1).axis(0).apply("Concat", rest, axis=0)
    place = (number < 0).where(size, number).axis(1)  # one more segment for these
    none = x.constant(0).apply("Expand", rows)
    sums = none.apply("ScatterND", place, x, reduction="add")
    return sums.apply("Slice", sums.integers([0]), size.axis(0), sums.integers([0]))


def replacement(function: Callable[..., Number], inputs: int, typed: bool = False) -> Any:
    """A handler of tf2onnx that replaces a node by the result of a function.

    Args:
        function: of ``inputs`` numbers, and if ``typed`` of the type of the result.
        inputs: how many of the node's it takes.
        typed: see ``function``.
    """

    def handle(graph: Any, node: Any, name: str, arguments: Any) -> None:
        numbers = [Number(graph, x) for x in node.input[:inputs]]
        dtype = graph.get_dtype(node.output[0])
        replace(graph, node, function(*numbers, dtype) if typed else function(*numbers))

    return handle, []


def replace(graph: Any, node: Any, found: Number) -> None:
    """Put a number in the place of the result of a node."""
    output = node.output[0]
    shape = graph.get_shape(output)
    graph.set_dtype(found.name, graph.get_dtype(output))
    if shape is not None:
        graph.set_shape(found.name, shape)
    graph.replace_all_inputs(output, found.name)
    graph.remove_node(node.name)


HANDLERS = {
    "AddV2": replacement(lambda x, y: x + y, 2),
    "Sub": replacement(lambda x, y: x - y, 2),
    "Mul": replacement(lambda x, y: x * y, 2),
    "Cos": replacement(cosine, 1),
    "SelectV2": replacement(select, 3),
    "StridedSlice": (indexed, []),
    "Less": replacement(compared("Less"), 2),
    "LessEqual": replacement(compared("LessOrEqual"), 2),
    "Greater": replacement(compared("Greater"), 2),
    "GreaterEqual": replacement(compared("GreaterOrEqual"), 2),
    "Bitcast": replacement(bitcast, 1, typed=True),
    "RightShift": replacement(right_shift, 2),
    "LeftShift": replacement(left_shift, 2),
    "FloorDiv": replacement(floor_division, 2),
    "FloorMod": replacement(floor_modulo, 2),
    "Lgamma": replacement(log_gamma, 1),
    "Ndtri": replacement(normal_quantile, 1),
    "Erfinv": replacement(inverse_error_function, 1),
    "Erfc": replacement(complementary_error_function, 1),
    "UnsortedSegmentSum": replacement(segment_sum, 3),
    "UpperBound": replacement(upper_bound, 2),
    "StatelessRandomNormalV2": replacement(random_normal, 3),
    "StatelessRandomUniformFullIntV2": replacement(random_words, 3, typed=True),
}
