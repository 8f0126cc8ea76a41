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
from kerasgen.models.pxd_gan.clusters import PLACE, inferred_clusters, real_segment_map
from kerasgen.models.pxd_gan.output import EMPTY, level_logit, share_above
from kerasgen.models.pxd_gan.settings import LossSettings

PRETRAINING, ADVERSARIAL = "pretraining", "adversarial"


class PXDGAN(keras.Model):
    """Generator, discriminator and the EMA generator that is evaluated and exported.

    One batch holds ``discriminator_steps`` discriminator batches. Every random number follows from
    (seed, step, stream), so that a resumed run repeats the one that was interrupted.

    Arguments:
        generator, discriminator: networks.
        ema: a generator of the same shape; its weights are the exponential moving average.
        loss: weights and forms.
        cut: half an ADU below threshold on the scale [-1, 1].
        occupancy: [sensors], the data's fraction of fired pixels of the padded image.
        seed: of the run.
        ema_decay: decay of the moving average per step.
        encoder: infers the clusters of real images; None: no reconstruction.
        pretraining_every: beside the game, one of so many images of a batch is reconstructed.

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
        cut: float,
        occupancy: Any,
        seed: int = 0,
        ema_decay: float = 0.998,
        encoder: keras.Model | None = None,
        pretraining_every: int = 1,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.ema = ema
        self.settings = loss
        self.cut = cut
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
        super().compile(**options)
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
        """What the reconstruction trains: generator and encoder."""
        return self.generator.trainable_variables + self.encoder.trainable_variables

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """VAE pre-training; N_D discriminator steps on their own images, a generator step; EMA."""
        step = self.step
        losses: dict[str, Any] = {}
        parts = split(batch, self.settings.discriminator_steps)
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
        """Clusters of real images, moved, through the encoder and back to hits."""
        power_iteration(self.generator)
        with tf.GradientTape() as tape:
            terms = self.pretraining_terms(real, step_seed(self.seed, step, "pretraining"))
            total = sum(terms.values())
        descend(tape, total, self.pretraining_variables, self.pretraining_optimizer)
        return named("pretraining", terms, total)

    def pretraining_terms(self, real: dict[str, Any], seed: Any) -> dict[str, Any]:
        """The evidence lower bound of the batch, nats per cluster."""
        settings, generator = self.settings, self.generator
        image = tf.ensure_shape(real["moved"], real["image"].shape)
        mean, log_variance = self.encoder(image)
        latent, noise = image_inputs(seed, generator, image.shape[1:3], tf.shape(image)[0])
        _, marks, noise = tf.split(noise, [PLACE, generator.marks, -1], axis=-1)
        cells = tf.shape(image)[0], noise.shape[1], noise.shape[2]
        known = real_segment_map(real["segments"], cells, generator.factor)
        clusters = inferred_clusters(known, mean, log_variance, marks)
        score, log_share, charge, width = generator.distribution(
            real["sensor"], latent, noise, real["origin"], training=True, clusters=clusters
        )
        image = generator.to_cells(image)
        fired = tf.cast(image > EMPTY, tf.float32)
        real_charge = level_logit(image, generator.floor)
        above = share_above(charge, width, generator.lowest)
        terms = {
            "fired": fired_nll(fired, settings.logit_scale * score),
            "charge": charge_nll(fired, real_charge, log_share, charge, width, above),
            "kl": settings.kl * kl_divergence(known[..., :1], mean, log_variance),
        }
        segments = sum_over_replicas(tf.reduce_sum(real["segments"][..., -1]))
        count = tf.maximum(segments, 1.0) / replica_count()
        return {name: value / count for name, value in terms.items()}

    def discriminator_step(self, real: dict[str, Any], step: Any, part: int) -> dict[str, Any]:
        """Real images up, generated images down, unmoved by shifts, sensors apart."""
        fake = self.draw(real, step_seed(self.seed, step, "discriminator", part))
        power_iteration(self.discriminator)
        with tf.GradientTape() as tape:
            terms = self.discriminator_terms(real, fake, step_seed(self.seed, step, "shift", part))
            total = sum(terms.values())
        descend(tape, total, self.discriminator.trainable_variables, self.discriminator_optimizer)
        return named("discriminator", terms, total)

    def discriminator_terms(self, real: dict[str, Any], fake: Any, seed: Any) -> dict[str, Any]:
        """The terms of the discriminator's loss, weighted; a term that is off is not there."""
        settings, sensor, origin = self.settings, real["sensor"], real["origin"]
        images = [real["image"], fake]
        if settings.consistency:
            balanced = settings.consistency_variant == "balanced"
            images += [self.shifted(x, seed + i) for i, x in enumerate(images[: 1 + balanced])]
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
            terms["contrastive"] = settings.contrastive * self.metric(embedding[0], proxy, sensor)
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
        """Generated images up, sensors apart, charges above threshold, kernels orthogonal."""
        power_iteration(self.generator)
        with tf.GradientTape() as tape:
            fake = self.draw(real, step_seed(self.seed, step, "generator"))
            terms = self.generator_terms(real, fake)
            total = sum(terms.values())
        descend(tape, total, self.generator.trainable_variables, self.generator_optimizer)
        if self.settings.occupancy and self.generator.output_form == "gated":
            self.follow_occupancy(fake, real["sensor"])
        return named("generator", terms, total)

    def generator_terms(self, real: dict[str, Any], fake: Any) -> dict[str, Any]:
        """The terms of the generator's loss, weighted; a term that is off is not there."""
        settings, sensor = self.settings, real["sensor"]
        logits, embedding, proxy = self.discriminator(fake, sensor, real["origin"])
        terms = {"adversarial": adversarial.generator_loss(logits)}
        if settings.contrastive:
            terms["contrastive"] = settings.contrastive * self.metric(embedding, proxy, sensor)
        if settings.pixel_aware:
            terms["pixel_aware"] = settings.pixel_aware * pixel_aware(fake, self.cut)
        if settings.orthogonal:
            kernels = [x.kernel for x in regularised_layers(self.generator)]
            terms["orthogonal"] = settings.orthogonal * orthogonal(kernels)
        return terms

    def metric(self, embedding: Any, proxy: Any, sensor: Any) -> Any:
        """The metric-learning term in the form of the recipe, over the global batch."""
        settings = self.settings
        embedding, proxy = gather_rows(embedding), gather_rows(proxy)
        sensor = tf.cast(gather_rows(tf.cast(sensor, tf.float32)), tf.int32)
        if settings.contrastive_variant == "margin":
            return margin_contrastive(embedding, proxy, sensor, settings.margin)
        return conditional_contrastive(embedding, proxy, sensor, settings.temperature)

    def follow_occupancy(self, fake: Any, sensor: Any) -> None:
        """Move the cut of each sensor so that the data's share of pixels fires.

        The cut is a running statistic, as the mean of a batch normalisation is: a stochastic
        approximation of a quantile of the score (Robbins and Monro, 1951).
        """
        ratio = occupancy_ratio(fake > self.cut, tf.gather(self.data_occupancy, sensor))
        excess = tf.clip_by_value(ratio - 1.0, -1.0, 1.0)
        cut = self.generator.cut
        step = tf.math.unsorted_segment_sum(excess, sensor, cut.shape[0])
        assign_on_replicas(cut, cut + self.settings.occupancy * sum_over_replicas(step))

    def draw(self, real: dict[str, Any], seed: Any) -> Any:
        """Generated images for the sensors and places of the real ones."""
        size = real["image"].shape[1:3]
        latent, noise = image_inputs(seed, self.generator, size, tf.shape(real["sensor"])[0])
        return self.generator(real["sensor"], latent, noise, real["origin"], training=True)[0]

    def shifted(self, image: Any, seed: Any) -> Any:
        """T: every image moved by its own small shift."""
        limit = self.settings.consistency_shift
        rows = tf.shape(image)[0]
        offset = tf.random.stateless_uniform(
            [replica_count() * rows, 2], seed, -limit, limit + 1, tf.int32, alg="philox"
        )
        return shift_images(image, offset[replica_index() * rows :][:rows], limit)

    def update_ema(self) -> None:
        """EMA <- decay * EMA + (1 - decay) * generator; singular vectors follow."""
        d = self.ema_decay
        for mean, weight in zip(self.ema.weights, self.generator.weights, strict=True):
            assign_on_replicas(mean, d * mean + (1.0 - d) * weight)
        power_iteration(self.ema)


