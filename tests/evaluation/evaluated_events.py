"""Events of a small detector to evaluate, and the command on two files of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.data.geometry import Geometry, Sensor
from kerasgen.data.hits import Hits, from_dense, without
from kerasgen.data.mask_file import HEADER, mask_from_text
from kerasgen.data.pixel_mask import PixelMask
from kerasgen.data.store import EventWriter
from kerasgen.zoo.evaluate import main as evaluate_main

GEOMETRY = Geometry(
    "small", 24, 40, 7, 255,
    tuple(Sensor(f"{layer}.{k}.1", 10 * layer + k, layer, k) for layer in (1, 2) for k in (1, 2)),
)  # fmt: skip


def events(n: int, seed: int, shift: int = 0, geometry: Geometry = GEOMETRY) -> Hits:
    rng = np.random.default_rng(seed)
    sensors = len(geometry.sensors)
    size = (n * sensors, geometry.rows, geometry.cols)
    charge = 7 + shift + np.minimum(rng.exponential(15, size), 200).astype(int)
    images = charge * (rng.random(size) < 0.03)
    return from_dense(images, np.tile(np.arange(sensors), n), np.repeat(np.arange(n), sensors))


def write(
    path: Path, hits: Hits, geometry: Geometry = GEOMETRY, mask: PixelMask | None = None
) -> str:
    with EventWriter(path, geometry, "test", mask=mask) as file:
        file.write(hits)
    return str(path)


def evaluate_files(
    reference: str,
    candidate: str,
    events: int | None,
    out: Path,
    seed: int,
    training: str | None = None,
) -> dict[str, Any]:
    """The command on two files; the content of its ``metrics.json``."""
    options = ["--reference", reference, "--candidate", candidate, "--seed", str(seed)]
    options += ["--events", str(events)] if events else []
    options += ["--training", training] if training else []
    assert evaluate_main([*options, "--out", str(out)]) == 0
    return json.loads((out / "metrics.json").read_text())


# A third of a sensor, a row, and a hot pixel of another.
UNHEALTHY = mask_from_text(
    f"{HEADER}\n1.1.1,0-7,*,dead\n2.1.1,3,*,masked,,,0-4\n2.2.1,9,9,hot,1,200\n", GEOMETRY, "test"
)


def healthy(hits: Hits) -> Hits:
    return without(hits, UNHEALTHY.unhealthy())
