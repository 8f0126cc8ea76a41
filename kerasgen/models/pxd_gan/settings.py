"""The recipe keys of the PXD GAN, each with its type, its allowed values and its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from kerasgen.config import (
    Count,
    Fraction,
    Initial,
    PositiveCount,
    PositiveFloat,
    Precision,
    Range,
    Seed,
    Size,
    Weight,
    check_held_out,
)
from kerasgen.data.pixel_source import PixelDataSettings, PixelEvaluationSettings
from kerasgen.errors import InputError

ADVERSARIAL = "adversarial"  # the only stage of a training
Momentum = Annotated[float, Range(0, 1, high_open=True)]
Width = Annotated[int, Range(8, 4096)]
# Names of Keras; those that need arguments are left out.
Initializer = Literal[
    "orthogonal", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal",
    "lecun_uniform", "random_normal", "random_uniform", "truncated_normal",
]  # fmt: skip


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
            occupancy of whole images, which no crop shows: variance / mean 56, data 14.
        embedding_size: of the shared sensor embedding.
        noise_channels: numbers of white noise per cell at the input (``sub_pixel``).
        noise_gain: fixed gain of the noise inside the blocks; 0 switches it off.
        attention: window [height, width] in cells of the self-attention; empty switches it off.
        output: "gated" or "tanh".
        charge_components: normal distributions in the mixture of a pixel's charge (``sub_pixel``,
            gated).
        floor: lowest normalised charge of a fired pixel of the gated output, on [-1, 1].
        padding: "wrap" or "same".
        spectral_norm: switch of the spectral normalisation.
        initializer: "orthogonal", or another Keras initializer.
    """

    channels: Width = 64
    blocks: PositiveCount = 2
    up_blocks: Count = 1
    factor: PositiveCount = 4
    bottleneck: PositiveCount = 2
    latent_size: Count = 0
    embedding_size: PositiveCount = 32
    noise_channels: PositiveCount = 16
    noise_gain: Weight = 0.1
    attention: Size = field(default_factory=lambda: [8, 24])
    output: Literal["gated", "tanh"] = "gated"
    charge_components: PositiveCount = 3
    floor: Annotated[float, Range(-1, 1, high_open=True)] = -0.5
    padding: Literal["wrap", "same"] = "wrap"
    spectral_norm: bool = True
    initializer: Initializer = "orthogonal"


@dataclass(frozen=True)
class DiscriminatorSettings:
    """Recipe keys of the discriminator; as above where the names agree.

    Attributes:
        embedding_size: of the metric learning.
        logit_scale: factor of the logits (``sub_pixel``).
        attention: window [height, width] in cells; empty switches it off.
    """

    channels: Width = 64
    blocks: Count = 2
    bottleneck: PositiveCount = 2
    embedding_size: PositiveCount = 64
    logit_scale: PositiveFloat = 4.0
    attention: Size = field(default_factory=list)
    spectral_norm: bool = True
    initializer: Initializer = "orthogonal"


@dataclass(frozen=True)
class LossSettings:
    """Weights and variants of the loss terms; a weight of 0 switches a term off.

    Attributes:
        adversarial: "hinge", "wasserstein" or "relativistic" (each generated image is paired with
            the real one of its condition).
        gradient_penalty: gamma; half of it times the squared gradient of the discriminator on real
            images, and on generated ones.
        penalty_variant: "jitter" (to first order, without second derivatives) or "exact".
        penalty_sigma: of the jitter, in normalised charge.
        discriminator_steps: N_D, discriminator steps per generator step.
        contrastive: weight of the metric-learning term in both networks.
        contrastive_variant: "2c" or "margin".
        temperature: of the variant "2c".
        margin: of the variant "margin".
        consistency: weight lambda_cr.
        consistency_variant: "plain" (real) or "balanced" (real and generated, arXiv:2002.04724).
        consistency_shift: largest shift of the augmentation, pixels.
        pixel_aware: lambda of the pixel-aware term (a mean over pixels); without effect where
            charges are sampled above the threshold, as ``sub_pixel`` with a gated output does.
        orthogonal: weight b of the orthogonal regularisation of the generator.
        occupancy: rate at which the firing thresholds of the gated output follow the data's
            occupancy.
    """

    adversarial: Literal["hinge", "wasserstein", "relativistic"] = "hinge"
    gradient_penalty: Weight = 0.0
    penalty_variant: Literal["jitter", "exact"] = "jitter"
    penalty_sigma: PositiveFloat = 0.05
    discriminator_steps: PositiveCount = 1
    contrastive: Weight = 0.1
    contrastive_variant: Literal["2c", "margin"] = "2c"
    temperature: PositiveFloat = 0.5
    margin: Weight = 1.0
    consistency: Weight = 3.0
    consistency_variant: Literal["plain", "balanced"] = "plain"
    consistency_shift: PositiveCount = 4
    pixel_aware: Weight = 50.0
    orthogonal: Weight = 1e-4
    occupancy: Weight = 0.02


