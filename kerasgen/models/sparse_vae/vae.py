"""The training algorithm of the sparse VAE: auto-encoder, then the flow on its latents."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.backend.engine import gradient_step, normal, uniform
from kerasgen.backend.random_numbers import key_of
from kerasgen.losses.elbo import gaussian_kl
from kerasgen.losses.jet_features import jet_feature_loss
from kerasgen.losses.nearest_neighbour import reconstruction_loss
from kerasgen.models.set_normaliser import Normaliser
from kerasgen.models.sparse_vae.autoregressive import AutoregressiveDecoder
from kerasgen.models.sparse_vae.flow import Flow
from kerasgen.models.sparse_vae.networks import Decoder, Encoder
from kerasgen.models.sparse_vae.settings import (
    AUTOENCODER,
    FLOW,
    NetworkSettings,
    PriorSettings,
    VAELossSettings,
)

ACTIVE = 0.01  # nats of KL above which a latent dimension is active (as in arXiv:1509.00519)


class SparseVAE(keras.Model):
    """L = L_rec + beta KL + jet features (B. Orzari et al., arXiv:2109.15197, 2203.00520).

    ``train_step`` is a function of real sets and noise. ``noise`` draws the noise of a step from
    (seed, step), so that a resumed run repeats the interrupted one. A batch is a dictionary:
    ``points`` [B, P, 3] in the coordinates of the normaliser, ``mask`` [B, P], ``label`` [B],
    ``pt`` [B] in GeV.

    Args:
        normaliser: scale and condition.
        network, prior, loss: recipe keys.
        seed: of the run.
        dtype: of encoder and decoder, "float32" or "mixed_bfloat16".

    Attributes:
        stage: "autoencoder" or "flow"; set it before the step is traced.
        rate_scale: factor of every learning rate.
    """

    def __init__(
        self,
        normaliser: Normaliser,
        network: NetworkSettings,
        prior: PriorSettings,
        loss: VAELossSettings,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        super().__init__(dtype="float32")
        self.normaliser = normaliser
        self.settings = loss
        self.latent_size = network.latent_size
        self.seed = seed
        self.stage = AUTOENCODER
        self.encoder = Encoder(network, name="encoder", dtype=dtype)
        self.decoder: Any
        if network.decoder == "autoregressive":
            self.decoder = AutoregressiveDecoder(network, normaliser, name="decoder")
        else:
            self.decoder = Decoder(network, normaliser.size, name="decoder", dtype=dtype)
        self.flow: Any = None
        if prior.variant == "flow":
            self.flow = Flow(network.latent_size, prior.layers, prior.width, name="flow")
        self.iterations = self.add_weight(
            shape=(), initializer="zeros", name="iterations", trainable=False, dtype="int32"
        )
        self.rate_scale = self.add_weight(
            shape=(), initializer="ones", name="rate_scale", trainable=False
        )
        self.build_networks()

    def build_networks(self) -> None:
        """Make all weights; nothing is computed."""
        size, latent_size = self.normaliser.size, self.latent_size
        condition = keras.KerasTensor((1, self.normaliser.condition_size))
        points, mask = keras.KerasTensor((1, size, 3)), keras.KerasTensor((1, size), "bool")
        latent = keras.KerasTensor((1, latent_size))
        self.encoder(points, mask, condition)
        if isinstance(self.decoder, AutoregressiveDecoder):
            self.decoder(points, mask, latent, condition)
        else:
            self.decoder(latent, condition)
        if self.flow is not None:
            self.flow(latent, condition)
        self.built = True

    def compile(self, optimizer: Any, flow_optimizer: Any = None, **options: Any) -> None:
        """Build the optimisers here, or their state is lost when a run is resumed."""
        super().compile(optimizer=optimizer, jit_compile=False, **options)
        optimizer.build(self.autoencoder_variables)
        self.flow_optimizer = flow_optimizer
        if self.flow is not None:
            flow_optimizer.build(self.flow.trainable_variables)

    @property
    def step(self) -> Any:
        """Finished training steps, a scalar tensor."""
        return ops.convert_to_tensor(self.iterations)

    @property
    def state(self) -> list[keras.Variable]:
        """Every variable that a step reads or writes."""
        return [*self.variables, *(v for x in self.optimizers.values() for v in x.variables)]

    @property
    def optimizers(self) -> dict[str, Any]:
        """Optimisers by the networks that they train."""
        if self.flow is None:
            return {"autoencoder": self.optimizer}
        return {"autoencoder": self.optimizer, "flow": self.flow_optimizer}

    @property
    def autoencoder_variables(self) -> list[keras.Variable]:
        return self.encoder.trainable_variables + self.decoder.trainable_variables

    def train_step(self, real: dict[str, Any], noise: dict[str, Any]) -> dict[str, Any]:
        """One step of the auto-encoder, or of the flow on encoded latents.

        Args:
            real: batch.
            noise: of ``noise``.

        Returns:
            Loss terms as ``stage/term``.
        """
        if self.settings.mirror:
            real = mirrored(real, noise["mirror"])
        flow = self.stage == FLOW
        variables = self.flow.trainable_variables if flow else self.autoencoder_variables
        optimizer = self.flow_optimizer if flow else self.optimizer
        loss = self.flow_terms if flow else self.terms
        terms = gradient_step(lambda: loss(real, noise["encode"]), variables, optimizer, self.state)
        self.iterations.assign(self.iterations + 1)
        return {f"{self.stage}/{name}": value for name, value in terms.items()}

    def noise(self, real: dict[str, Any]) -> dict[str, Any]:
        """The random numbers of the next step.

        Args:
            real: batch; gives the number of sets.

        Returns:
            ``encode``: [B, L], standard normal, samples the latent vectors; with ``loss.mirror``
            also ``mirror``: [B, 1, 2], on [0, 1), see ``mirrored``.
        """
        sets = real["points"].shape[0]
        found = {"encode": normal(key_of(self.seed, self.step, "encode"), (sets, self.latent_size))}
        if self.settings.mirror:
            found["mirror"] = uniform(key_of(self.seed, self.step, "mirror"), (sets, 1, 2))
        return found

    def test_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Loss terms and KL divergence per latent dimension, at the mean of the posterior."""
        mean, log_variance, condition = self.encode(batch)
        kl = ops.mean(self.divergence(mean, log_variance), axis=0)
        terms = self.reconstruction_terms(batch, mean, condition) | {"kl": ops.sum(kl)}
        terms["collapsed"] = ops.sum(ops.cast(kl < ACTIVE, "float32"))
        if self.flow is not None:
            terms["flow"] = -ops.mean(self.flow.log_probability(mean, condition))
        return terms | {"kl_per_dimension": kl}

    def terms(self, batch: dict[str, Any], noise: Any) -> dict[str, Any]:
        """The weighted terms of the loss; a term of weight 0 is left out.

        Args:
            batch: real sets.
            noise: standard normal random numbers, [B, L].
        """
        mean, log_variance, condition = self.encode(batch)
        latent = mean + ops.exp(0.5 * log_variance) * noise
        kl = ops.mean(ops.sum(self.divergence(mean, log_variance), axis=-1))
        terms = self.reconstruction_terms(batch, latent, condition)
        return terms | {"kl": self.beta() * kl}

    def reconstruction_terms(
        self, batch: dict[str, Any], latent: Any, condition: Any
    ) -> dict[str, Any]:
        """Negative log-likelihood of real points, or distance of decoded points from them."""
        if self.settings.reconstruction != "likelihood":
            return self.distance_terms(batch, self.decoder(latent, condition))
        points = self.normaliser.to_network(batch["points"])
        nll = self.decoder(points, batch["mask"], latent, condition)
        return {"reconstruction": ops.mean(nll)}

    def distance_terms(self, batch: dict[str, Any], output: Any) -> dict[str, Any]:
        """Reconstruction loss and jet features of decoded points.

        Args:
            batch: as in ``train_step``.
            output: [B, P, 3], decoded points, normalised.
        """
        settings, normaliser, mask = self.settings, self.normaliser, batch["mask"]
        target = normaliser.to_network(batch["points"])
        terms = {
            "reconstruction": reconstruction_loss(target, output, mask, settings.reconstruction)
        }
        if settings.features:
            scale = (
                1.0 if normaliser.coordinates == "relative" else 1.0 / batch["pt"][:, None, None]
            )
            real, decoded = (
                self.scaled_momenta(x, scale)
                for x in (batch["points"], normaliser.to_physical(output))
            )
            terms["features"] = settings.features * jet_feature_loss(
                real, mask, decoded, mask, normaliser.coordinates, settings.mass, settings.eta
            )
        return terms

    def scaled_momenta(self, points: Any, scale: Any) -> Any:
        """Constituents with scaled momenta: all three cartesian components, or pT."""
        if self.normaliser.coordinates == "cartesian":
            return points * scale
        return ops.concatenate([points[..., :2], points[..., 2:] * scale], axis=-1)

    def divergence(self, mean: Any, log_variance: Any) -> Any:
        """KL divergence of the inferred latents from a standard normal prior, nats.

        Args:
            mean, log_variance: [B, L].

        Returns:
            [B, L], or [B, L - 1] where the summed intensity is known and not inferred.
        """
        inferred = mean.shape[-1] - bool(self.normaliser.totals)
        return gaussian_kl(mean[:, :inferred], log_variance[:, :inferred])

    def beta(self) -> Any:
        """Weight of the KL divergence at this step."""
        rise = ops.cast(self.step + 1, "float32") / max(self.settings.warm_up, 1)
        return self.settings.beta * ops.minimum(rise, 1.0)

    def flow_terms(self, batch: dict[str, Any], noise: Any) -> dict[str, Any]:
        """-log p of latents of real sets, sampled from their posterior; arguments as ``terms``."""
        mean, log_variance, condition = self.encode(batch)
        latent = ops.stop_gradient(mean + ops.exp(0.5 * log_variance) * noise)
        return {"flow": -ops.mean(self.flow.log_probability(latent, condition))}

    def encode(self, batch: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Mean and log variance of the posterior, and the condition, of real sets."""
        count = ops.sum(ops.cast(batch["mask"], "int32"), axis=-1)
        condition = self.normaliser.condition(batch["label"], count, batch["pt"])
        points = self.normaliser.to_network(batch["points"])
        posterior = self.encoder(points, batch["mask"], condition)
        return *self.normaliser.with_total(posterior, batch["points"], batch["mask"]), condition


def mirrored(batch: dict[str, Any], uniform: Any) -> dict[str, Any]:
    """Relative jets, each mirrored in eta and in phi with probability 1/2.

    Args:
        batch: as in ``SparseVAE``.
        uniform: random numbers on [0, 1), [B, 1, 2].
    """
    points = batch["points"]
    sign = ops.where(uniform < 0.5, -1.0, 1.0)
    return batch | {"points": ops.concatenate([points[..., :2] * sign, points[..., 2:]], axis=-1)}


class InferenceNetworks(keras.Model):
    """Encoder, decoder and flow without optimisers, to generate and serve."""

    def __init__(self, vae: SparseVAE) -> None:
        super().__init__(dtype="float32")
        self.encoder, self.decoder = vae.encoder, vae.decoder
        if vae.flow is not None:
            self.flow = vae.flow
        self.built = True
