"""A judge of jets: a network that is trained to tell real from generated jets.

It sees the constituents and the class of a jet. Constituents attend to each other, and what a pair
says to their attention are its distance, kT, momentum share and mass, as in the Particle
Transformer (H. Qu et al., arXiv:2202.03772). Architecture, training and sample sizes are frozen:
AUCs compare only between equal judges.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kerasgen.metrics.judges import scores, train_network
from kerasgen.metrics.two_sample import NetworkInputs, Score, two_sample_auc

JETS = 50_000  # of each side, half of them for training
EPOCHS, BATCH = 8, 256
WIDTH, HEADS, BLOCKS = 48, 4, 2
PAIR_WIDTH = 16
MIN_DISTANCE, MIN_SHARE = 1e-4, 1e-6  # of two points in (eta, phi); of the pT of a jet


def jets_auc(
    real: dict[str, NDArray[Any]], generated: dict[str, NDArray[Any]], rng: np.random.Generator
) -> tuple[float, float]:
    """AUC of the judge, trained on half of the jets and tested on the others.

    Args:
        real, generated: ``points`` [n, P, 3] as (eta, phi, pT / jet pT), ``mask`` [n, P] and
            ``label`` [n]; of more than ``JETS`` jets, random ones.
        rng: of that choice, the halves, the network and the bootstrap.

    Returns:
        AUC, 0.5 where real and generated jets are not distinguished, and its error.
    """
    classes = 1 + max(int(x["label"].max()) for x in (real, generated))
    a, b = (judge_inputs(x, rng) for x in (real, generated))
    train = partial(train_judge, classes=classes)
    return two_sample_auc(a, b, int(rng.integers(2**31)), train)


def judge_inputs(sample: dict[str, NDArray[Any]], rng: np.random.Generator) -> NetworkInputs:
    """Inputs of the judge: five numbers of each constituent, and the class in place of a sensor."""
    n = len(sample["label"])
    rows = np.sort(rng.permutation(n)[:JETS])
    eta, phi, share = np.moveaxis(sample["points"][rows].astype(np.float32), -1, 0)
    mask = sample["mask"][rows]
    share = np.log(np.maximum(share, MIN_SHARE))
    distance = np.log(np.hypot(eta, phi) + MIN_DISTANCE)
    columns = [5 * eta, 5 * phi, share / 2 + 1.5, distance / 2 + 1.5, mask]
    image = np.stack(columns, axis=-1) * mask[..., None]
    label = sample["label"][rows].astype(np.int64)
    return NetworkInputs(image.astype(np.float32), label, np.arange(len(rows)))


def train_judge(samples: list[NetworkInputs], seed: int, classes: int) -> Score:
    """Train the judge of real and generated inputs; its scores are low for real ones."""
    keras.utils.set_random_seed(seed)
    model = JetJudge(classes, dtype="float32")
    steps = EPOCHS * sum(len(s.event) for s in samples) // BATCH
    train_network(model, samples, max(steps, 1), seed, BATCH)
    return lambda sample: scores(model, sample)


class JetJudge(keras.Model):
    """(constituents [B, P, 5], class [B]) -> logit [B, 1].

    Args:
        classes: of the jets.
        options: of ``keras.Model``.
    """

    def __init__(self, classes: int, **options: Any) -> None:
        super().__init__(**options)
        dense = partial(keras.layers.Dense, dtype="float32")
        self.embed = [dense(WIDTH, activation="gelu"), dense(WIDTH)]
        self.of_class = keras.layers.Embedding(classes, WIDTH, dtype="float32")
        self.of_pair = [dense(PAIR_WIDTH, activation="gelu"), dense(HEADS * BLOCKS)]
        self.blocks = [AttentionBlock(dtype="float32") for _ in range(BLOCKS)]
        self.head = [dense(64, activation="gelu"), dense(1)]

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Logits, high for generated jets."""
        points, label = inputs
        present = points[..., 4]
        bias = in_turn(self.of_pair, pair_features(points))
        bias = ops.transpose(bias, (0, 3, 1, 2)) - 1e4 * (1.0 - present)[:, None, None]
        x = in_turn(self.embed, points) + self.of_class(label)[:, None]
        for block, part in zip(self.blocks, ops.split(bias, BLOCKS, axis=1), strict=True):
            x = block(x, part)
        present = present[..., None]
        count = ops.sum(present, axis=1)
        mean = ops.sum(x * present, axis=1) / ops.maximum(count, 1.0)
        highest = ops.max(x - 1e4 * (1.0 - present), axis=1)
        return in_turn(self.head, ops.concatenate([mean, highest, count / 20 - 1], axis=-1))


class AttentionBlock(keras.layers.Layer):
    """Attention with a bias for each pair, then a dense layer, both residual."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        dense = partial(keras.layers.Dense, dtype="float32")
        self.first, self.second = (
            keras.layers.LayerNormalization(dtype="float32") for _ in range(2)
        )
        self.ask, self.answer = dense(3 * WIDTH, use_bias=False), dense(WIDTH)
        self.inner = [dense(2 * WIDTH, activation="gelu"), dense(WIDTH)]

    def call(self, x: Any, bias: Any) -> Any:
        """Updated points [B, P, WIDTH], with a bias [B, HEADS, P, P]."""
        size = WIDTH // HEADS
        joint = ops.reshape(self.ask(self.first(x)), (-1, x.shape[1], 3 * HEADS, size))
        query, key, value = ops.split(ops.transpose(joint, (0, 2, 1, 3)), 3, axis=1)
        weight = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / math.sqrt(size) + bias
        heads = ops.transpose(ops.matmul(ops.softmax(weight), value), (0, 2, 1, 3))
        x = x + self.answer(ops.reshape(heads, (-1, x.shape[1], WIDTH)))
        return x + in_turn(self.inner, self.second(x))


def pair_features(points: Any) -> Any:
    """Logarithms of distance, kT, momentum share and mass of each pair: [B, P, P, 4], of order 1.

    Args:
        points: [B, P, 5], of ``judge_inputs``.
    """
    eta, phi, share = points[..., 0] / 5, points[..., 1] / 5, 2 * (points[..., 2] - 1.5)
    square = ops.square(eta[:, :, None] - eta[:, None]) + ops.square(phi[:, :, None] - phi[:, None])
    distance = 0.5 * ops.log(square + MIN_DISTANCE**2)
    softer = ops.minimum(share[:, :, None], share[:, None])
    harder = ops.maximum(share[:, :, None], share[:, None])
    fraction = softer - ops.logaddexp(softer, harder)
    mass = softer + harder + 2 * distance
    columns = [distance / 2 + 1.5, (softer + distance) / 3 + 2, fraction / 2, mass / 5 + 2]
    return ops.stack(columns, axis=-1)


def in_turn(layers: list[Any], x: Any) -> Any:
    """Apply layers one after the other."""
    for layer in layers:
        x = layer(x)
    return x