@dataclass(frozen=True)
class CalibrationSettings:
    """Fit of the firing threshold and the quantile map per sensor, after training.

    Attributes:
        events: generated events of the fit, which are compared with training events; the result
            becomes part of the exported graph. 0 switches it off.
    """

    events: Count = 40


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes:
        steps: generator steps.
        batch: images (or crops) of one discriminator step.
        accumulate: steps whose gradients are averaged into one update, so that small batches
            give the update of a large one; batch statistics stay those of the small batch.
        crop: [height, width] of the training crops, pixels; empty: whole images.
        generator_rate, discriminator_rate: peak learning rates of Adam.
        beta1, beta2: of Adam.
        schedule: "cosine" (to ``final_rate`` of the peak) or "constant".
        final_rate: last learning rate / peak, of the cosine.
        warm_up: steps of linear warm-up.
        ema_decay: of the exponential moving average of the generator's weights.
        precision: "float32", "bfloat16" or "auto" (bfloat16 where the processor has it).
        evaluate_every: steps between evaluations on held-out events, each with a checkpoint.
        evaluate_events: events of such an evaluation.
        on_collapse: "stop" or "rollback" (to the last good checkpoint, with half the rates).
        seed: of weights, noise and order of the images.
        init: generator to start from: "" (random weights) or "zoo" (the released weights);
            the discriminator starts at random.
    """

    steps: PositiveCount = 20000
    batch: PositiveCount = 16
    accumulate: PositiveCount = 1
    crop: Size = field(default_factory=lambda: [64, 192])
    generator_rate: Weight = 2e-4
    discriminator_rate: Weight = 2e-4
    beta1: Momentum = 0.0
    beta2: Momentum = 0.99
    schedule: Literal["cosine", "constant"] = "cosine"
    final_rate: Fraction = 0.02
    warm_up: Count = 50
    ema_decay: Momentum = 0.998
    precision: Precision = "auto"
    evaluate_every: PositiveCount = 500
    evaluate_events: Annotated[int, Range(2)] = 6
    on_collapse: Literal["stop", "rollback"] = "stop"
    seed: Seed = 0
    init: Initial = ""


@dataclass(frozen=True)
class Config:
    """A run of the PXD GAN, resolved.

    Attributes:
        recipe: name of the recipe.
        description: one line.
        algorithm: "pxd_gan".
        architecture: of the networks, "sub_pixel" or "biggan_deep".
    """

    recipe: str
    description: str = ""
    algorithm: Literal["pxd_gan"] = "pxd_gan"
    architecture: Literal["sub_pixel", "biggan_deep"] = "sub_pixel"
    data: PixelDataSettings = field(default_factory=PixelDataSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    discriminator: DiscriminatorSettings = field(default_factory=DiscriminatorSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    evaluation: PixelEvaluationSettings = field(default_factory=PixelEvaluationSettings)


def check(config: Config) -> None:
    """Check recipe keys against each other.

    Raises:
        InputError: no run could work with them.
    """
    check_held_out(config.data)
    precision = config.training.precision
    if config.loss.gradient_penalty and precision != "float32":
        raise InputError(
            f"training.precision = {precision!r}: 'float32' with loss.gradient_penalty, "
            "whose differences are small"
        )
