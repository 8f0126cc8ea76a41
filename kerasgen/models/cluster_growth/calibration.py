"""Per-sensor calibration of a trained generator against training events.

Each sensor gets a rate of clusters at which the mean occupancy is that of the data, and charges at
which the spectrum of fired pixels is that of the data; an event gets the linked pairs of clusters
of the data. They are constants of the exported graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kerasgen.atomic import write_atomic
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.pixel_events import one_event
from kerasgen.errors import InputError
from kerasgen.models.calibration_file import read_arrays
from kerasgen.models.cluster_growth.growth import first_pixels
from kerasgen.models.cluster_growth.links import BINS, CELLS, RELATIONS, Links
from kerasgen.models.cluster_growth.statistics import (
    KNOTS_CHARGE,
    charge_histograms,
    charge_level,
    charge_of_level,
    quantiles,
)

Floats = NDArray[np.float32]
LINKS = tuple(field.name for field in fields(Links))


class Calibration(NamedTuple):
    """Numbers of S sensors.

    Attributes:
        rate: [S], mean number of clusters.
        charge: [S, KNOTS_CHARGE], ADU, see ``SensorStatistics``.
        links: of events; None: sensors share no particles.
    """

    rate: Floats
    charge: Floats
    links: Links | None = None


def fit_calibration(
    generator: Any, blocks: Iterable[Hits], geometry: Geometry, events: int, seed: int
) -> Calibration:
    """Fit rate and charges of every sensor.

    Args:
        generator: without rate and charges of a calibration.
        blocks: the training events, some at a time.
        geometry: of generator and data.
        events: to generate, numbers 0 to events - 1.
        seed: run seed of the generated events.
    """
    network = generator.network
    rate, table = (np.array(np.asarray(x)) for x in (network.rate, network.charge))
    sensors = len(geometry.sensors)
    made, clusters = np.zeros((sensors, geometry.max_charge + 1), np.int64), np.zeros(sensors)
    for event in tqdm(range(events), "calibration", unit=" events", disable=None):
        hits = one_event(generator, geometry, event, seed)
        made += charge_histograms(hits, geometry)
        hits = hits.split_types(network.types)
        image, _, _ = first_pixels(hits, geometry)
        clusters += np.bincount(hits.sensor[image], minlength=sensors)
    wanted, images = np.zeros_like(made), np.zeros(sensors)
    for hits in blocks:
        wanted += charge_histograms(hits, geometry)
        images += np.bincount(hits.sensor, minlength=sensors)
    for s in np.flatnonzero(wanted.sum(1) * made.sum(1)):
        # By the pixels of a cluster: their mean varies less than that of the pixels of an image.
        rate[s] = wanted[s].sum() / images[s] / (made[s].sum() / clusters[s])
        table[s] = mapped_charges(table[s], made[s], wanted[s])
    return Calibration(rate, table, generator.links)


def mapped_charges(table: Floats, made: NDArray[np.int64], wanted: NDArray[np.int64]) -> Floats:
    """Charges at the knots [KNOTS_CHARGE], ADU, with which a sensor has a spectrum.

    Args:
        table: charges at the knots that gave the spectrum ``made``.
        made: number of fired pixels by charge, [max_charge + 1].
        wanted: likewise.
    """
    below = np.concatenate([[0], np.cumsum(made)]) / made.sum()
    fraction = np.interp(table + 0.5, np.arange(len(below)), below)  # of charges below each knot
    return (quantiles(wanted, fraction) - 0.5).astype(np.float32)


def ideal_charges(generator: Any, hits: Hits, seed: int) -> NDArray[np.uint16]:
    """Charges of real hits after the model's own scale and rounding, ADU [hits].

    Args:
        generator: with or without calibration.
        hits: real.
        seed: of the place of each charge within its ADU.
    """
    table = np.asarray(generator.network.charge)
    sensor = hits.sensor[hits.image]
    spread = np.random.default_rng(seed).uniform(-0.5, 0.5, len(hits.adu))
    level = charge_level(hits.adu + spread, sensor, table)
    charge = charge_of_level(level, sensor, np.asarray(generator.charge))
    charge = np.clip(np.floor(charge + 0.5), generator.threshold, generator.max_charge)
    return charge.astype(np.uint16)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write ``calibration.npz``."""
    arrays: dict[str, Any] = {"rate": calibration.rate, "charge": calibration.charge}
    if calibration.links is not None:
        arrays |= vars(calibration.links)
    write_atomic(path, lambda partial: np.savez(partial, **arrays))


def read_calibration(path: Path, geometry: Geometry) -> Calibration:
    """Read ``calibration.npz``; one without linked pairs has none.

    Args:
        path: of the file.
        geometry: that the calibration must fit.

    Raises:
        InputError: missing, damaged, or of another geometry.
    """
    sensors = len(geometry.sensors)
    shapes = {
        "rate": [sensors], "charge": [sensors, KNOTS_CHARGE],
        "tried": [sensors, RELATIONS * CELLS], "share": [sensors],
        "rows": [sensors, BINS], "cols": [sensors, BINS],
    }  # fmt: skip
    arrays = read_arrays(path, "rate", "charge", optional=LINKS)
    for name, array in arrays.items():
        if list(array.shape) != shapes[name] or not np.isfinite(array).all():
            raise InputError(f"{path}: {name} {list(array.shape)}, expected {shapes[name]}, finite")
        if name != "charge" and (array < 0).any():
            raise InputError(f"{path}: {name} below 0")
    charge = arrays["charge"]
    if not ((charge > -1) & (charge <= geometry.max_charge + 1)).all():
        raise InputError(f"{path}: charges beyond 0..{geometry.max_charge} ADU of {geometry.name}")
    links = Links(*(arrays[name] for name in LINKS)) if "tried" in arrays else None
    return Calibration(arrays["rate"], charge, links)
