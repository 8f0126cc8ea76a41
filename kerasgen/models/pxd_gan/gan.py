"""The training algorithm of the PXD GAN."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasgen.backend.engine import gradient_of, gradient_step, normal, uniform
from kerasgen.backend.random_numbers import image_inputs, key_of
from kerasgen.layers.spectral import SpectralEmbedding, SpectralLayer, power_iteration
from kerasgen.losses import adversarial
from kerasgen.losses.consistency import consistency, shift_images
from kerasgen.losses.contrastive import conditional_contrastive, margin_contrastive
from kerasgen.losses.gradient_penalty import exact_penalty, jitter_penalty
from kerasgen.losses.occupancy import occupancy_ratio
from kerasgen.losses.orthogonal import orthogonal
from kerasgen.losses.pixel_aware import pixel_aware
from kerasgen.models.pxd_gan.settings import ADVERSARIAL, LossSettings


class PXDGAN(keras.Model):
    """Generator, discriminator and the EMA generator that is evaluated and exported.

    ``train_step`` is Algorithm 1: a function of real images, conditions and noise. ``noise`` draws
    the noise of a step from (seed, step), so that a resumed run repeats the interrupted one.

    Args:
        generator, discriminator: networks.
        ema: a generator of the same shape; its weights are the exponential moving average.
        loss: weights and variants.
        charge_threshold: normalised, half an ADU below the threshold.
        occupancy: [sensors], the data's fraction of fired pixels of the padded image.
        seed: of the run.
        ema_decay: decay of the moving average per step.

    Attributes:
        stage: ``ADVERSARIAL``.
        rate_scale: factor of every learning rate.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        ema: keras.Model,
        loss: LossSettings,
        charge_threshold: float,
        occupancy: Any,
        seed: int = 0,
        ema_decay: float = 0.998,
    ) -> None:
        super().__init__(dtype="float32")  # of its networks each has its own
        self.generator = generator
        self.discriminator = discriminator
        self.ema = ema
        self.settings = loss
        self.charge_threshold = charge_threshold
        self.data_occupancy = np.asarray(occupancy, np.float32)
        self.seed = seed
        self.ema_decay = ema_decay
        self.stage = ADVERSARIAL
        self.iterations = self.add_weight(
            shape=(), initializer="zeros", name="iterations", trainable=False, dtype="int32"
        )
        self.rate_scale = self.add_weight(
            shape=(), initializer="ones", name="rate_scale", trainable=False
        )

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        **options: Any,
    ) -> None:
        """Build the optimisers here, or their state is lost when a run is resumed."""
        super().compile(optimizer=None, **options)  # Keras would make one of its own
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        generator_optimizer.build(self.generator.trainable_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)
        self.built = True  # its parts are; Keras would wait for a call

    @property
    def balanced(self) -> bool:
        """Whether the consistency term has generated images too."""
        return self.settings.consistency_variant == "balanced"

    @property
    def optimizers(self) -> dict[str, Any]:
        """Optimisers by the network that they train."""
        return {
            "generator": self.generator_optimizer,
            "discriminator": self.discriminator_optimizer,
        }

    @property
    def step(self) -> Any:
        """Finished training steps, a scalar tensor."""
        return ops.convert_to_tensor(self.iterations)

    @property
    def state(self) -> list[keras.Variable]:
        """Every variable that a step reads or writes."""
        return [*self.variables, *(v for x in self.optimizers.values() for v in x.variables)]

    def train_step(self, real: list[dict[str, Any]], noise: dict[str, Any]) -> dict[str, Any]:
        """One step: N_D discriminator steps, generator step, EMA.

        Args:
            real: N_D batches of ``ImageBatches``; each discriminator step has its own images.
            noise: of ``noise``.

        Returns:
            Loss terms as ``network/term``.
        """
        losses: dict[str, Any] = {}
        for images, numbers in zip(real, noise["discriminator"], strict=True):
            losses |= self.discriminator_step(images, numbers)
        losses |= self.generator_step(real[-1], noise["generator"])
        self.update_ema()
        self.iterations.assign(self.iterations + 1)
        return losses

    def noise(self, real: list[dict[str, Any]]) -> dict[str, Any]:
        """The random numbers of the next step, by sub-step.

        Args:
            real: as in ``train_step``; gives the shapes.
        """
        return {
            "discriminator": [
                self.numbers(x, "discriminator", t)
                | {"shift": self.shifts(x, t), "jitter": self.jitter(x, t)}
                for t, x in enumerate(real)
            ],
            "generator": self.numbers(real[-1], "generator"),
        }

    def numbers(self, real: dict[str, Any], stream: str, part: int = 0) -> dict[str, Any]:
        """Latent [B, L] and noise [B, h, w, N] for images of the shape of the real ones."""
        batch, height, width, _ = real["image"].shape
        key = key_of(self.seed, self.step, stream, part)
        latent, noise = image_inputs(key, self.generator, (height, width), batch)
        return {"latent": latent, "noise": noise}

    def shifts(self, real: dict[str, Any], part: int) -> Any:
        """Shifts of the consistency term's augmentation, int32 [images, B, 2], pixels."""
        limit, images = self.settings.consistency_shift, 1 + self.balanced
        key = key_of(self.seed, self.step, "shift", part)
        drawn = uniform(key, (images, real["image"].shape[0], 2))
        return ops.cast(ops.floor(drawn * (2 * limit + 1)), "int32") - limit

    def jitter(self, real: dict[str, Any], part: int) -> Any:
        """Normal numbers of the jitter of real and generated images, [2 B, H, W, C] or none."""
        settings = self.settings
        wanted = settings.gradient_penalty and settings.penalty_variant == "jitter"
        rows, *size = real["image"].shape
        return normal(
            key_of(self.seed, self.step, "jitter", part), (2 * rows * bool(wanted), *size)
        )

    def discriminator_step(self, real: dict[str, Any], noise: dict[str, Any]) -> dict[str, Any]:
        """Discriminator update: adversarial, contrastive and consistency terms."""
        fake = ops.stop_gradient(self.generate_images(real, noise))
        power_iteration(self.discriminator)
        return self.update(
            "discriminator",
            lambda: (
                self.discriminator_terms(real, fake, noise["shift"])
                | self.penalty_terms(real, fake, noise["jitter"])
            ),
            self.discriminator.trainable_variables,
            self.discriminator_optimizer,
        )

    def discriminator_terms(self, real: dict[str, Any], fake: Any, shift: Any) -> dict[str, Any]:
        """The weighted terms of the discriminator's loss; a term of weight 0 is left out."""
        settings, sensor, origin = self.settings, real["sensor"], real["origin"]
        images = [real["image"], fake]
        if settings.consistency:
            limit = settings.consistency_shift
            moved = images[: 1 + self.balanced]
            images += [shift_images(x, shift[i], limit) for i, x in enumerate(moved)]
        n = len(images)
        logits, embedding, proxy = self.discriminator(
            ops.concatenate(images), ops.tile(sensor, [n]), ops.tile(origin, [n, 1])
        )
        logits, embedding = ops.split(logits, n), ops.split(embedding, n)
        proxy = ops.split(proxy, n)[0]
        adversarial_loss = adversarial.DISCRIMINATOR_LOSSES[settings.adversarial]
        terms = {"adversarial": adversarial_loss(logits[0], logits[1])}
        if settings.contrastive:
            terms["contrastive"] = settings.contrastive * self.contrastive_term(
                embedding[0], proxy, sensor
            )
        if settings.consistency:
            terms["consistency"] = settings.consistency * sum(
                consistency(ops.mean(logits[k], [1, 2]), ops.mean(logits[k + 2], [1, 2]))
                + consistency(embedding[k], embedding[k + 2])
                for k in range(n - 2)
            )
        return terms

    def penalty_terms(self, real: dict[str, Any], fake: Any, jitter: Any) -> dict[str, Any]:
        """Zero-centred gradient penalties on real and on generated images; none of weight 0."""
        settings = self.settings
        if not settings.gradient_penalty:
            return {}
        images = ops.concatenate([real["image"], fake])
        sensor, origin = ops.tile(real["sensor"], [2]), ops.tile(real["origin"], [2, 1])

        def score(x: Any) -> Any:
            return ops.mean(self.discriminator(x, sensor, origin)[0], [1, 2])

        if settings.penalty_variant == "exact":
            penalty = exact_penalty(gradient_of(score, images))
        else:
            sigma = settings.penalty_sigma
            penalty = jitter_penalty(score(images), score(images + sigma * jitter), sigma)
        return {"penalty": settings.gradient_penalty * penalty}  # gamma / 2 of each half's mean

    def generator_step(self, real: dict[str, Any], noise: dict[str, Any]) -> dict[str, Any]:
        """Generator update: adversarial, contrastive, pixel-aware and orthogonal terms."""
        power_iteration(self.generator)

        def loss() -> dict[str, Any]:
            fake = self.generate_images(real, noise)
            if self.settings.occupancy and self.generator.output_variant == "gated":
                self.update_firing_threshold(fake, real["sensor"])
            return self.generator_terms(real, fake)

        return self.update(
            "generator", loss, self.generator.trainable_variables, self.generator_optimizer
        )

    def generator_terms(self, real: dict[str, Any], fake: Any) -> dict[str, Any]:
        """The weighted terms of the generator's loss; a term of weight 0 is left out."""
        settings, sensor = self.settings, real["sensor"]
        logits, embedding, proxy = self.discriminator(fake, sensor, real["origin"])
        paired = settings.adversarial == "relativistic"
        of_real = self.discriminator(real["image"], sensor, real["origin"])[0] if paired else None
        adversarial_terms = adversarial.GENERATOR_TERMS[settings.adversarial]
        terms = {"adversarial": ops.mean(adversarial_terms(of_real, logits))}
        if settings.contrastive:
            terms["contrastive"] = settings.contrastive * self.contrastive_term(
                embedding, proxy, sensor
            )
        if settings.pixel_aware:
            terms["pixel_aware"] = settings.pixel_aware * pixel_aware(fake, self.charge_threshold)
        if settings.orthogonal:
            kernels = [ops.convert_to_tensor(x.kernel) for x in regularised_layers(self.generator)]
            terms["orthogonal"] = settings.orthogonal * orthogonal(kernels)
        return terms

    def contrastive_term(self, embedding: Any, proxy: Any, sensor: Any) -> Any:
        """The metric-learning term in the variant of the recipe."""
        settings = self.settings
        if settings.contrastive_variant == "margin":
            return margin_contrastive(embedding, proxy, sensor, settings.margin)
        return conditional_contrastive(embedding, proxy, sensor, settings.temperature)

    def update_firing_threshold(self, fake: Any, sensor: Any) -> None:
        """Update the firing thresholds towards the data's fraction of fired pixels.

        The threshold is a running statistic, like the mean of a batch normalisation: a stochastic
        approximation of a quantile of the logit (Robbins and Monro, 1951).

        Args:
            fake: generated images [B, H, W, C].
            sensor: [B] int.
        """
        fired = ops.stop_gradient(fake) > self.charge_threshold
        ratio = occupancy_ratio(fired, ops.take(self.data_occupancy, sensor, axis=0))
        excess = ops.clip(ratio - 1.0, -1.0, 1.0)
        threshold = self.generator.firing_threshold
        step = ops.segment_sum(excess, sensor, threshold.shape[0])
        threshold.assign(threshold + self.settings.occupancy * step)

    def generate_images(self, real: dict[str, Any], noise: dict[str, Any]) -> Any:
        """Generated images for the sensors and positions of the real images."""
        inputs = real["sensor"], noise["latent"], noise["noise"], real["origin"]
        return self.generator(*inputs, training=True)[0]

    def update_ema(self) -> None:
        """EMA <- decay * EMA + (1 - decay) * generator, then one power iteration."""
        d = self.ema_decay
        for mean, weight in zip(self.ema.weights, self.generator.weights, strict=True):
            mean.assign(d * mean + (1.0 - d) * weight)
        power_iteration(self.ema)

    def update(
        self, network: str, loss: Any, variables: list[keras.Variable], optimizer: Any
    ) -> dict[str, Any]:
        """One optimiser step on some variables; the terms of the loss as ``network/term``."""
        terms = gradient_step(loss, variables, optimizer, self.state)
        return {f"{network}/{name}": value for name, value in terms.items()}


def regularised_layers(generator: keras.Model) -> list[SpectralLayer]:
    """Layers with orthogonal regularisation: all kernels except embeddings (BigGAN)."""
    layers = generator._flatten_layers()
    return [
        x for x in layers if isinstance(x, SpectralLayer) and not isinstance(x, SpectralEmbedding)
    ]
