"""The recipe keys of the sparse VAE, each with its type, its allowed values and its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from kerasgen.config import Count, Fraction, PositiveCount, Range, Weight, check_held_out
from kerasgen.data.point_source import PointDataSettings
from kerasgen.errors import InputError
from kerasgen.evaluation.point_sets import PointEvaluationSettings
from kerasgen.models.set_settings import SetOptimiserSettings, SetRunSettings

AUTOENCODER, FLOW = "autoencoder", "flow"  # stages of a training
Reconstruction = Literal["joint", "position_first", "ordered", "likelihood"]


@dataclass(frozen=True)
class NetworkSettings:
    """Recipe keys of encoder and decoder.

    Attributes:
        encoder: "dense" (all points of a set in the order of their intensity), "set" (a network
            per point, masked mean and maximum over the points) or "conv" (published variant).
        decoder: "dense", "set" (a network per point, of the latent vector and the point's index),
            "conv", or "autoregressive" (one point after another, each from its own distribution,
            see ``kerasgen.models.sparse_vae.autoregressive``).
        width: hidden units of a layer; with "conv" the filters of the first layer, the others have
            2 and 4 times as many.
        layers: hidden layers; "conv" always has three convolutions and one dense layer.
        latent_size: numbers of the latent vector.
        components: normal distributions in each mixture of the decoder "autoregressive".
        temperature: of the decoder "autoregressive": multiplies the standard deviations and
            divides the log weights of the mixtures when sets are generated; 1 samples the learned
            distribution, less is clearer and less diverse.
        pt: whether networks and prior are conditional on the pT of the jet.
        total: whether the last number of the latent vector is the summed intensity of the points,
            known instead of inferred, and the decoder is conditioned on its remainder; otherwise
            each decrease in intensity adds an error to the sum. For relative jets with
            ``data.log_intensity`` and a flow as prior, which learns how the sum depends on the
            other latents.
    """

    encoder: Literal["dense", "set", "conv"] = "dense"
    decoder: Literal["dense", "set", "conv", "autoregressive"] = "dense"
    width: PositiveCount = 256
    layers: PositiveCount = 2
    latent_size: Annotated[int, Range(2, 4096)] = 32
    components: PositiveCount = 8
    temperature: Annotated[float, Range(0.1)] = 1.0
    pt: bool = False
    total: bool = False


@dataclass(frozen=True)
class PriorSettings:
    """Recipe keys of the prior of the latent vector.

    Attributes:
        variant: "normal" (standard normal) or "flow" (normalizing flow fitted to encoded latents).
        layers: affine couplings of the flow.
        width: hidden units of a coupling.
        steps: training steps of the flow, after those of the auto-encoder.
        rate: peak learning rate of the flow.
    """

    variant: Literal["normal", "flow"] = "normal"
    layers: PositiveCount = 8
    width: PositiveCount = 128
    steps: Count = 0
    rate: Weight = 1e-3


@dataclass(frozen=True)
class VAELossSettings:
    """L = reconstruction + beta KL + features [(dpT)^2 + mass (dm)^2 + eta (dy)^2].

    Attributes:
        reconstruction: "joint", "position_first" or "ordered", see
            ``kerasgen.losses.nearest_neighbour``; "likelihood" with the decoder "autoregressive".
        beta: weight of the KL divergence.
        warm_up: steps over which beta rises from 0.
        features: weight of the jet features; 0 switches them off.
        mass, eta: weights inside that term; mass about <pT> / <m> balances the two.
        mirror: mirror jets in eta and phi at random, which does not change their physics; relative
            coordinates only.
    """

    reconstruction: Reconstruction = "joint"
    beta: Weight = 0.01
    warm_up: Count = 0
    features: Weight = 0.0
    mass: Weight = 1.0
    eta: Weight = 0.0
    mirror: bool = False


@dataclass(frozen=True)
class VAETrainingSettings(SetRunSettings, SetOptimiserSettings):
    """How to train encoder and decoder.

    Attributes:
        steps: of the auto-encoder; ``prior.steps`` of the flow follow.
        precision: of encoder and decoder.
    """

    steps: PositiveCount = 10000
    final_rate: Fraction = 0.02
    evaluate_every: PositiveCount = 2000


@dataclass(frozen=True)
class VAEConfig:
    """A run of the sparse VAE, resolved.

    Attributes:
        recipe: name of the recipe.
        description: one line.
        algorithm: "sparse_vae".
    """

    recipe: str
    description: str = ""
    algorithm: Literal["sparse_vae"] = "sparse_vae"
    data: PointDataSettings = field(default_factory=PointDataSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    prior: PriorSettings = field(default_factory=PriorSettings)
    loss: VAELossSettings = field(default_factory=VAELossSettings)
    training: VAETrainingSettings = field(default_factory=VAETrainingSettings)
    evaluation: PointEvaluationSettings = field(default_factory=PointEvaluationSettings)


def check(config: VAEConfig) -> None:
    """Check recipe keys against each other.

    Raises:
        InputError: no run could work with them.
    """
    check_held_out(config.data)
    data, loss, network = config.data, config.loss, config.network
    autoregressive = network.decoder == "autoregressive"
    if (config.prior.variant == "flow") != (config.prior.steps > 0):
        raise InputError("prior.steps: above 0 with prior.variant = 'flow', and 0 with 'normal'")
    if data.log_intensity and data.coordinates == "cartesian":
        raise InputError("data.log_intensity: a component of a momentum may be negative")
    if autoregressive != (loss.reconstruction == "likelihood"):
        raise InputError(
            "network.decoder = 'autoregressive' goes with loss.reconstruction = 'likelihood'"
        )
    if loss.features and loss.reconstruction == "likelihood":
        raise InputError("loss.features: 0 with loss.reconstruction = 'likelihood'")
    if loss.mirror and data.coordinates != "relative":
        raise InputError("loss.mirror: for data.coordinates = 'relative'")
    fits = autoregressive and config.prior.variant == "flow"
    if network.total and not (fits and data.log_intensity and data.coordinates == "relative"):
        raise InputError(
            "network.total: for network.decoder = 'autoregressive', prior.variant = 'flow', "
            "data.log_intensity = true and data.coordinates = 'relative'"
        )
