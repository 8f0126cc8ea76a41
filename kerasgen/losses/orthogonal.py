"""Orthogonal regularisation of weight matrices."""

from __future__ import annotations

from typing import Any

from keras import ops


def orthogonal(kernels: list[Any]) -> Any:
    """Sum |W^T W * (1 - I)|_F^2 over kernels (BigGAN, arXiv:1809.11096, eq. 3).

    Args:
        kernels: each [..., outputs], reshaped to a matrix [inputs, outputs].
    """
    return sum(off_diagonal(ops.reshape(x, (-1, x.shape[-1]))) for x in kernels)


def off_diagonal(w: Any) -> Any:
    """|W^T W * (1 - I)|_F^2 of a matrix [inputs, outputs].

    W W^T has the same norm as W^T W. It is smaller where there are fewer inputs: of the first layer
    of BigGAN-deep 256 x 256 instead of 24576 x 24576 numbers.
    """
    inputs, outputs = w.shape
    if outputs <= inputs:
        gram = ops.matmul(ops.transpose(w), w)
        return ops.sum(ops.square(gram * (1.0 - ops.eye(outputs, dtype=gram.dtype))))
    gram = ops.matmul(w, ops.transpose(w))
    diagonal = ops.sum(ops.square(w), 0)
    return ops.sum(ops.square(gram)) - ops.sum(ops.square(diagonal))
