"""Arithmetic in a graph of ONNX, written with the operators of Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto
from tf2onnx import utils


@dataclass(frozen=True)
class Number:
    """The result of an operation of ONNX, with the operators of Python.

    Attributes:
        graph: of tf2onnx.
        name: of the tensor.
    """

    graph: Any
    name: str

    @property
    def dtype(self) -> int:
        """Element type, of ``TensorProto``."""
        return self.graph.get_dtype(self.name)

    @property
    def shape(self) -> list[int]:
        """Its dimensions; -1 where one is not known."""
        return self.graph.get_shape(self.name)

    def apply(self, operation: str, *others: Any, dtype: int | None = None, **attr: Any) -> Number:
        """An operation on this and other numbers, in the type of this one.

        Args:
            operation: of ONNX.
            others: further inputs, numbers or Python's.
            dtype: of the result; None: as this one.
            attr: attributes of the operation.
        """
        inputs = [self.name, *(self.constant(x).name for x in others)]
        dtype = self.dtype if dtype is None else dtype
        node = self.graph.make_node(operation, inputs, attr=attr, dtypes=[dtype])
        return Number(self.graph, node.output[0])

    def wrapping(self, operation: str, other: Any) -> Number:
        """Add, Sub or Mul; of uint64 in int64, with the same bits: older ONNX Runtimes lack it."""
        if self.dtype != TensorProto.UINT64:
            return self.apply(operation, other)
        signed = (x.cast(TensorProto.INT64) for x in (self, self.constant(other)))
        return next(signed).apply(operation, next(signed)).cast(TensorProto.UINT64)

    def constant(self, value: Any) -> Number:
        """A value of Python in the type of this number; a number as it is."""
        if isinstance(value, Number):
            return value
        dtype = utils.map_onnx_to_numpy_type(self.dtype)
        node = self.graph.make_const(utils.make_name("constant"), np.array(value, dtype))
        return Number(self.graph, node.output[0])

    def cast(self, dtype: int) -> Number:
        """In another type; integers keep their bits."""
        return self.apply("Cast", dtype=dtype, to=dtype)

    def __add__(self, other: Any) -> Number:
        return self.wrapping("Add", other)

    def __sub__(self, other: Any) -> Number:
        return self.wrapping("Sub", other)

    def __mul__(self, other: Any) -> Number:
        return self.wrapping("Mul", other)

    def __truediv__(self, other: Any) -> Number:
        return self.apply("Div", other)

    def __and__(self, other: Any) -> Number:
        return self.apply("BitwiseAnd", other)

    def __xor__(self, other: Any) -> Number:
        return self.apply("BitwiseXor", other)

    def __rshift__(self, other: Any) -> Number:
        return self.apply("BitShift", other, direction="RIGHT")

    def __lshift__(self, other: Any) -> Number:
        return self.apply("BitShift", other, direction="LEFT")

    def __lt__(self, other: Any) -> Number:
        return self.apply("Less", other, dtype=TensorProto.BOOL)

    def where(self, yes: Number, no: Any) -> Number:
        """``yes`` where this truth value holds, else ``no``."""
        return self.apply("Where", yes, yes.constant(no), dtype=yes.dtype)

    def integers(self, values: Any) -> Number:
        """A constant of int64."""
        node = self.graph.make_const(utils.make_name("integers"), np.array(values, np.int64))
        return Number(self.graph, node.output[0])

    def axis(self, place: int) -> Number:
        """With a further axis of length 1."""
        return self.apply("Unsqueeze", self.integers([place]))

    def at(self, place: int, axis: int = 0) -> Number:
        """The elements at a place of an axis, which goes; of a vector a scalar."""
        return self.apply("Gather", self.integers(place), axis=axis)

    def polynomial(self, factors: tuple[float, ...]) -> Number:
        """sum_k factors[k] x^k."""
        total = self.constant(factors[-1])
        for factor in factors[-2::-1]:
            total = total * self + factor
        return total
