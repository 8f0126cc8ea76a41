"""Fit the assumed sources of PXD background, with Geant4's transport, to the published sample.

    python benchmarks/calibrate_pxd.py spectrum --events 10 --out SPECTRUM.json
    python benchmarks/calibrate_pxd.py rates --start SPECTRUM.json --events 200 --out FILE.json

``spectrum`` transports some events source by source, then tries widths of the charge cloud: for
each it fits a factor on the rate of every source, so that the charges of fired pixels and the mean
charge of both layers follow the published numbers. ``rates`` measures how many pixels of every
sensor a shower fires that is aimed at each of the sensors, and solves for the showers of each
sensor; whole events then correct for pixels that particles share, and at last each sensor by
itself.

The result replaces ``kerasgen/data/simulation/calibrated.json``. Both engines use it.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from kerasgen.data.cache import GEANT4, cache_folder
from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.simulation.charge import EnergyDeposits, photon_deposits, share_among_pixels
from kerasgen.data.simulation.detector import Detector, build_detector
from kerasgen.data.simulation.digitizer import read_out
from kerasgen.data.simulation.geant4.environment import (
    data_folder,
    use_data_folder,
    uses_data_files,
)
from kerasgen.data.simulation.geant4.workers import Geant4Events
from kerasgen.data.simulation.parameters import (
    Parameters,
    calibrated_parameters,
    calibration_targets,
    read_parameters,
)
from kerasgen.data.simulation.particles import (
    shower_particles,
    shower_photons,
    synchrotron_photons,
    two_photon_pairs,
)
from kerasgen.data.simulation.pxd import random_streams, sum_charges

SEED = 20260101  # not a seed of training or held-out events
SOURCES = ("pairs", "showers 1", "showers 2", "photons 1", "photons 2", "X-rays")
CLOUDS_UM = ((6.5, 7.3), (7.0, 8.0), (7.5, 8.5), (8.0, 9.0))  # standard deviation along u, v
X_RAYS = 1.0  # kept, by hand at half of the first rate: the spectrum alone would have none
BOUNDS = (0.3, 3.0)  # of the other factors
STRENGTH = 200.0  # weight of number and mean charge of the fired pixels of a layer, to 0.5 %
SHOWERS_PER_BATCH = 200


def reference_spectrum() -> NDArray[np.float64]:
    """Published fraction of fired pixels at each ADU value, [256]."""
    table = calibration_targets()["adu"]
    reference = np.zeros(256)
    reference[table["first"] :] = table["counts"]
    return reference / reference.sum()


def reference_layers(geometry: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Published fired pixels per event of both layers, and their mean charge in ADU."""
    t = calibration_targets()
    pixels = np.array(t["mean_occupancy"]) * geometry.pixels
    layer = np.array([s.layer for s in geometry.sensors]) - 1
    number = np.bincount(layer, pixels)
    return number, np.bincount(layer, pixels * t["mean_adu"]) / number


def aimed_at(parameters: Parameters, rates: dict[str, float]) -> Parameters:
    """The parameters with showers aimed at these sensors alone, by name."""
    return replace(
        parameters,
        shower_per_event={name: rates.get(name, 0.0) for name in parameters.shower_per_event},
    )


class Transport:
    """Deposits of single sources by Geant4, in this process."""

    def __init__(self, geometry: Geometry, data_files: bool) -> None:
        from kerasgen.data.simulation.geant4 import event, kernel, world

        self.geometry, self.detector = geometry, build_detector(geometry)
        self.event = event
        self.kernel = kernel.Kernel(world.pxd_world(geometry, self.detector), data_files)

    def pairs(self, p: Parameters, key: int) -> EnergyDeposits:
        tracks = two_photon_pairs(random_streams(SEED, key)["pairs"], p, self.detector.field)
        return self._shoot(self.event.start_of_helices(tracks, self.detector.field), key)

    def showers(self, p: Parameters, key: int) -> EnergyDeposits:
        rng = random_streams(SEED, key)["showers"]
        tracks = shower_particles(rng, p, self.detector, self.geometry)
        return self._shoot(self.event.start_of_helices(tracks, self.detector.field), key)

    def photons(self, p: Parameters, key: int) -> EnergyDeposits:
        rng = random_streams(SEED, key)["compton"]
        photons = shower_photons(rng, p, self.detector, self.geometry)
        return self._shoot(self.event.photons_at(photons, self.detector), key, "compt")

    def x_rays(self, p: Parameters, key: int) -> EnergyDeposits:
        rng = random_streams(SEED, key)["photons"]
        photons = synchrotron_photons(rng, p, self.detector, self.geometry)
        return photon_deposits(rng, photons)

    def _shoot(self, primaries: Any, key: int, forced: str | None = None) -> EnergyDeposits:
        steps = self.kernel.shoot(primaries, key, forced)
        return self.event.deposits_of_steps(steps, self.detector, 0)

    def sources(self, p: Parameters, key: int) -> list[EnergyDeposits]:
        """Deposits of each of SOURCES in one event."""
        of_layer = [
            aimed_at(p, {k: v for k, v in p.shower_per_event.items() if k.startswith(f"{layer}.")})
            for layer in (1, 2)
        ]
        return [
            self.pairs(p, key),
            *(self.showers(q, key) for q in of_layer),
            *(self.photons(q, key) for q in of_layer),
            self.x_rays(p, key),
        ]


