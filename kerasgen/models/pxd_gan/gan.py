"""The training algorithm of the PXD GAN: VAE pre-training, then the adversarial stage."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasgen.backend.random_numbers import image_inputs, step_seed
from kerasgen.backend.replicas import (
    assign_on_replicas,
    gather_rows,
    replica_count,
    replica_index,
    sum_over_replicas,
)
from kerasgen.layers.spectral import SpectralEmbedding, SpectralLayer, power_iteration
from kerasgen.losses import adversarial
from kerasgen.losses.consistency import consistency, shift_images
from kerasgen.losses.contrastive import conditional_contrastive, margin_contrastive
from kerasgen.losses.elbo import charge_nll, fired_nll, kl_divergence
from kerasgen.losses.occupancy import occupancy_ratio
from kerasgen.losses.orthogonal import orthogonal
from kerasgen.losses.pixel_aware import pixel_aware
from kerasgen.models.pxd_gan.clusters import PLACEMENT_NORMALS, inferred_clusters, real_segment_map
from kerasgen.models.pxd_gan.output import EMPTY_PIXEL, fraction_above, logit_from_charge
from kerasgen.models.pxd_gan.settings import LossSettings

PRETRAINING, ADVERSARIAL = "pretraining", "adversarial"


class PXDGAN(keras.Model):
    """Generator, discriminator and the EMA generator that is evaluated and exported.

    One batch holds ``discriminator_steps`` discriminator batches. Every random number follows from
    (seed, step, stream), so that a resumed run repeats the one that was interrupted.

    Args:
        generator, discriminator: networks.
        ema: a generator of the same shape; its weights are the exponential moving average.
        loss: weights and variants.
        charge_threshold: normalised, half an ADU below the threshold.
        occupancy: [sensors], the data's fraction of fired pixels of the padded image.
        seed: of the run.
        ema_decay: decay of the moving average per step.
        encoder: infers the latents of real clusters; None: no VAE pre-training.
        pretraining_every: in the adversarial stage, one of so many images of a batch has the terms
            of the VAE pre-training.

    Attributes:
        stage: "pretraining" or "adversarial"; set it before the step is traced.
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
        encoder: keras.Model | None = None,
        pretraining_every: int = 1,
    ) -> None:
        super().__init__(dtype="float32")  # of its networks each has its own
        self.generator = generator
        self.discriminator = discriminator
        self.ema = ema
        self.settings = loss
        self.charge_threshold = charge_threshold
        self.data_occupancy = tf.constant(occupancy, tf.float32)
        self.seed = seed
        self.ema_decay = ema_decay
        self.encoder: Any = encoder
        self.pretraining_every = pretraining_every
        self.stage = ADVERSARIAL
        self.iterations = self.add_weight(
            shape=(), initializer="zeros", name="iterations", trainable=False, dtype="int64"
        )
        self.rate_scale = self.add_weight(
            shape=(), initializer="ones", name="rate_scale", trainable=False
        )

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        pretraining_optimizer: Any = None,
        **options: Any,
    ) -> None:
        """Build the optimisers here, or their state is lost when a run is resumed."""
        super().compile(optimizer=None, **options)  # Keras would make one of its own
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        generator_optimizer.build(self.generator.trainable_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)
        self.pretraining_optimizer = pretraining_optimizer
        if self.encoder is not None:
            pretraining_optimizer.build(self.pretraining_variables)
        self.built = True  # its parts are; Keras would wait for a call

    @property
    def adversarial(self) -> bool:
        """Whether a step has its adversarial part."""
        return self.stage == ADVERSARIAL

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
        return tf.convert_to_tensor(self.iterations)

    @property
    def pretraining_variables(self) -> list[keras.Variable]:
        """Variables of the VAE pre-training: generator and encoder."""
        return self.generator.trainable_variables + self.encoder.trainable_variables

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step: VAE pre-training, N_D discriminator steps, generator step, EMA.

        Each discriminator step has its own images.
        """
        step = self.step
        losses: dict[str, Any] = {}
        parts = split_batch(batch, self.settings.discriminator_steps)
        if self.encoder is not None:
            every = self.pretraining_every if self.adversarial else 1
            losses |= self.pretraining_step({k: v[::every] for k, v in parts[-1].items()}, step)
        if self.adversarial:
            for t, real in enumerate(parts):
                losses |= self.discriminator_step(real, step, t)
            losses |= self.generator_step(parts[-1], step)
        self.update_ema()
        assign_on_replicas(self.iterations, step + 1)
        return losses

    def pretraining_step(self, real: dict[str, Any], step: Any) -> dict[str, Any]:
        """VAE update: encode displaced real clusters and decode them to hits."""
        power_iteration(self.generator)
        with tf.GradientTape() as tape:
            terms = self.pretraining_terms(real, step_seed(self.seed, step, "pretraining"))
            total = sum(terms.values())
        apply_gradients(tape, total, self.pretraining_variables, self.pretraining_optimizer)
        return named_terms("pretraining", terms, total)

    def pretraining_terms(self, real: dict[str, Any], seed: Any) -> dict[str, Any]:
        """Terms of the negative evidence lower bound of the batch, nats per cluster."""
        settings, generator = self.settings, self.generator
        image = tf.ensure_shape(real["displaced"], real["image"].shape)
        mean, log_variance = self.encoder(image)
        latent, noise = image_inputs(seed, generator, image.shape[1:3], tf.shape(image)[0])
        _, normals, noise = tf.split(
            noise, [PLACEMENT_NORMALS, generator.cell_latents, -1], axis=-1
        )
        cells = tf.shape(image)[0], noise.shape[1], noise.shape[2]
        known = real_segment_map(real["segments"], cells, generator.factor)
        clusters = inferred_clusters(known, mean, log_variance, normals)
        logit, log_weight, charge, std = generator.distribution(
            real["sensor"], latent, noise, real["origin"], training=True, clusters=clusters
        )
        image = generator.to_cells(image)
        fired = tf.cast(image > EMPTY_PIXEL, tf.float32)
        real_charge = logit_from_charge(image, generator.floor)
        above = fraction_above(charge, std, generator.min_charge_logit)
        terms = {
            "fired": fired_nll(fired, settings.logit_scale * logit),
            "charge": charge_nll(fired, real_charge, log_weight, charge, std, above),
            "kl": settings.kl * kl_divergence(known[..., :1], mean, log_variance),
        }
        segments = sum_over_replicas(tf.reduce_sum(real["segments"][..., -1]))
        count = tf.maximum(segments, 1.0) / replica_count()
        return {name: value / count for name, value in terms.items()}

    def discriminator_step(self, real: dict[str, Any], step: Any, part: int) -> dict[str, Any]:
        """Discriminator update: adversarial, contrastive and consistency terms."""
        fake = self.generate_images(real, step_seed(self.seed, step, "discriminator", part))
        power_iteration(self.discriminator)
        with tf.GradientTape() as tape:
            terms = self.discriminator_terms(real, fake, step_seed(self.seed, step, "shift", part))
            total = sum(terms.values())
        apply_gradients(
            tape, total, self.discriminator.trainable_variables, self.discriminator_optimizer
        )
        return named_terms("discriminator", terms, total)

    def discriminator_terms(self, real: dict[str, Any], fake: Any, seed: Any) -> dict[str, Any]:
        """The weighted terms of the discriminator's loss; a term of weight 0 is left out."""
        settings, sensor, origin = self.settings, real["sensor"], real["origin"]
        images = [real["image"], fake]
        if settings.consistency:
            balanced = settings.consistency_variant == "balanced"
            images += [
                self.shifted_images(x, seed + i) for i, x in enumerate(images[: 1 + balanced])
            ]
        n = len(images)
        logits, embedding, proxy = self.discriminator(
            tf.concat(images, 0), tf.tile(sensor, [n]), tf.tile(origin, [n, 1])
        )
        logits, embedding = tf.split(logits, n), tf.split(embedding, n)
        proxy = tf.split(proxy, n)[0]
        terms = {
            "adversarial": adversarial.DISCRIMINATOR_LOSSES[settings.adversarial](
                logits[0], logits[1]
            )
        }
        if settings.contrastive:
            terms["contrastive"] = settings.contrastive * self.contrastive_term(
                embedding[0], proxy, sensor
            )
        if settings.consistency:
            terms["consistency"] = settings.consistency * sum(
                consistency(
                    tf.reduce_mean(logits[k], [1, 2]), tf.reduce_mean(logits[k + 2], [1, 2])
                )
                + consistency(embedding[k], embedding[k + 2])
                for k in range(n - 2)
            )
        return terms

    def generator_step(self, real: dict[str, Any], step: Any) -> dict[str, Any]:
        """Generator update: adversarial, contrastive, pixel-aware and orthogonal terms."""
        power_iteration(self.generator)
        with tf.GradientTape() as tape:
            fake = self.generate_images(real, step_seed(self.seed, step, "generator"))
            terms = self.generator_terms(real, fake)
            total = sum(terms.values())
        apply_gradients(tape, total, self.generator.trainable_variables, self.generator_optimizer)
        if self.settings.occupancy and self.generator.output_variant == "gated":
            self.update_firing_threshold(fake, real["sensor"])
        return named_terms("generator", terms, total)

    def generator_terms(self, real: dict[str, Any], fake: Any) -> dict[str, Any]:
        """The weighted terms of the generator's loss; a term of weight 0 is left out."""
        settings, sensor = self.settings, real["sensor"]
        logits, embedding, proxy = self.discriminator(fake, sensor, real["origin"])
        terms = {"adversarial": adversarial.generator_loss(logits)}
        if settings.contrastive:
            terms["contrastive"] = settings.contrastive * self.contrastive_term(
                embedding, proxy, sensor
            )
        if settings.pixel_aware:
            terms["pixel_aware"] = settings.pixel_aware * pixel_aware(fake, self.charge_threshold)
        if settings.orthogonal:
            kernels = [x.kernel for x in regularised_layers(self.generator)]
            terms["orthogonal"] = settings.orthogonal * orthogonal(kernels)
        return terms

    def contrastive_term(self, embedding: Any, proxy: Any, sensor: Any) -> Any:
        """The metric-learning term in the variant of the recipe, over the global batch."""
        settings = self.settings
        embedding, proxy = gather_rows(embedding), gather_rows(proxy)
        sensor = tf.cast(gather_rows(tf.cast(sensor, tf.float32)), tf.int32)
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
        fired = fake > self.charge_threshold
        ratio = occupancy_ratio(fired, tf.gather(self.data_occupancy, sensor))
        excess = tf.clip_by_value(ratio - 1.0, -1.0, 1.0)
        threshold = self.generator.firing_threshold
        step = tf.math.unsorted_segment_sum(excess, sensor, threshold.shape[0])
        rate = self.settings.occupancy
        assign_on_replicas(threshold, threshold + rate * sum_over_replicas(step))

    def generate_images(self, real: dict[str, Any], seed: Any) -> Any:
        """Generated images for the sensors and positions of the real images."""
        size = real["image"].shape[1:3]
        latent, noise = image_inputs(seed, self.generator, size, tf.shape(real["sensor"])[0])
        return self.generator(real["sensor"], latent, noise, real["origin"], training=True)[0]

    def shifted_images(self, image: Any, seed: Any) -> Any:
        """Augmentation T of the consistency term: a small random shift of every image."""
        limit = self.settings.consistency_shift
        rows = tf.shape(image)[0]
        offset = tf.random.stateless_uniform(
            [replica_count() * rows, 2], seed, -limit, limit + 1, tf.int32, alg="philox"
        )
        return shift_images(image, offset[replica_index() * rows :][:rows], limit)

    def update_ema(self) -> None:
        """EMA <- decay * EMA + (1 - decay) * generator, then one power iteration."""
        d = self.ema_decay
        for mean, weight in zip(self.ema.weights, self.generator.weights, strict=True):
            assign_on_replicas(mean, d * mean + (1.0 - d) * weight)
        power_iteration(self.ema)


