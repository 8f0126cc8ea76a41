"""The training algorithm: regress the velocity of straight paths from noise to data.

Y. Lipman et al., Flow Matching for Generative Modeling (arXiv:2210.02747); pairs of noise and data
by assignment as in A. Tong et al. (arXiv:2302.00482) and L. Klein et al. (arXiv:2306.15030).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasgen.backend.engine import gradient_step, normal, uniform
from kerasgen.backend.random_numbers import key_of
from kerasgen.models.flow_matching.network import FlowNetworks
from kerasgen.models.flow_matching.settings import STAGE
from kerasgen.models.set_normaliser import Normaliser

AVERAGED = 10.0  # at step k the average is over the last k / 9 steps at most


class FlowMatching(keras.Model):
    """L = E |v(x_t, t) - (x_1 - x_0)|^2 with x_t = (1 - t) x_0 + t x_1, over all points.

    And the same for the summaries of the sets. A batch is a dictionary: ``points`` x_1 and
    ``noise`` x_0, both [B, P, 3] and normalised, paired point by point, ``summary`` [B, K],
    ``mask`` [B, P], ``label`` [B], ``pt`` [B] in GeV.

    Args:
        normaliser: scale and condition.
        fields: to train.
        ema: fields of the same shape; their weights are the exponential moving average.
        ema_decay: decay of the moving average per step; smaller in the first steps.
        seed: of the run.

    Attributes:
        stage: the one stage.
        rate_scale: factor of the learning rate.
    """

    def __init__(
        self,
        normaliser: Normaliser,
        fields: FlowNetworks,
        ema: FlowNetworks,
        ema_decay: float,
        seed: int,
    ) -> None:
        super().__init__(dtype="float32")
        self.normaliser, self.fields, self.ema = normaliser, fields, ema
        self.ema_decay, self.seed = ema_decay, seed
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
        optimizer.build(self.fields.trainable_variables)

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
        """The optimiser by the network that it trains."""
        return {STAGE: self.optimizer}

    def noise(self, real: dict[str, Any]) -> dict[str, Any]:
        """The random numbers of the next step; x_0 is part of the batch, paired with its points.

        Args:
            real: batch; gives the number of sets.

        Returns:
            ``time``: [1], on [0, 1); ``summary``: [B, K], standard normal.
        """
        return {
            "time": uniform(key_of(self.seed, self.step, "encode"), (1,)),
            "summary": normal(key_of(self.seed, self.step, "sample"), real["summary"].shape),
        }

    def train_step(self, real: dict[str, Any], noise: dict[str, Any]) -> dict[str, Any]:
        """One step of the field and of its moving average.

        Args:
            real: batch.
            noise: of ``noise``.

        Returns:
            ``field/points`` and ``field/summary``, and their sum ``field/loss``.
        """
        variables = self.fields.trainable_variables
        terms = gradient_step(
            lambda: self.terms(real, noise), variables, self.optimizer, self.state
        )
        # The average of a short training must not be that of its start.
        step = ops.cast(self.iterations, "float32")
        decay = ops.minimum(np.float32(self.ema_decay), (1.0 + step) / (AVERAGED + step))
        for mean, weight in zip(self.ema.trainable_variables, variables, strict=True):
            mean.assign(decay * mean + (1.0 - decay) * weight)
        self.iterations.assign(self.iterations + 1)
        return {f"{STAGE}/{name}": value for name, value in terms.items()}

    def terms(self, real: dict[str, Any], noise: dict[str, Any]) -> dict[str, Any]:
        """Mean squared errors of the velocities, per number."""
        time, condition = times(noise["time"], real["mask"].shape[0]), self.condition(real)
        place, path = on_path(noise["summary"], real["summary"], time[:, None])
        error = self.fields.summary(place, time, condition) - path
        terms = {"summary": ops.mean(ops.square(error))}
        place, path = on_path(real["noise"], real["points"], time[:, None, None])
        both = ops.concatenate([condition, real["summary"]], axis=-1)
        centres = self.normaliser.centres(real["summary"])
        error = ops.square(self.fields.points(place, time, real["mask"], both, centres) - path)
        present = ops.cast(real["mask"], "float32")
        points = ops.maximum(ops.sum(present), 1.0)
        return terms | {"points": ops.sum(ops.mean(error, axis=-1) * present) / points}

    def condition(self, real: dict[str, Any]) -> Any:
        """The condition of the sets of a batch, [B, C]."""
        count = ops.sum(ops.cast(real["mask"], "int32"), axis=-1)
        return self.normaliser.condition(real["label"], count, real["pt"])


def on_path(start: Any, end: Any, time: Any) -> tuple[Any, Any]:
    """Place at a time on the straight path, and its velocity."""
    return (1.0 - time) * start + time * end, end - start


def times(first: Any, sets: int) -> Any:
    """Times of a batch at equal distances, which makes the mean over them less noisy.

    Args:
        first: [1], uniform on [0, 1).
        sets: B.

    Returns:
        [B], each uniform on [0, 1).
    """
    return (first + np.arange(sets, dtype=np.float32) / sets) % 1.0