def split(batch: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """A batch of parts * B rows into batches of B rows."""
    pieces = {name: tf.split(value, parts) for name, value in batch.items()}
    return [{name: piece[i] for name, piece in pieces.items()} for i in range(parts)]


def descend(
    tape: tf.GradientTape,
    loss: Any,
    variables: list[keras.Variable],
    optimizer: keras.optimizers.Optimizer,
) -> None:
    """One optimiser step of these variables; all others stay as they are.

    The loss is the mean over the replicas of theirs.
    """
    # Zero where a switched-off term leaves a head of the discriminator unused.
    zero = tf.UnconnectedGradients.ZERO
    gradients = tape.gradient(
        loss,
        [v.value for v in variables],
        output_gradients=tf.constant(
            1.0 / replica_count()
        ),  # the optimiser adds those of all replicas
        unconnected_gradients=zero,
    )
    optimizer.apply(gradients, variables)


def named(network: str, terms: dict[str, Any], total: Any) -> dict[str, Any]:
    """Loss terms under the names that TensorBoard shows."""
    return {f"{network}/{name}": value for name, value in (terms | {"loss": total}).items()}


def regularised_layers(generator: keras.Model) -> list[SpectralLayer]:
    """Layers under orthogonal regularisation: all with a kernel except embeddings (BigGAN)."""
    layers = generator._flatten_layers()
    return [
        x for x in layers if isinstance(x, SpectralLayer) and not isinstance(x, SpectralEmbedding)
    ]
