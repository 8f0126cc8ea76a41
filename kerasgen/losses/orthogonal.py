"""Orthogonal regularisation of weight matrices."""

from __future__ import annotations

from typing import Any

from keras import ops


def orthogonal(kernels: list[Any]) -> Any:
    """Sum |W^T W * (1 - I)|_F^2 over kernels (BigGAN, arXiv:1809.11096, eq. 3).

    Args:
        kernels: each [..., outputs], reshaped to a matrix [inputs, outputs].
    """
    total = 0.0
    for kernel in kernels:
        w = ops.reshape(kernel, (-1, kernel.shape[-1]))
        gram = ops.matmul(ops.transpose(w), w)
        total = total + ops.sum(
            ops.square(gram * (1.0 - ops.eye(kernel.shape[-1], dtype=gram.dtype)))
        )
    return total
