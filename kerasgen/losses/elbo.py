"""Terms of the evidence lower bound of a variational auto-encoder of clusters."""

from __future__ import annotations

from typing import Any

from keras import ops


def fired_nll(fired: Any, logit: Any) -> Any:
    """Bernoulli negative log-likelihood of the fired pixels, summed over pixels, nats.

    Args:
        fired: 1 where a pixel fired, else 0.
        logit: logit of the firing probability, same shape.
    """
    # softplus(logit) - fired * logit, without overflow
    loss = ops.relu(logit) - fired * logit + ops.log1p(ops.exp(-ops.abs(logit)))
    return ops.sum(loss)


def charge_nll(fired: Any, charge: Any, log_weight: Any, mean: Any, std: Any, above: Any) -> Any:
    """Negative log-likelihood of the charges of fired pixels, summed, nats.

    Each charge follows a mixture of normal distributions truncated at the threshold. The constant
    log(2 pi) / 2 of each pixel is left out.

    Args:
        fired: [...], 1 where a pixel fired, else 0.
        charge: [...], real charge on the scale of ``mean``; any number where no pixel fired.
        log_weight: [..., K], log of the mixture weights, which add up to 1.
        mean, std: [..., K], mean and standard deviation of the components.
        above: [..., K], fraction of each component above the threshold.
    """
    deviation = (charge[..., None] - mean) / std
    log_density = log_weight - 0.5 * ops.square(deviation) - ops.log(std * above)
    return -ops.sum(fired * ops.logsumexp(log_density, axis=-1))


def kl_divergence(present: Any, mean: Any, log_variance: Any) -> Any:
    """KL(N(mean, variance) || N(0, 1)), summed over the per-cell latents, nats (arXiv:1312.6114).

    Args:
        present: [B, h, w, 1], 1 where a cell has a cluster, else 0.
        mean, log_variance: [B, h, w, latents].
    """
    return ops.sum(present * gaussian_kl(mean, log_variance))


def gaussian_kl(mean: Any, log_variance: Any) -> Any:
    """Elementwise KL(N(mean, variance) || N(0, 1)), nats, in the shape of the arguments."""
    return 0.5 * (ops.square(mean) + ops.exp(log_variance) - log_variance - 1.0)
