"""The training algorithm of cluster growth: maximum likelihood, then the adversarial stage."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.backend.engine import gradient_step, normal, uniform
from kerasgen.backend.random_numbers import key_of
from kerasgen.layers.spectral import power_iteration
from kerasgen.losses import adversarial
from kerasgen.losses.contrastive import conditional_contrastive
from kerasgen.losses.gradient_penalty import jitter_penalty
from kerasgen.models.cluster_growth.discriminator import ClusterDiscriminator, seen
from kerasgen.models.cluster_growth.growth import NOTHING
from kerasgen.models.cluster_growth.lanes import NUMBERS
from kerasgen.models.cluster_growth.network import ClusterNetwork
from kerasgen.models.cluster_growth.plan import TYPE
from kerasgen.models.cluster_growth.rollout import rollout
from kerasgen.models.cluster_growth.settings import ADVERSARIAL, LIKELIHOOD, AdversarialSettings
from kerasgen.models.cluster_growth.surroundings import State

CLUSTERS_PER_LANE = 8  # that grow one after another in a training step


class ClusterGrowth(keras.Model):
    """Maximum likelihood of clusters; then a discriminator of single clusters beside it.

    The likelihood is that of every token and charge,
    L = -log p(token | state) - log p(charge | state, token), means over growth steps,
    - log p(type, plan | place) - log p(charge of first pixel | place, type, plan), of clusters, as
    many as of the growth steps.

    In the adversarial stage the network grows clusters G(c) under the conditions c of real ones x:
    sensor, first pixel and its charge, plan. Their pixels are drawn, so that no gradient passes
    from the discriminator to the network; that of the generator's loss l is the score function's
    (Williams 1992, REINFORCE; Yu et al., SeqGAN, arXiv:1609.05473),
    grad E[l(G(c))] = E[(l(G(c)) - mean l) grad log p(tokens and charges of G(c) | c)].
    Types and plans, which the discriminator does not judge, keep their weights.

    Args:
        generator: network that trains.
        ema: a network of the same shape; its weights are the exponential moving average.
        ema_decay: decay of the moving average per step.
        discriminator: of single clusters; None: no adversarial stage.
        settings: of the adversarial stage.
        tokens: of a lane, while the clusters of a step grow.
        seed: of the run.

    Attributes:
        stage: "likelihood", "discriminator" or "adversarial".
        rate_scale: factor of the learning rates.
    """

    def __init__(
        self,
        generator: ClusterNetwork,
        ema: ClusterNetwork,
        ema_decay: float,
        discriminator: ClusterDiscriminator | None = None,
        settings: AdversarialSettings | None = None,
        tokens: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(dtype="float32")
        self.generator, self.ema, self.ema_decay = generator, ema, ema_decay
        self.discriminator: Any = discriminator
        self.settings: Any = settings
        self.tokens, self.seed = tokens, seed
        self.stage = LIKELIHOOD
        self.iterations = self.add_weight(
            shape=(), initializer="zeros", name="iterations", trainable=False, dtype="int32"
        )
        self.rate_scale = self.add_weight(
            shape=(), initializer="ones", name="rate_scale", trainable=False
        )
        self.built = True

    def compile(
        self,
        optimizer: Any,
        adversarial_optimizer: Any = None,
        discriminator_optimizer: Any = None,
        **options: Any,
    ) -> None:
        """Build the optimisers here, or their state is lost when a run is resumed."""
        super().compile(optimizer=optimizer, jit_compile=False, **options)
        optimizer.build(self.generator.trainable_variables)
        self.adversarial_optimizer = adversarial_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        if self.discriminator is not None:
            adversarial_optimizer.build(self.generator.growth_variables)
            discriminator_optimizer.build(self.discriminator.trainable_variables)

    @property
    def step(self) -> Any:
        """Finished training steps, a scalar tensor."""
        return ops.convert_to_tensor(self.iterations)

    @property
    def state(self) -> list[keras.Variable]:
        """Every variable that a step reads or writes."""
        every = [self.optimizer]
        if self.discriminator is not None:
            every += [self.adversarial_optimizer, self.discriminator_optimizer]
        return [*self.variables, *(v for x in every for v in x.variables)]

    @property
    def optimizers(self) -> dict[str, Any]:
        """Optimisers by the network that they train."""
        if self.stage == LIKELIHOOD:
            return {"generator": self.optimizer}
        return {
            "generator": self.adversarial_optimizer,
            "discriminator": self.discriminator_optimizer,
        }

    def noise(self, real: State) -> dict[str, Any]:
        """The random numbers of the next step: none for the likelihood.

        Returns:
            ``growth`` [T, L, NUMBERS]; ``jitter`` of crop and numbers.
        """
        if self.stage == LIKELIHOOD:
            return {}
        clusters = real["clusters"]["sensor"].shape[0]
        lanes = max(clusters // CLUSTERS_PER_LANE, 1)
        key = key_of(self.seed, self.step, "generator")
        found: dict[str, Any] = {"growth": uniform(key, (self.tokens, lanes, NUMBERS))}
        if self.settings.consistency:
            key = key_of(self.seed, self.step, "jitter")
            found["jitter"] = [
                normal(key, (2 * clusters, *shape), k)
                for k, shape in enumerate(self.discriminator.shapes.values())
            ]
        return found

    def train_step(self, real: State, noise: dict[str, Any]) -> dict[str, Any]:
        """One step: of the likelihood; of the discriminator; or N_D of it and one of both losses.

        Args:
            real: of ``GrowthBatches``.
            noise: of ``noise``.

        Returns:
            Loss terms as ``network/term``; likelihoods in nats per growth step.
        """
        if self.stage == LIKELIHOOD:
            terms = self.update(
                "generator", lambda: negative_log_likelihood(self.generator, real),
                self.optimizer, self.generator.trainable_variables,
            )  # fmt: skip
        else:
            terms = self.adversarial_step(real, noise)
        self.iterations.assign(self.iterations + 1)
        return terms

    def adversarial_step(self, real: State, noise: dict[str, Any]) -> dict[str, Any]:
        """N_D steps of the discriminator, each with its own clusters, then one of the generator."""
        grown, states = rollout(self.generator, real["clusters"], noise["growth"])
        sensor, whole = grown["sensor"], ops.cast(grown["whole"], "float32")
        of_real, of_grown = (seen(x, self.generator.size) for x in (real["clusters"], grown))
        terms: dict[str, Any] = {}
        parts = self.settings.discriminator_steps
        for k in range(parts):
            part = slice(k, None, parts)  # so that each step has clusters of all sizes
            some, others = ({name: x[part] for name, x in y.items()} for y in (of_real, of_grown))
            jitter = [x[part] for x in noise.get("jitter", ())]
            terms |= self.discriminator_step(some, others, sensor[part], whole[part], jitter)
        if self.stage != ADVERSARIAL:
            return terms
        losses = self.generator_losses(of_real, of_grown, sensor)
        mean = ops.sum(losses * whole) / ops.maximum(ops.sum(whole), 1.0)
        busy = ops.mean(ops.cast(states["cluster"] < whole.shape[0], "float32"))
        advantage = ops.append((mean - losses) * whole, ops.zeros(1)) / busy  # 0 of idle lanes
        number = ops.minimum(states["cluster"], whole.shape[0])
        states["weight"] = ops.take(advantage, number, axis=0)
        terms |= self.update(
            "generator", lambda: self.generator_terms(real, states),
            self.adversarial_optimizer, self.generator.growth_variables,
        )  # fmt: skip
        return terms | {"generator/of_discriminator": mean}

    def generator_terms(self, real: State, states: State) -> dict[str, Any]:
        """Likelihood of real clusters, and surrogate whose gradient is the score function's."""
        of_growth = growth_terms(self.generator, states, self.generator.temperature)
        score = sum(ops.mean(x) for x in of_growth.values())
        return negative_log_likelihood(self.generator, real) | {
            "adversarial": self.settings.weight * score
        }

    def generator_losses(self, real: State, grown: State, sensor: Any) -> Any:
        """The generator's loss of each cluster, [M]."""
        of_real, of_grown = (self.discriminator(x, sensor)[0] for x in (real, grown))
        return adversarial.GENERATOR_TERMS[self.settings.loss](of_real, of_grown)

    def discriminator_step(
        self, real: State, grown: State, sensor: Any, whole: Any, jitter: list[Any]
    ) -> dict[str, Any]:
        """One step of the discriminator: adversarial, contrastive and consistency terms."""
        settings = self.settings
        images = {name: ops.concatenate([real[name], grown[name]]) for name in real}
        sensors, both = ops.tile(sensor, [2]), ops.tile(whole, [2])
        if settings.spectral_norm:
            power_iteration(self.discriminator)

        def loss() -> dict[str, Any]:
            logit, embedding, proxy = self.discriminator(images, sensors)
            # An unfinished pair has the same logit twice, and no gradient of its own.
            of_real, of_grown = ops.split(logit * both, 2)
            of_loss = adversarial.DISCRIMINATOR_LOSSES[settings.loss]
            terms = {"adversarial": of_loss(of_real, of_grown)}
            if settings.contrastive:
                rows = sensor.shape[0]
                terms["contrastive"] = settings.contrastive * conditional_contrastive(
                    embedding[:rows], proxy[:rows], sensor, settings.temperature
                )
            if settings.consistency:
                moved = [
                    x + settings.sigma * n for x, n in zip(images.values(), jitter, strict=True)
                ]
                after = self.discriminator(dict(zip(images, moved, strict=True)), sensors)[0]
                terms["consistency"] = settings.consistency * jitter_penalty(
                    logit, after, settings.sigma
                )
            return terms

        variables = self.discriminator.trainable_variables
        return self.update("discriminator", loss, self.discriminator_optimizer, variables)

    def update(
        self, network: str, loss: Any, optimizer: Any, variables: list[Any]
    ) -> dict[str, Any]:
        """One optimiser step of a network, and of the moving average of the generator."""
        terms = gradient_step(loss, variables, optimizer, self.state)
        if network == "generator":
            weights = self.generator.trainable_variables
            for mean, weight in zip(self.ema.trainable_variables, weights, strict=True):
                mean.assign(self.ema_decay * mean + (1 - self.ema_decay) * weight)
        return {f"{network}/{name}": value for name, value in terms.items()}


