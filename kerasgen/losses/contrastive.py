"""Contrastive losses on embeddings: the conditional 2C loss and the margin loss."""

from __future__ import annotations

from typing import Any

from keras import ops

MASKED = -1e9  # logit of a pair that is left out


def normalise_rows(x: Any) -> Any:
    """Scale the rows of [B, K] to unit length, float32."""
    x = ops.cast(x, "float32")
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)


def conditional_contrastive(
    embedding: Any, proxy: Any, label: Any, temperature: float = 1.0
) -> Any:
    """2C loss of ContraGAN (arXiv:2006.12681, eq. 8), averaged over the batch.

    l_i = -log [ (exp(e_i c_i / t) + sum_{j != i, y_j = y_i} exp(e_i e_j / t))
               / (exp(e_i c_i / t) + sum_{j != i} exp(e_i e_j / t)) ]

    Args:
        embedding: [B, K], e; the function normalises it.
        proxy: [B, K], c, the embedding of each row's class; the function normalises it.
        label: [B] int, y.
        temperature: t.
    """
    e, c = normalise_rows(embedding), normalise_rows(proxy)
    pull = ops.sum(e * c, axis=-1, keepdims=True) / temperature  # [B, 1]
    pairs = ops.matmul(e, ops.transpose(e)) / temperature  # [B, B]
    other = 1.0 - ops.eye(ops.shape(e)[0], dtype=e.dtype)
    same = other * ops.cast(label[:, None] == label[None, :], "float32")
    positive = ops.concatenate([pull, pairs + (1.0 - same) * MASKED], axis=1)
    every = ops.concatenate([pull, pairs + (1.0 - other) * MASKED], axis=1)
    return ops.mean(ops.logsumexp(every, axis=1) - ops.logsumexp(positive, axis=1))


def margin_contrastive(embedding: Any, proxy: Any, label: Any, margin: float = 1.0) -> Any:
    """Hadsell's margin loss (CVPR 2006, eq. 4) between embeddings and class proxies.

    Every row is paired with every proxy of the batch. A pair of one class costs d^2, a pair of two
    classes max(margin - d, 0)^2, with d the distance of the unit vectors. The loss is the mean
    over the pairs.

    Args:
        embedding, proxy: [B, K]; the function normalises both.
        label: [B] int.
        margin: distance beyond which other classes no longer repel.
    """
    e, c = normalise_rows(embedding), normalise_rows(proxy)
    square = ops.maximum(2.0 - 2.0 * ops.matmul(e, ops.transpose(c)), 1e-12)  # [B, B]
    same = ops.cast(label[:, None] == label[None, :], "float32")
    return ops.mean(margin_terms(same, ops.sqrt(square), margin))


def margin_terms(same: Any, distance: Any, margin: float) -> Any:
    """Elementwise terms same * d^2 + (1 - same) * max(margin - d, 0)^2.

    Hadsell, eq. 4, times 2.
    """
    push = ops.relu(margin - distance)
    return same * ops.square(distance) + (1.0 - same) * ops.square(push)
