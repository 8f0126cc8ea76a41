"""Start of a training: networks, optimisers, and the standardisation of the flow."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kerasgen.backend.engine import use_deterministic_kernels
from kerasgen.backend.precision import resolve_precision
from kerasgen.backend.random_numbers import seed_initializers
from kerasgen.backend.schedule import WarmUpCosine
from kerasgen.models.set_normaliser import Normaliser
from kerasgen.models.sparse_vae.settings import VAEConfig
from kerasgen.models.sparse_vae.vae import SparseVAE

MAX_GRADIENT = 10.0  # norm; limits the effect of an outlying batch
STANDARDISE_SETS = 20_000  # training sets whose latents standardise the flow


def build_vae(config: VAEConfig, normaliser: Normaliser) -> SparseVAE:
    """Build networks and optimisers of a run."""
    settings, prior = config.training, config.prior
    seed_initializers(settings.seed)
    use_deterministic_kernels()
    dtype = resolve_precision(settings.precision)
    vae = SparseVAE(normaliser, config.network, prior, config.loss, settings.seed, dtype)
    vae.compile(
        *(
            keras.optimizers.Adam(
                WarmUpCosine(
                    rate, max(steps, 1), settings.warm_up, settings.final_rate, vae.rate_scale
                ),
                global_clipnorm=MAX_GRADIENT,
            )
            for rate, steps in ((settings.rate, settings.steps), (prior.rate, prior.steps))
        )
    )
    return vae


def standardise_flow(vae: SparseVAE, arrays: dict[str, NDArray[Any]]) -> None:
    """Start the flow at mean and standard deviation of encoded latents.

    Args:
        vae: with a trained encoder.
        arrays: training sets as ``SparseVAE`` takes them.
    """
    sets = len(arrays["mask"])
    chosen = np.linspace(0, sets - 1, min(STANDARDISE_SETS, sets)).astype(int)  # of all classes
    encoded = [
        vae.encode({name: x[rows] for name, x in arrays.items()})
        for rows in np.split(chosen, range(1000, len(chosen), 1000))
    ]
    mean = np.concatenate([np.asarray(x[0]) for x in encoded])
    variance = np.exp(np.concatenate([np.asarray(x[1]) for x in encoded]))
    vae.flow.center.assign(mean.mean(axis=0))
    vae.flow.deviation.assign(np.sqrt(mean.var(axis=0) + variance.mean(axis=0)))
