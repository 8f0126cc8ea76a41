"""The recipe keys of the sparse VAE: networks, prior, loss."""

from __future__ import annotations

from dataclasses import dataclass

RECONSTRUCTIONS = ("joint", "position_first", "ordered", "likelihood")


@dataclass(frozen=True)
class NetworkSettings:
    """Recipe keys of encoder and decoder.

    Attributes:
        encoder: "dense" (all points of a set in the order of their intensity), "set" (a network
            per point, masked mean and maximum over the points) or "conv" (published form).
        decoder: "dense", "set" (a network per point of the latent vector and the point's number),
            "conv", or "drawn" (every point from its own distribution, one after another, see
            ``kerasgen.models.sparse_vae.drawn``).
        width: hidden units of a layer; of "conv" the filters of the first layer, the others have
            2 and 4 times as many.
        layers: hidden layers; "conv" has its three and one dense layer.
        latent_size: numbers of the latent vector.
        components: normal distributions in each mixture of the decoder "drawn".
        temperature: of "drawn": multiplies the widths and divides the log weights of the mixtures
            when sets are generated; 1 draws what was learned, less is clearer and less diverse.
        pt: whether networks and prior are conditional on the pT of the jet.
        total: whether the last number of the latent vector is the summed intensity of the points,
            known instead of inferred, and "drawn" is told how much of it is left: each step down
            in intensity adds an error to the sum otherwise (relative jets with a flow as prior,
            which learns how the sum depends on the rest, and ``data.log_intensity``).
    """

    encoder: str = "dense"
    decoder: str = "dense"
    width: int = 256
    layers: int = 2
    latent_size: int = 32
    components: int = 8
    temperature: float = 1.0
    pt: bool = False
    total: bool = False


@dataclass(frozen=True)
class PriorSettings:
    """Recipe keys of the prior of the latent vector.

    Attributes:
        form: "normal" (standard normal) or "flow" (normalizing flow fitted to encoded latents).
        layers: affine couplings of the flow.
        width: hidden units of a coupling.
        steps: training steps of the flow, after those of the auto-encoder.
        rate: peak learning rate of the flow.
    """

    form: str = "normal"
    layers: int = 8
    width: int = 128
    steps: int = 0
    rate: float = 1e-3


@dataclass(frozen=True)
class VAELossSettings:
    """L = reconstruction + beta KL + features [(dpT)^2 + mass (dm)^2 + eta (dy)^2].

    Attributes:
        reconstruction: "joint", "position_first" or "ordered", see
            ``kerasgen.losses.nearest_neighbour``; "likelihood" with the decoder "drawn".
        beta: weight of the KL divergence.
        warm_up: steps over which beta rises from 0.
        features: weight of the jet features; 0 switches them off.
        mass, eta: weights inside that term; mass about <pT> / <m> balances the two.
        mirror: mirror jets in eta and phi at random, which leaves their physics as it is; relative
            coordinates alone.
    """

    reconstruction: str = "joint"
    beta: float = 0.01
    warm_up: int = 0
    features: float = 0.0
    mass: float = 1.0
    eta: float = 0.0
    mirror: bool = False
