"""The training algorithm of cluster growth: maximum likelihood of every token and charge."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasgen.backend.engine import gradient_step
from kerasgen.models.cluster_growth.growth import NOTHING
from kerasgen.models.cluster_growth.network import ClusterNetwork
from kerasgen.models.cluster_growth.plan import PARTS
from kerasgen.models.cluster_growth.settings import STAGE


class ClusterGrowth(keras.Model):
    """Maximum likelihood of clusters.

    L = -log p(token | state) - log p(charge | state, token), means over growth steps,
    - log p(plan | place) - log p(charge of first pixel | place, plan), of clusters, as many as of
    the growth steps.

    Args:
        generator: network that trains.
        ema: a network of the same shape; its weights are the exponential moving average.
        ema_decay: decay of the moving average per step.

    Attributes:
        stage: "likelihood".
        rate_scale: factor of the learning rate.
    """

    def __init__(self, generator: ClusterNetwork, ema: ClusterNetwork, ema_decay: float) -> None:
        super().__init__(dtype="float32")
        self.generator, self.ema, self.ema_decay = generator, ema, ema_decay
        self.stage = STAGE
        self.iterations = self.add_weight(
            shape=(), initializer="zeros", name="iterations", trainable=False, dtype="int32"
        )
        self.rate_scale = self.add_weight(
            shape=(), initializer="ones", name="rate_scale", trainable=False
        )
        self.built = True

    def compile(self, optimizer: Any, **options: Any) -> None:
        """Build the optimiser here, or its state is lost when a run is resumed."""
        super().compile(optimizer=optimizer, jit_compile=False, **options)
        optimizer.build(self.generator.trainable_variables)

    @property
    def step(self) -> Any:
        """Finished training steps, a scalar tensor."""
        return ops.convert_to_tensor(self.iterations)

    @property
    def state(self) -> list[keras.Variable]:
        """Every variable that a step reads or writes."""
        return [*self.variables, *self.optimizer.variables]

    @property
    def optimizers(self) -> dict[str, Any]:
        """Optimisers by the network that they train."""
        return {"generator": self.optimizer}

    def noise(self, real: dict[str, Any]) -> dict[str, Any]:
        """Nothing: the likelihood has no noise."""
        return {}

    def train_step(self, real: dict[str, Any], noise: dict[str, Any]) -> dict[str, Any]:
        """One step of Adam, and of the moving average.

        Args:
            real: of ``GrowthBatches``.
            noise: empty.

        Returns:
            Loss terms as ``generator/term``, nats per growth step.
        """
        variables = self.generator.trainable_variables
        terms = gradient_step(
            lambda: negative_log_likelihood(self.generator, real), variables, self.optimizer,
            self.state,
        )  # fmt: skip
        for mean, weight in zip(self.ema.trainable_variables, variables, strict=True):
            mean.assign(self.ema_decay * mean + (1 - self.ema_decay) * weight)
        self.iterations.assign(self.iterations + 1)
        return {f"generator/{name}": value for name, value in terms.items()}


def negative_log_likelihood(network: ClusterNetwork, real: dict[str, Any]) -> dict[str, Any]:
    """Mean -log p of tokens, charges, plans and charges of first pixels per growth step, nats.

    Args:
        network: to train.
        real: of ``GrowthBatches``.
    """
    logits, hidden = network(real)
    token, weight = real["token"], real["weight"]
    adds = ops.cast(token != NOTHING, "float32")
    tokens = cross_entropy(token, logits)
    charges = cross_entropy(real["charge_class"], network.charge_logits(hidden, token))
    begins = {name: real[f"begin_{name}"] for name in ("sensor", "activity", "first", "plan")}
    begin, plans = network.begin(begins), 0.0
    for part in range(PARTS):
        classes = begins["plan"][:, part]
        plans = plans + cross_entropy(classes, network.plan_logits(begin, part))
        begin = network.with_plan(begin, part, classes)
    first_charges = cross_entropy(real["begin_class"], network.first_charge_logits(begin))
    terms = {"token": tokens * weight, "charge": charges * adds * weight}
    of_begins = {"plan": plans, "first_charge": first_charges}
    terms |= {name: x * real["begin_weight"] for name, x in of_begins.items()}
    return {name: ops.mean(x) for name, x in terms.items()}


def cross_entropy(number: Any, logits: Any) -> Any:
    """-log p of classes, [B]."""
    return ops.sparse_categorical_crossentropy(number, logits, from_logits=True)
