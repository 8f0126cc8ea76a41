"""The divergence term of the evidence lower bound of a variational auto-encoder."""

from __future__ import annotations

from typing import Any

from keras import ops


def gaussian_kl(mean: Any, log_variance: Any) -> Any:
    """Elementwise KL(N(mean, variance) || N(0, 1)), nats (arXiv:1312.6114).

    The result has the shape of the arguments.
    """
    return 0.5 * (ops.square(mean) + ops.exp(log_variance) - log_variance - 1.0)
