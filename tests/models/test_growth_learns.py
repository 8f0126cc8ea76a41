"""Cluster growth on another detector: one sensor of 336 x 80 pixels, charges 1 to 14."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry, geometry_from_json
from kerasgen.data.hits import Hits, from_dense
from kerasgen.data.store import EventWriter
from kerasgen.kinds.pixels import PIXELS
from kerasgen.metrics.clusters import find_clusters
from kerasgen.models.cluster_growth.algorithm import ALGORITHM
from kerasgen.models.cluster_growth.growth import grown_clusters
from kerasgen.models.trained import config_from_table
from kerasgen.training.trainer import compiled_step

FRAMES, STEPS = 400, 600
SINGLE, WORM = 9, 4  # types
pytestmark = pytest.mark.slow


def detector() -> Geometry:
    sensor = {"name": "1.1.1", "id": 1, "layer": 1, "ladder": 1}
    sizes = {"rows": 336, "cols": 80, "threshold": 1, "max_charge": 14}
    return geometry_from_json(json.dumps({"name": "strip", "sensors": [sensor], **sizes}))


def frame(rng: np.random.Generator) -> NDArray[np.int64]:
    """Charges and types: worms of 12 pixels that turn at random, and single pixels of a charge
    and a type of their own.

    They lie in a beam spot along u, and on one half along v.
    """
    image, kind = np.zeros((2, 336, 80), np.int64)
    for _ in range(rng.poisson(10)):
        u, v = rng.normal(200, 30), rng.uniform(0, 40)
        angle = rng.uniform(0, 2 * np.pi)
        worm = rng.random() < 0.5
        for _ in range(12 if worm else 1):
            if 0 <= u < 336 and 0 <= v < 80:
                image[int(u), int(v)] = rng.integers(8, 15) if worm else rng.integers(1, 5)
                kind[int(u), int(v)] = WORM if worm else SINGLE
            u, v, angle = u + np.cos(angle), v + np.sin(angle), angle + rng.normal(0, 0.4)
    return np.stack([image, kind])


def hits_of(frames: NDArray[np.int64], first: int = 0) -> Hits:
    """Events of frames [N, 2, rows, cols], charges and types."""
    hits = from_dense(frames[:, 0], np.zeros(len(frames), int), first + np.arange(len(frames)))
    return replace(hits, type=frames[hits.image, 1, hits.row, hits.col].astype(np.uint8))


def moments(hits: Hits) -> dict[str, float]:
    """What linked clusters look like, and where they lie."""
    grown = grown_clusters(hits, detector())
    begin = np.flatnonzero(grown.is_first)
    size = np.diff(begin, append=len(grown))
    place = grown.row + 1j * grown.col
    length = abs(place[begin + size - 1] - place[begin])
    charge = np.add.reduceat(grown.adu, begin) / size
    long = size > 4
    low, middle, high = np.percentile(hits.row, [16, 50, 84])
    return {
        "clusters": len(size) / len(hits),
        "8-connected clusters": len(find_clusters(hits, detector())) / len(hits),
        "singles": (size == 1).mean(),
        "size of worms": size[long].mean(),
        "length of worms": length[long].mean(),
        "charge of singles": charge[size == 1].mean(),
        "charge of worms": charge[long].mean(),
        "singles of their type": (grown.type[begin] == SINGLE)[size == 1].mean(),
        "worms of their type": (grown.type[begin] == WORM)[long].mean(),
        "middle along u": middle,
        "width along u": high - low,
        "mean along v": hits.col.mean(),
    }


def test_worms_come_out_as_long_and_crooked_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tmp_path / "frames.h5"
    frames = np.stack([frame(rng) for _ in range(FRAMES)])
    with EventWriter(path, detector(), "tests") as writer:
        for event in range(FRAMES):
            writer.write(hits_of(frames[event, None], event))
    table: dict[str, Any] = {
        "recipe": "strip", "algorithm": "cluster_growth",
        "data": {"source": str(path), "events": 0, "held_out": 4, "channels": [SINGLE, WORM]},
        "network": {"width": 48, "layers": 1, "recent": 16},
        "training": {"steps": STEPS, "batch": 512, "rate": 5e-3, "warm_up": 20, "ema_decay": 0.98},
    }  # fmt: skip
    config: Any = config_from_table(table)
    with PIXELS.open(config.data) as data:
        fitted = ALGORITHM.fit(config, data)
        model = ALGORITHM.build(config, data.schema, fitted)
        batches = ALGORITHM.batches(config, data, fitted)
        step = compiled_step(model)
        step.read_variables()
        losses = [step(batches.batch_at(k)) for k in range(STEPS)]
        step.write_variables()
        evaluator = ALGORITHM.evaluator(model, config, data.schema, fitted)
        made = PIXELS.generate(evaluator.model, range(100), 3)
    for term in ("token", "plan", "first_charge"):  # charges of worms are random
        values = [float(x[f"generator/{term}"]) for x in losses]
        assert np.mean(values[-50:]) < 0.8 * np.mean(values[:20]), term
    assert made.adu.min() >= 1
    assert made.adu.max() <= 14
    real, ours = moments(hits_of(frames)), moments(made)
    for name, tolerance in {
        "clusters": 0.1, "8-connected clusters": 0.2, "singles": 0.1, "size of worms": 0.1,
        "singles of their type": 0.03, "worms of their type": 0.03,
        "length of worms": 0.1, "charge of singles": 0.1, "charge of worms": 0.05,
        "middle along u": 0.03, "width along u": 0.15, "mean along v": 0.1,
    }.items():  # fmt: skip
        assert ours[name] == pytest.approx(real[name], rel=tolerance), (name, ours, real)
