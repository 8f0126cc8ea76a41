"""Reconstruction of hits: the evidence lower bound of a variational auto-encoder of clusters."""

from __future__ import annotations

from typing import Any

from keras import ops


def fired_likelihood(fired: Any, score: Any) -> Any:
    """-log p of the fired pixels, sum over pixels, nats: Bernoulli with ``score`` as its logit.

    Arguments:
        fired: 1 where a pixel fired, else 0.
        score: same shape.
    """
    # softplus(score) - fired * score, without overflow
    loss = ops.relu(score) - fired * score + ops.log1p(ops.exp(-ops.abs(score)))
    return ops.sum(loss)


def charge_likelihood(
    fired: Any, charge: Any, log_share: Any, mean: Any, width: Any, above: Any
) -> Any:
    """-log p of the charges of fired pixels, sum, nats without log(2 pi) / 2: of a mixture of
    normal distributions each, every one of them cut off at the threshold.

    Arguments:
        fired: [...], 1 where a pixel fired, else 0.
        charge: [...], real charge on the scale of ``mean``; any number where no pixel fired.
        log_share: [..., K], log of the shares of the components, which add up to 1.
        mean, width: [..., K], of their normal distributions.
        above: [..., K], the share of each that is above the threshold.
    """
    away = (charge[..., None] - mean) / width
    log_density = log_share - 0.5 * ops.square(away) - ops.log(width * above)
    return -ops.sum(fired * ops.logsumexp(log_density, axis=-1))


def kl_divergence(present: Any, mean: Any, log_variance: Any) -> Any:
    """KL(N(mean, variance) || N(0, 1)), sum over the marks of deposits, nats (arXiv:1312.6114).

    Arguments:
        present: [B, h, w, 1], 1 where there is a deposit, else 0.
        mean, log_variance: [B, h, w, marks].
    """
    return ops.sum(present * gaussian_kl(mean, log_variance))


def gaussian_kl(mean: Any, log_variance: Any) -> Any:
    """KL(N(mean, variance) || N(0, 1)) of each number, nats, of the shape of the arguments."""
    return 0.5 * (ops.square(mean) + ops.exp(log_variance) - log_variance - 1.0)