def negative_log_likelihood(network: ClusterNetwork, real: State) -> dict[str, Any]:
    """Mean -log p of tokens, charges, plans and charges of first pixels per growth step, nats.

    Args:
        network: to train.
        real: of ``GrowthBatches``.
    """
    begins = {name: real[f"begin_{name}"] for name in ("sensor", "activity", "first", "plan")}
    begins["kind"] = begins["plan"][:, TYPE]
    begin = network.begin(begins)
    plans = cross_entropy(begins["kind"], network.type_logits(begins))
    for part in range(TYPE):
        classes = begins["plan"][:, part]
        plans = plans + cross_entropy(classes, network.plan_logits(begin, part))
        begin = network.with_plan(begin, part, classes)
    first_charges = cross_entropy(real["begin_class"], network.first_charge_logits(begin))
    of_begins = {"plan": plans, "first_charge": first_charges}
    terms = growth_terms(network, real)
    terms |= {name: x * real["begin_weight"] for name, x in of_begins.items()}
    return {name: ops.mean(x) for name, x in terms.items()}


def growth_terms(
    network: ClusterNetwork, states: State, temperature: float = 1.0
) -> dict[str, Any]:
    """-log p of token and charge of states, [B] each, times their ``weight``.

    Args:
        network: that grows.
        states: of ``GrowthBatches`` or ``rollout``.
        temperature: of the tokens.
    """
    logits, hidden = network(states)
    token, weight = states["token"], states["weight"]
    adds = ops.cast(token != NOTHING, "float32")
    charges = cross_entropy(states["charge_class"], network.charge_logits(hidden, token))
    return {
        "token": cross_entropy(token, logits / temperature) * weight,
        "charge": charges * adds * weight,
    }


def cross_entropy(number: Any, logits: Any) -> Any:
    """-log p of classes, [B]."""
    return ops.sparse_categorical_crossentropy(number, logits, from_logits=True)
