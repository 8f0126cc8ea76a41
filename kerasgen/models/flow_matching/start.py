"""Start of a training: networks and optimiser."""

from __future__ import annotations

import keras

from kerasgen.backend.engine import use_deterministic_kernels
from kerasgen.backend.precision import resolve_precision
from kerasgen.backend.random_numbers import seed_initializers
from kerasgen.backend.schedule import WarmUpCosine
from kerasgen.models.flow_matching.model import FlowMatching
from kerasgen.models.flow_matching.network import FlowNetworks
from kerasgen.models.flow_matching.settings import FlowConfig
from kerasgen.models.set_normaliser import Normaliser

MAX_GRADIENT = 1.0  # norm; limits the effect of an outlying batch


def build_networks(
    config: FlowConfig, normaliser: Normaliser, name: str, dtype: str = "float32"
) -> FlowNetworks:
    """The networks of a configuration, with random weights."""
    sizes = normaliser.condition_size, len(normaliser.summaries)
    return FlowNetworks(config.network, *sizes, name=name, dtype=dtype)


def build_flow(config: FlowConfig, normaliser: Normaliser) -> FlowMatching:
    """Build the networks and the optimiser of a run."""
    settings = config.training
    seed_initializers(settings.seed)
    use_deterministic_kernels()
    dtype = resolve_precision(settings.precision)
    fields, ema = (build_networks(config, normaliser, name, dtype) for name in ("fields", "ema"))
    ema.set_weights(fields.get_weights())
    model = FlowMatching(normaliser, fields, ema, settings.ema_decay, settings.seed)
    rate = WarmUpCosine(
        settings.rate, settings.steps, settings.warm_up, settings.final_rate, model.rate_scale
    )
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=MAX_GRADIENT))
    return model
