"""The recipe keys of the PXD GAN: networks, loss, calibration."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class GeneratorSettings:
    """Recipe keys of the generator; arguments of ``SubPixelGenerator`` and ``BigGANDeepGenerator``.

    Attributes:
        channels: width of the trunk (``biggan_deep``: width of the last stage).
        blocks: residual blocks (``biggan_deep``: blocks per stage).
        up_blocks: blocks that double the resolution after the trunk (``sub_pixel``).
        factor: pixels per cell of the trunk (``sub_pixel``).
        bottleneck: block channels / hidden channels.
        latent_size: numbers of the latent vector; on crops a latent vector learns to vary the
            occupancy of whole images, which no crop shows: variance / mean 56 for 14 of the data.
        embedding_size: of the shared sensor embedding.
        deposits: sparse deposits with marks at the input instead of white noise (``sub_pixel``).
        noise_channels: noise numbers per cell at the input (``sub_pixel``).
        noise_gain: fixed gain of the noise inside the blocks; 0 switches it off.
        attention: window [height, width] in cells of the self-attention; empty switches it off.
        output: "gated" or "tanh".
        charge_components: normal distributions that the charge of a pixel is a mixture of
            (``sub_pixel``, gated).
        floor: lowest level of a fired pixel of the gated output, on [-1, 1].
        padding: "wrap" or "same".
        spectral_norm: switch of the spectral normalisation.
        initializer: "orthogonal", or another Keras initializer.
    """

    channels: int = 64
    blocks: int = 2
    up_blocks: int = 1
    factor: int = 4
    bottleneck: int = 2
    latent_size: int = 0
    embedding_size: int = 32
    deposits: bool = True
    noise_channels: int = 16
    noise_gain: float = 0.1
    attention: list[int] = field(default_factory=lambda: [8, 24])
    output: str = "gated"
    charge_components: int = 3
    floor: float = -0.5
    padding: str = "wrap"
    spectral_norm: bool = True
    initializer: str = "orthogonal"


@dataclass(frozen=True)
class CriticSettings:
    """Recipe keys of the critic; as above where the names agree.

    Attributes:
        embedding_size: of the metric learning.
        logit_scale: factor of the logits (``sub_pixel``).
        attention: window [height, width] in cells; empty switches it off.
    """

    channels: int = 64
    blocks: int = 2
    bottleneck: int = 2
    embedding_size: int = 64
    logit_scale: float = 4.0
    attention: list[int] = field(default_factory=list)
    spectral_norm: bool = True
    initializer: str = "orthogonal"


@dataclass(frozen=True)
class LossSettings:
    """Weights and forms of the loss terms; a weight of 0 switches a term off.

    Attributes:
        adversarial: "hinge" or "critic".
        critic_steps: N_D, critic steps per generator step.
        contrastive: weight of the metric-learning term in both networks.
        contrastive_form: "2c" or "margin".
        temperature: of the 2C form.
        margin: of the margin form.
        consistency: weight lambda_cr.
        consistency_form: "plain" (real) or "balanced" (real and generated, arXiv:2002.04724).
        consistency_shift: largest shift of the augmentation, pixels.
        pixel_aware: lambda of the pixel-aware term (a mean over pixels); without effect where
            charges are drawn above threshold, as ``sub_pixel`` with a gated output does.
        orthogonal: weight b of the orthogonal regularisation of the generator.
        occupancy: rate at which the cuts of the gated output follow the data's occupancy.
        kl: weight beta of the marks' divergence from their prior, in the reconstruction.
        score_scale: logit of a fired pixel / score, in the reconstruction.
    """

    adversarial: str = "hinge"
    critic_steps: int = 1
    contrastive: float = 0.1
    contrastive_form: str = "2c"
    temperature: float = 0.5
    margin: float = 1.0
    consistency: float = 3.0
    consistency_form: str = "plain"
    consistency_shift: int = 4
    pixel_aware: float = 50.0
    orthogonal: float = 1e-4
    occupancy: float = 0.02
    kl: float = 0.3
    score_scale: float = 8.0


@dataclass(frozen=True)
class CalibrationSettings:
    """Fit of the firing threshold and the charge map per sensor, after training.

    Attributes:
        events: generated events of the fit, which becomes part of the exported graph; the data's
            are training events. 0 switches it off.
    """

    events: int = 40