def fired(
    deposits: EnergyDeposits, geometry: Geometry, detector: Detector, p: Parameters, key: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sensor and ADU of the pixels that the deposits fire."""
    gate_w = 0.5 * detector.thickness - float(geometry.extra["silicon"]["gate_depth_um"])
    charges = sum_charges(*share_among_pixels(deposits, detector, p, gate_w), geometry)
    rng = random_streams(SEED, key)["readout"]
    adu = read_out(rng, charges.charge, geometry.extra["digitizer"])
    over = adu >= geometry.threshold
    return charges.pixel[over] // geometry.pixels, np.minimum(adu[over], 255)


def fit_factors(
    spectra: NDArray[np.float64], geometry: Geometry
) -> tuple[NDArray[np.float64], float]:
    """Factors on the rates of SOURCES, and the sum of squares.

    Args:
        spectra: [source, layer, 256] fired pixels per event.
        geometry: belle2-pxd.
    """
    number, mean = reference_layers(geometry)
    counts = reference_spectrum() * number.sum()
    error = np.sqrt(50.0 * counts + (0.01 * counts) ** 2 + 1e3)
    rows = [(spectra.sum(1) / error).T]
    wanted = [counts / error]
    for layer in (0, 1):
        for value, target in (
            (spectra[:, layer].sum(1), number[layer]),
            (spectra[:, layer] @ np.arange(256), number[layer] * mean[layer]),
        ):
            rows.append(STRENGTH * value[None] / target)
            wanted.append(np.array([STRENGTH]))
    n = len(SOURCES)
    low, high = np.full(n, BOUNDS[0]), np.full(n, BOUNDS[1])
    low[-1], high[-1] = X_RAYS, X_RAYS * (1.0 + 1e-6)
    solution = lsq_linear(np.concatenate(rows), np.concatenate(wanted), (low, high))
    return solution.x, 2.0 * float(solution.cost)


def describe(spectra: NDArray[np.float64], geometry: Geometry) -> str:
    """Distance of [layer, 256] fired pixels per event from the published numbers."""
    number, mean = reference_layers(geometry)
    both = spectra.sum(0) / spectra.sum()
    off = both - reference_spectrum()
    here = spectra @ np.arange(256) / spectra.sum(1)
    return (
        f"W1 {np.abs(np.cumsum(off)).sum():.3f} ADU, "
        f"total variation {0.5 * np.abs(off).sum():.4f}, "
        f"mean charge off by {here[0] - mean[0]:+.2f}, {here[1] - mean[1]:+.2f} ADU, "
        f"pixels {spectra[0].sum() / number[0]:.3f}, {spectra[1].sum() / number[1]:.3f}"
    )


def fit_spectrum(transport: Transport, start: Parameters, events: int) -> Parameters:
    """Choose cloud width and rates of the sources; see the module."""
    geometry, detector = transport.geometry, transport.detector
    layer = np.array([s.layer for s in geometry.sensors]) - 1
    deposits = [transport.sources(start, key) for key in range(events)]
    best: tuple[float, Parameters] | None = None
    for u, v in CLOUDS_UM:
        p = replace(start, diffusion_u_um=u, diffusion_v_um=v)
        spectra = np.zeros((len(SOURCES), 2, 256))
        for key, of_event in enumerate(deposits):
            for source, some in enumerate(of_event):
                sensor, adu = fired(some, geometry, detector, p, key)
                both = np.bincount(256 * layer[sensor] + adu, minlength=512)
                spectra[source] += both.reshape(2, 256) / events
        factors, cost = fit_factors(spectra, geometry)
        named = ", ".join(f"{s} {f:.2f}" for s, f in zip(SOURCES, factors, strict=True))
        print(f"clouds {u} x {v} um, cost {cost:.2f}: factors on {named}")
        print(f"  {describe(np.tensordot(factors, spectra, 1), geometry)}", flush=True)
        if best is None or cost < best[0]:
            best = cost, scaled(p, factors)
    assert best is not None
    return best[1]


def scaled(p: Parameters, factors: NDArray[np.float64]) -> Parameters:
    """The parameters with rates times the factors of SOURCES."""
    f = dict(zip(SOURCES, factors.tolist(), strict=True))
    return replace(
        p,
        pairs_per_event=round(p.pairs_per_event * f["pairs"], 1),
        shower_per_event={
            k: round(v * f[f"showers {k[0]}"], 3) for k, v in p.shower_per_event.items()
        },
        compton_per_shower={
            k: round(v * f[f"photons {k}"] / f[f"showers {k}"], 4)
            for k, v in p.compton_per_shower.items()
        },
        photons_per_event={k: round(v * f["X-rays"], 2) for k, v in p.photons_per_event.items()},
    )


def fit_rates(transport: Transport, p: Parameters, batches: int, events: int) -> Parameters:
    """Solve for the number of showers aimed at each sensor; see the module."""
    geometry, detector = transport.geometry, transport.detector
    n = len(geometry.sensors)

    def counts(deposits: list[EnergyDeposits], key: int) -> NDArray[np.float64]:
        found = (fired(some, geometry, detector, p, key)[0] for some in deposits)
        return np.sum([np.bincount(sensor, minlength=n) for sensor in found], axis=0, dtype=float)

    per_shower = np.zeros((n, n))
    for target, name in enumerate(geometry.names):
        only = aimed_at(p, {name: float(SHOWERS_PER_BATCH)})
        for key in range(batches):
            of_batch = [transport.showers(only, key), transport.photons(only, key)]
            per_shower[:, target] += counts(of_batch, key) / (batches * SHOWERS_PER_BATCH)
    others = np.zeros(n)
    for key in range(10 * batches):
        others += counts([transport.pairs(p, key), transport.x_rays(p, key)], key) / (10 * batches)
    wanted = np.array(calibration_targets()["mean_occupancy"]) * geometry.pixels
    lost = np.ones(n)  # fraction of the pixels that are left where particles share them
    layer = np.array([s.layer for s in geometry.sensors]) - 1
    for simulated in (events // 4, events):
        by_showers = wanted / lost - others
        solution = lsq_linear(per_shower / wanted[:, None], by_showers / wanted, (0.0, np.inf))
        rates = [round(rate, 3) for rate in solution.x.tolist()]
        p = replace(p, shower_per_event=dict(zip(geometry.names, rates, strict=True)))
        expected = per_shower @ solution.x + others
        with Geant4Events(geometry, SEED, cache_folder() / GEANT4, 2, p) as geant4:
            found = np.mean([hits.counts for hits in geant4.simulate(range(simulated))], axis=0)
        ratio = np.bincount(layer, found) / np.bincount(layer, expected)
        lost = ratio[layer]
        off = 100.0 * (found / wanted - 1.0)
        print(
            f"{simulated} events: pixels off by {np.round(off, 1).tolist()} %; shared pixels leave "
            f"{ratio.round(4).tolist()} of the pixels of the layers",
            flush=True,
        )
    corrected = np.maximum(solution.x + (wanted - found) / np.diag(per_shower), 0.0)
    rates = [round(rate, 3) for rate in corrected.tolist()]
    return replace(p, shower_per_event=dict(zip(geometry.names, rates, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=("spectrum", "rates"))
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--start", type=Path, help="JSON of parameters to start from")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    start = read_parameters(a.start.read_text("utf-8")) if a.start else calibrated_parameters()
    use_data_folder(data_folder(cache_folder() / GEANT4))
    transport = Transport(load_geometry("belle2-pxd"), uses_data_files())
    if a.stage == "spectrum":
        found = fit_spectrum(transport, start, a.events)
    else:
        found = fit_rates(transport, start, a.batches, a.events)
    a.out.write_text(found.to_json(), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # the destructors of Geant4 crash after Python's


if __name__ == "__main__":
    main()
