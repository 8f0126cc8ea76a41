"""Train the sensor classifier that ships with the package, on simulated events.

python benchmarks/sensor_classifier.py --out benchmarks/sensor_classifier.md
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import keras
import numpy as np

import kerasgen.metrics.sensor_classifier as shipped
from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.metrics.sensor_scores import inception_score, sum_answers
from kerasgen.metrics.summary import layer_index

GEOMETRY = load_geometry(shipped.GEOMETRY)
SENSORS = len(GEOMETRY.sensors)
SEED, TEST_SEED = 211, 223
BATCH = 64


class Images(keras.utils.PyDataset):
    """Batches of random images; dense ones are made as they are needed."""

    def __init__(self, hits: Hits, epoch_images: int) -> None:
        super().__init__()
        self.hits, self.number = hits, epoch_images // BATCH
        self.rng = np.random.default_rng(SEED)

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        some = self.hits.take(self.rng.integers(len(self.hits), size=BATCH))
        return shipped.charges(some, GEOMETRY), some.sensor.astype(np.int64)


def simulated(seed: int, events: int) -> Hits:
    return concatenate(list(simulate_events(GEOMETRY, seed, 0, events, processes=2)))


def train(hits: Hits, epochs: int) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    network = shipped.build_network(GEOMETRY)
    model = keras.Model(network.inputs, network.outputs[0])
    images = Images(hits, len(hits) // 4)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * len(images))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), loss, metrics=["accuracy"])
    model.fit(images, epochs=epochs, verbose=2)
    return network


def save(network: keras.Model) -> Path:
    path = Path(shipped.__file__).with_name(shipped.WEIGHTS)
    weights = {str(k): w.astype(np.float32) for k, w in enumerate(network.get_weights())}
    np.savez_compressed(path, **weights)
    return path


def render(events: int, epochs: int, seconds: float, size: int, parameters: int) -> str:
    """The table, from other simulated events than the trained ones."""
    test = simulated(TEST_SEED, 100)
    answer, features = shipped.load_classifier(GEOMETRY)(test)
    guess, layer = answer.argmax(axis=1), layer_index(GEOMETRY)
    right = guess == test.sensor
    rows = [("all 40 sensors", right.mean(), 1 / SENSORS)]
    for k in range(int(layer.max()) + 1):
        of = layer[test.sensor] == k
        rows.append((f"sensors of layer {k + 1}", right[of].mean(), 1 / (layer == k).sum()))
    same = (layer[guess] == layer[test.sensor]).mean()
    ends = np.array([s.name.endswith(".1") for s in GEOMETRY.sensors])
    rows.append(("layer alone", same, 0.5))
    rows.append(("forward or backward alone", (ends[guess] == ends[test.sensor]).mean(), 0.5))
    seen = sum_answers(answer, features, test.sensor, SENSORS)
    score = inception_score(seen, np.ones(len(seen)))
    return "\n".join(
        [
            "# Sensor classifier",
            "",
            "`python benchmarks/sensor_classifier.py --out benchmarks/sensor_classifier.md`",
            "",
            f"Trained on {events} simulated events ({events * SENSORS} images, seed {SEED}), "
            f"{epochs} passes over a quarter of them each, {seconds / 60:.0f} minutes of processor "
            f"time; {parameters} parameters, {size / 1e6:.2f} MB. Judged on 100 other events "
            f"(seed {TEST_SEED}).",
            "",
            "| right about | share | by chance |",
            "|---|---|---|",
            *(f"| {name} | {100 * share:.1f} % | {100 * chance:.1f} % |" for name, share, chance
              in rows),
            "",
            f"Inception score of these events: {score:.2f} (highest possible {SENSORS}).",
            "",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--events", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=16)
    a = parser.parse_args()
    hits = simulated(SEED, a.events)
    start = time.process_time()
    network = train(hits, a.epochs)
    seconds = time.process_time() - start
    path = save(network)
    a.out.write_text(
        render(a.events, a.epochs, seconds, path.stat().st_size, network.count_params())
    )
    print(a.out)


if __name__ == "__main__":
    main()