def split_batch(batch: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """Split a batch of parts * B rows into batches of B rows."""
    pieces = {name: tf.split(value, parts) for name, value in batch.items()}
    return [{name: piece[i] for name, piece in pieces.items()} for i in range(parts)]


def apply_gradients(
    tape: tf.GradientTape,
    loss: Any,
    variables: list[keras.Variable],
    optimizer: keras.optimizers.Optimizer,
) -> None:
    """Apply one optimiser step to these variables only.

    The loss is the mean over the replicas.

    Args:
        tape: that recorded the loss.
        loss: scalar.
        variables: to update.
        optimizer: built for these variables.
    """
    # Zero where a term of weight 0 leaves a head of the discriminator unused.
    zero = tf.UnconnectedGradients.ZERO
    gradients = tape.gradient(
        loss,
        [v.value for v in variables],
        # The optimiser sums the gradients of all replicas.
        output_gradients=tf.constant(1.0 / replica_count()),
        unconnected_gradients=zero,
    )
    optimizer.apply(gradients, variables)


def named_terms(network: str, terms: dict[str, Any], total: Any) -> dict[str, Any]:
    """Loss terms and their sum, under the names of TensorBoard."""
    return {f"{network}/{name}": value for name, value in (terms | {"loss": total}).items()}


def regularised_layers(generator: keras.Model) -> list[SpectralLayer]:
    """Layers with orthogonal regularisation: all kernels except embeddings (BigGAN)."""
    layers = generator._flatten_layers()
    return [
        x for x in layers if isinstance(x, SpectralLayer) and not isinstance(x, SpectralEmbedding)
    ]
