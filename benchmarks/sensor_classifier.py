"""Train the released sensor classifier on simulated events.

python benchmarks/sensor_classifier.py --out benchmarks/sensor_classifier.md
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import keras
import numpy as np

from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.metrics import sensor_classifier
from kerasgen.metrics.sensor_scores import inception_score, sum_answers
from kerasgen.metrics.summary import layer_index

GEOMETRY = load_geometry(sensor_classifier.GEOMETRY)
SENSORS = len(GEOMETRY.sensors)
SEED, TEST_SEED = 211, 223
BATCH = 64


class Images(keras.utils.PyDataset):
    """Batches of random images, made dense when they are needed."""

    def __init__(self, hits: Hits, epoch_images: int) -> None:
        super().__init__()
        self.hits, self.batches = hits, epoch_images // BATCH
        self.rng = np.random.default_rng(SEED)

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        some = self.hits.take(self.rng.integers(len(self.hits), size=BATCH))
        return sensor_classifier.image_charges(some, GEOMETRY), some.sensor.astype(np.int64)


def simulated_hits(seed: int, events: int) -> Hits:
    """Simulate events in two processes."""
    return concatenate(list(simulate_events(GEOMETRY, seed, 0, events, processes=2)))


def train(hits: Hits, epochs: int) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    network = sensor_classifier.build_network(GEOMETRY)
    model = keras.Model(network.inputs, network.outputs[0])
    images = Images(hits, len(hits) // 4)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * len(images))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3), loss, metrics=["accuracy"])
    model.fit(images, epochs=epochs, verbose=2)
    return network


def save(network: keras.Model) -> Path:
    path = Path(sensor_classifier.__file__).with_name(sensor_classifier.WEIGHTS)
    weights = {str(k): w.astype(np.float32) for k, w in enumerate(network.get_weights())}
    np.savez_compressed(path, **weights)
    return path


def render(events: int, epochs: int, seconds: float, size: int, parameters: int) -> str:
    """The content of ``sensor_classifier.md``; its table is for other events than the training."""
    test = simulated_hits(TEST_SEED, 100)
    answer, features = sensor_classifier.load_classifier(GEOMETRY)(test)
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
            f"The classifier was trained on {events} simulated events ({events * SENSORS} images, "
            f"seed {SEED}), in {epochs} passes over a quarter of them each, in {seconds / 60:.0f} "
            f"minutes of processor time; it has {parameters} parameters, {size / 1e6:.2f} MB. The "
            f"table is for 100 other events (seed {TEST_SEED}).",
            "",
            "| correct prediction of | fraction | by chance |",
            "|---|---|---|",
            *(f"| {name} | {100 * correct:.1f} % | {100 * chance:.1f} % |"
              for name, correct, chance in rows),
            "",
            f"The inception score of these events is {score:.2f} (maximum {SENSORS}).",
            "",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--events", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=16)
    a = parser.parse_args()
    hits = simulated_hits(SEED, a.events)
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
