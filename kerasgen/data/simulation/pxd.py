"""Simulation of background events of the pixel vertex detector."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import AsyncResult
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.child_processes import ctrl_c_blocked, ignore_ctrl_c
from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.charge import EnergyDeposits, photon_deposits, share_among_pixels
from kerasgen.data.simulation.compton import compton_electrons
from kerasgen.data.simulation.detector import (
    Detector,
    Floats,
    Ints,
    build_detector,
    concatenate,
)
from kerasgen.data.simulation.digitizer import read_out
from kerasgen.data.simulation.parameters import Parameters, calibrated_parameters
from kerasgen.data.simulation.particles import (
    SHOWER,
    shower_particles,
    shower_photons,
    synchrotron_photons,
    two_photon_pairs,
)
from kerasgen.data.simulation.silicon import charged_deposits
from kerasgen.errors import InputError

STREAMS = ("pairs", "showers", "compton", "photons", "silicon", "readout")
N_TYPES = 4  # unknown and the three background types


@dataclass(frozen=True)
class Charges:
    """Pixels with charge.

    Attributes:
        pixel: sensor * rows * cols + row * cols + col, ascending.
        charge: electrons.
        type: background type.
    """

    pixel: Ints
    charge: Floats
    type: NDArray[np.uint8]


def simulate_event(
    geometry: Geometry, seed: int, event: int, parameters: Parameters | None = None
) -> Hits:
    """Simulate the hits of one background event on all sensors; a pure function.

    Args:
        geometry: geometry with silicon, layer and digitizer tables (belle2-pxd).
        seed, event: >= 0, key of the random numbers.
        parameters: parameters of the simulation; None: the calibrated ones.

    Raises:
        InputError: geometry without the tables, or sensors other than those of the rates.
    """
    parameters = parameters or calibrated_parameters()
    if set(geometry.names) != set(parameters.shower_per_event):
        raise InputError(
            f"geometry {geometry.name!r} has other sensors than the calibrated rates "
            "(allowed: belle2-pxd with all its sensors; select some of them afterwards)"
        )
    detector = build_detector(geometry)
    streams = random_streams(seed, event)
    deposits = simulate_deposits(streams, geometry, detector, parameters)
    return hits_of_deposits(deposits, geometry, detector, parameters, seed, event)


def hits_of_deposits(
    deposits: EnergyDeposits,
    geometry: Geometry,
    detector: Detector,
    parameters: Parameters,
    seed: int,
    event: int,
) -> Hits:
    """Share the charge of energy deposits among pixels and read these out."""
    gate_w = 0.5 * detector.thickness - float(geometry.extra["silicon"]["gate_depth_um"])
    shared = share_among_pixels(deposits, detector, parameters, gate_w)
    charges = sum_charges(*shared, geometry)
    rng = random_streams(seed, event)["readout"]
    adu = read_out(rng, charges.charge, geometry.extra["digitizer"])
    return _suppress_zeros(charges, adu, geometry, event)


def random_streams(seed: int, event: int) -> dict[str, np.random.Generator]:
    """Make independent random generators for the parts of the simulation of one event.

    All have the key (seed, event) and disjoint counters, so a change in one part does not change
    the random numbers of the others.
    """
    return {
        name: np.random.Generator(np.random.Philox(key=[seed, event], counter=[0, 0, 0, k]))
        for k, name in enumerate(STREAMS)
    }


def simulate_deposits(
    streams: dict[str, np.random.Generator],
    geometry: Geometry,
    detector: Detector,
    parameters: Parameters,
) -> EnergyDeposits:
    """Simulate the energy deposits of the particles of one event in the silicon."""
    pairs = two_photon_pairs(streams["pairs"], parameters, detector.field)
    showers = shower_particles(streams["showers"], parameters, detector, geometry)
    scattered = shower_photons(streams["compton"], parameters, detector, geometry)
    electrons = compton_electrons(streams["compton"], scattered)
    photons = synchrotron_photons(streams["photons"], parameters, detector, geometry)
    return concatenate(
        [
            charged_deposits(
                _faster(streams["silicon"]),
                concatenate([pairs, showers]),
                electrons,
                np.full(len(electrons.u), SHOWER, np.uint8),
                detector,
            ),
            _single(photon_deposits(streams["photons"], photons)),
        ]
    )


def _faster(rng: np.random.Generator) -> np.random.Generator:
    """A generator that takes two thirds of the time, with its seed from another."""
    return np.random.Generator(np.random.SFC64(rng.integers(0, 2**63, 4).tolist()))


def _single(deposits: EnergyDeposits) -> EnergyDeposits:
    """Deposits in single precision."""
    d = deposits
    u, v, w, charge = (a.astype(np.float32) for a in (d.u, d.v, d.w, d.charge))
    return EnergyDeposits(d.sensor, u, v, w, charge, d.type)


def sum_charges(
    pixel: Ints, charge: NDArray[np.floating[Any]], hit_type: NDArray[np.uint8], geometry: Geometry
) -> Charges:
    """Sum the charges of each pixel, which takes the type of most charge.

    Args:
        pixel: [n] sensor * rows * cols + row * cols + col.
        charge: [n] electrons.
        hit_type: [n] background type.
        geometry: sensors and their pixels.
    """
    touched = np.zeros(len(geometry.sensors) * geometry.pixels, np.bool_)
    touched[pixel] = True
    pixels = np.flatnonzero(touched)
    rank = np.empty(len(touched), np.int32)
    rank[pixels] = np.arange(len(pixels), dtype=np.int32)
    cell = rank.take(pixel) + hit_type * np.int64(len(pixels))
    by_type = np.bincount(cell, charge, N_TYPES * len(pixels)).reshape(N_TYPES, -1)
    most, best = by_type[0], np.zeros(len(pixels), np.uint8)
    for k in range(1, N_TYPES):  # faster than argmax
        np.maximum(best, (by_type[k] > most) * np.uint8(k), out=best)
        most = np.maximum(most, by_type[k])
    return Charges(pixels, by_type.sum(0), best)


def _suppress_zeros(
    charges: Charges, adu: NDArray[np.int64], geometry: Geometry, event: int
) -> Hits:
    """Keep pixels above threshold, as hits of all sensors including the empty ones."""
    fired = np.flatnonzero(adu >= geometry.threshold)
    pixel = charges.pixel.take(fired)
    line = pixel // geometry.cols
    sensor = line // geometry.rows
    row, col = line - sensor * geometry.rows, pixel - line * geometry.cols
    n = len(geometry.sensors)
    counts = np.bincount(sensor, minlength=n)
    return Hits(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        row.astype(np.uint16),
        col.astype(np.uint16),
        np.minimum(adu.take(fired), geometry.max_charge).astype(np.uint16),
        charges.type.take(fired),
        np.arange(n, dtype=np.uint16),
        np.full(n, event, np.int64),
    )


def simulate_events(
    geometry: Geometry,
    seed: int,
    first: int,
    n: int,
    processes: int = 1,
    parameters: Parameters | None = None,
) -> Iterator[Hits]:
    """Simulate events first .. first + n - 1 in order, independent of the number of processes.

    ``parameters``: of the sources; None: the calibrated ones.
    """
    simulate = partial(simulate_event, geometry, seed, parameters=parameters)
    events = range(first, first + n)
    if processes <= 1:
        yield from map(simulate, events)
        return
    with ctrl_c_blocked():
        pool = get_context("spawn").Pool(min(processes, n), ignore_ctrl_c)
    with pool:
        ahead: deque[AsyncResult[Hits]] = deque()
        for event in events:  # run only a few events ahead of the reader, to bound the memory
            ahead.append(pool.apply_async(simulate, (event,)))
            if len(ahead) > 2 * processes:
                yield ahead.popleft().get()
        while ahead:
            yield ahead.popleft().get()
