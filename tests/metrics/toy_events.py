"""Cheap events with clusters: Poisson numbers of lines of one to three pixels."""

from __future__ import annotations

import numpy as np

from kerasgen.data.geometry import Geometry, Sensor
from kerasgen.data.hits import Hits, from_dense

TOY = Geometry(
    "toy",
    rows=48,
    cols=64,
    threshold=7,
    max_charge=255,
    sensors=tuple(
        Sensor(f"{layer}.{ladder}.1", 10 * layer + ladder, layer, ladder)
        for layer in (1, 2)
        for ladder in (1, 2, 3)
    ),
)


def toy_events(n: int, seed: int, clusters: float = 30.0, geometry: Geometry = TOY) -> Hits:
    """Whole events.

    Args:
        n: number of events.
        seed: of the events.
        clusters: mean number per image of the first layer, half of it in the second; the means of
            an event vary together by 3 %.
        geometry: with two layers.
    """
    rng = np.random.default_rng(seed)
    sensors = len(geometry.sensors)
    layer = np.array([s.layer for s in geometry.sensors])
    mean = clusters / layer * np.clip(rng.normal(1, 0.03, (n, 1)), 0.5, 1.5)
    number = rng.poisson(mean).ravel()
    images = np.zeros((n * sensors, geometry.rows, geometry.cols), np.uint16)
    image = np.repeat(np.arange(n * sensors), number)
    row = rng.integers(0, geometry.rows, len(image))
    col = rng.integers(0, geometry.cols - 2, len(image))
    length = rng.integers(1, 4, len(image))
    for step in range(3):
        on = length > step
        charge = np.minimum(7 + rng.exponential(12, on.sum()).astype(int), 200)
        images[image[on], row[on], col[on] + step] = charge
    return from_dense(images, np.tile(np.arange(sensors), n), np.repeat(np.arange(n), sensors))
