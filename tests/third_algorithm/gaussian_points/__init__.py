"""A third algorithm: it shows what one folder needs, and that no other file has to be edited.

Point k of a set has normally distributed coordinates, with the mean and the standard deviation
that maximise the likelihood. The commands find it by its entry point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from kerasgen.config import Count, Initial, PositiveCount, Precision, Seed, Weight
from kerasgen.data.point_source import PointDataSettings, read_rows
from kerasgen.data.points import PointSchema
from kerasgen.data.set_sampler import SetSampler
from kerasgen.evaluation.point_sets import PointEvaluationSettings
from kerasgen.kinds.points import POINTS, PointData
from kerasgen.models.algorithm import Diagnostics, Served
from kerasgen.models.running import RunningModel
from kerasgen.run_folder import WEIGHTS, write_bytes


@dataclass(frozen=True)
class TrainingSettings:
    """Recipe keys of the training."""

    steps: PositiveCount = 100
    batch: PositiveCount = 32
    rate: Weight = 0.01
    precision: Precision = "float32"
    evaluate_every: PositiveCount = 50
    evaluate_events: Count = 100
    on_collapse: Literal["stop", "rollback"] = "stop"
    seed: Seed = 0
    init: Initial = ""


@dataclass(frozen=True)
class Config:
    """A run, resolved."""

    recipe: str
    description: str = ""
    algorithm: Literal["gaussian_points"] = "gaussian_points"
    data: PointDataSettings = field(default_factory=PointDataSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    evaluation: PointEvaluationSettings = field(default_factory=PointEvaluationSettings)


def make_model(size: int, rate: float = 0.01) -> Any:
    """A compiled model of sets of ``size`` points."""
    import keras
    from keras import ops

    from kerasgen.backend.engine import gradient_step
    from kerasgen.backend.schedule import WarmUpCosine

    class GaussianPoints(keras.Model):
        stage = "likelihood"

        def __init__(self) -> None:
            super().__init__(dtype="float32")  # whatever Keras's default is
            self.mean = self.add_weight(shape=(size, 3), initializer="zeros")
            self.log_std = self.add_weight(shape=(size, 3), initializer="zeros")
            self.iterations = self.add_weight(shape=(), trainable=False, dtype="int32",
                                              initializer="zeros")  # fmt: skip
            self.rate_scale = self.add_weight(shape=(), trainable=False, initializer="ones")
            # A rate that is a number becomes a variable of Keras's default type, a schedule not.
            self.compile(keras.optimizers.Adam(WarmUpCosine(rate, 1, 0, 1.0, self.rate_scale)))
            self.optimizer.build(self.trainable_variables)
            self.built = True

        @property
        def step(self) -> Any:
            return ops.convert_to_tensor(self.iterations)

        @property
        def state(self) -> list[Any]:
            return [*self.variables, *self.optimizer.variables]

        @property
        def optimizers(self) -> dict[str, Any]:
            return {"likelihood": self.optimizer}

        def noise(self, real: dict[str, Any]) -> None:
            pass

        def train_step(self, real: dict[str, Any], noise: None) -> dict[str, Any]:
            def loss() -> dict[str, Any]:
                pull = (real["points"] - self.mean) / ops.exp(self.log_std)
                return {"nll": ops.mean(0.5 * pull**2 + self.log_std)}

            weights = self.trainable_variables
            terms = gradient_step(loss, weights, self.optimizer, self.state)
            self.iterations.assign(self.iterations + 1)
            return {f"likelihood/{name}": value for name, value in terms.items()}

    return GaussianPoints()


def make_generator(model: Any) -> Any:
    """From seeds to sets; a row depends on its seed alone."""
    import tensorflow as tf

    class Generator(tf.Module):
        conditions: tuple[str, ...] = ()
        size = model.mean.shape[0]

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int64, "seed")])
        def generate(self, seed: Any) -> dict[str, Any]:
            def one(row: Any) -> Any:
                noise = tf.random.stateless_normal([self.size, 3], row, alg="philox")
                points = model.mean + tf.exp(model.log_std) * noise
                positive = tf.concat([points[:, :2], tf.abs(points[:, 2:])], axis=1)
                return tf.gather(positive, tf.argsort(-positive[:, 2]))

            points = tf.map_fn(one, seed, fn_output_signature=tf.float32)
            whole = tf.fill([tf.shape(seed)[0]], self.size)
            jet = tf.fill([tf.shape(seed)[0], 2], 1000.0)
            return {"points": points, "count": whole, "label": 0 * whole, "total": whole,
                    "jet": jet}  # fmt: skip

    return Generator()


class SetBatches:
    """``Batches`` of whole sets."""

    def __init__(self, config: Config, data: PointData) -> None:
        rows = data.division.training

        def load(sets: Any) -> dict[str, Any]:
            return {"points": read_rows(data.file, rows[sets], data.division.size).points}

        self.sampler = SetSampler(load, len(rows), config.training.batch, config.training.seed)

    def batch_at(self, step: int) -> dict[str, Any]:
        return self.sampler.batch_at(step)


class Evaluator:
    """``Evaluator``: the model itself generates."""

    chosen_by_score = True

    def __init__(self, model: Any, config: Config, schema: PointSchema) -> None:
        self.network = model
        self.model = RunningModel(config.recipe, schema, make_generator(model))

    def update(self) -> None:
        pass

    def diagnostics(self, held_out: Any, generated: Any) -> Diagnostics:
        return Diagnostics(values={"width": float(np.exp(self.network.log_std).mean())})


class GaussianPointsAlgorithm:
    """See ``kerasgen.models.algorithm.Algorithm``."""

    name = "gaussian_points"
    kind = POINTS
    config = Config
    generation_threads = 0
    step_keys = ("training.steps",)
    smallest = MappingProxyType({"training.steps": 6, "training.batch": 8})

    def papers(self, config: Config) -> tuple[str, ...]:
        return ("@misc{gauss1809,\n  author = {Gauss, C. F.},\n  year = {1809},\n}",)

    def check(self, config: Config) -> None:
        pass

    def check_schema(self, config: Config, schema: Any) -> None:
        pass

    def check_events(self, config: Config, data: Any) -> None:
        pass

    def check_warm_start(self, config: Config, data: Any, folder: Path) -> None:
        pass

    def fit(self, config: Config, data: PointData) -> int:
        return data.division.size

    def write_fitted(self, folder: Path, fitted: int) -> None:
        write_bytes(folder / "size.txt", str(fitted).encode())

    def build(self, config: Config, schema: Any, fitted: int) -> Any:
        return make_model(fitted, config.training.rate)

    def stages(self, config: Config) -> tuple[tuple[str, int], ...]:
        return (("likelihood", config.training.steps),)

    def begin_stage(self, model: Any, stage: str, batches: Any, fresh: bool) -> None:
        model.stage = stage

    def batches(self, config: Config, data: PointData, fitted: int) -> SetBatches:
        return SetBatches(config, data)

    def evaluator(self, model: Any, config: Config, schema: Any, fitted: int) -> Evaluator:
        return Evaluator(model, config, schema)

    def finish(self, config: Config, folder: Path, data: Any, checkpoint: Path) -> None:
        write_bytes(folder / WEIGHTS, checkpoint.read_bytes())

    def load(self, folder: Path, config: Config, schema: Any, calibrated: bool) -> Any:
        model = make_model(int((folder / "size.txt").read_text()))
        model.load_weights(folder / WEIGHTS)
        generator = make_generator(model)
        generator.networks = model
        return generator

    def files(self, config: Config, calibrated: bool = True) -> tuple[str, ...]:
        return ("size.txt",)

    def variants(self, config: Config) -> tuple[str, ...]:
        return ("generated",)

    def ideal_sampler(self, generator: Any) -> None:
        return None

    def served(self, generator: Any) -> Served:
        seed = np.zeros([1, 2], np.int64)
        variables = [w.value for w in generator.networks.trainable_variables]
        return Served(
            variables, None, {"generate": generator.generate}, "generate",
            {"generate": {"seed": seed}}, {"conditions": []},
        )  # fmt: skip

    def networks(self, config: Config, schema: Any, generator: Any) -> dict[str, Any]:
        return {"points": generator.networks}

    def examples(self, config: Config) -> tuple[int, str]:
        return config.training.steps * config.training.batch, "sets"

    def network_keys(self, config: Config) -> list[str]:
        return ["data.points"]

    def warm_start(self, model: Any, weights: Path, fitted: int) -> None:
        model.load_weights(weights)


ALGORITHM = GaussianPointsAlgorithm()
