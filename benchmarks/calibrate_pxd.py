"""Fit the free numbers of the PXD simulator to the aggregate numbers of the Geant4 sample.

    python benchmarks/calibrate_pxd.py spectrum --events 8 --trials 400 --out FILE.json
    python benchmarks/calibrate_pxd.py rates --events 20 40 80 160 --out FILE.json

``spectrum`` moves energy loss, cloud widths, shower angles and photons by Nelder-Mead, so that the
charges of fired pixels follow the reference; every trial simulates the same events with the same
keys. ``rates`` then changes the number of showers aimed at each sensor until every mean occupancy
fits: particles cross several sensors, so this is iterated with growing statistics.
Both start from the stored parameters (or ``--start``); the result is written to ``--out`` and
becomes the default when it replaces ``kerasgen/data/simulation/calibrated.json``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.simulation.parameters import (
    Parameters,
    calibrated_parameters,
    calibration_targets,
    read_parameters,
)
from kerasgen.data.simulation.pxd import simulate_event

SEED = 20260101  # not the seed of the acceptance table
DAMPING = 0.6  # a shower gives its sensor about 0.6 of all its pixels: full steps overshoot
# Allowed factors on the starting value of each fitted number, with what they mean in parameters.py.
FITTED = (
    ("energy_scale", 0.80, 1.15),
    ("binding_kev2_per_um", 0.3, 3.0),
    ("delta_max_kev", 0.5, 3.0),
    ("diffusion", 0.7, 2.0),
    ("cot_1", 0.3, 3.0),
    ("cot_2", 0.3, 3.0),
    ("compton", 0.0, 5.0),
    ("photons_1", 0.0, 5.0),
    ("photons_2", 0.0, 5.0),
    ("photon_kev", 0.3, 3.0),
)


def scaled(start: Parameters, factors: NDArray[np.float64]) -> Parameters:
    """The starting parameters times the factors of FITTED."""
    f = dict(zip((name for name, _, _ in FITTED), factors.tolist(), strict=True))
    return replace(
        start,
        energy_scale=start.energy_scale * f["energy_scale"],
        binding_kev2_per_um=start.binding_kev2_per_um * f["binding_kev2_per_um"],
        delta_max_kev=start.delta_max_kev * f["delta_max_kev"],
        diffusion_u_um=start.diffusion_u_um * f["diffusion"],
        diffusion_v_um=start.diffusion_v_um * f["diffusion"],
        shower_cot={k: v * f[f"cot_{k}"] for k, v in start.shower_cot.items()},
        compton_per_shower={k: v * f["compton"] for k, v in start.compton_per_shower.items()},
        photons_per_event={
            k: v * f[f"photons_{k.split('.')[0]}"] for k, v in start.photons_per_event.items()
        },
        photon_kev=(start.photon_kev[0], start.photon_kev[1] * f["photon_kev"]),
    )


def layer_spectra(geometry: Geometry, parameters: Parameters, events: int) -> NDArray[np.float64]:
    """[layer, 256] fraction of fired pixels with each charge."""
    layers = np.array([s.layer for s in geometry.sensors]) - 1
    counts = np.zeros((2, 256))
    for event in range(events):
        hits = simulate_event(geometry, SEED, event, parameters)
        key = layers[hits.sensor[hits.image]] * 256 + hits.adu
        counts += np.bincount(key, minlength=512).reshape(2, 256)
    return counts / counts.sum(1, keepdims=True)


def spectrum_distance(spectra: NDArray[np.float64]) -> tuple[float, dict[str, float]]:
    """Objective of the fit, and its parts: W1, shape and mean charge of the two layers."""
    t = calibration_targets()
    fraction = np.add.reduceat(t["mean_occupancy"], [0, 16]) / np.sum(t["mean_occupancy"])
    reference = np.zeros(256)
    reference[t["adu"]["first"] :] = t["adu"]["counts"]
    reference /= reference.sum()
    both = fraction @ spectra
    mean = np.add.reduceat(
        np.multiply(t["mean_adu"], t["mean_occupancy"]), [0, 16]
    ) / np.add.reduceat(t["mean_occupancy"], [0, 16])
    off = spectra @ np.arange(256) - mean
    parts = {
        "W1": float(np.abs(np.cumsum(both - reference)).sum()),
        "shape %": float(50.0 * np.abs(both - reference).sum()),
        "layer 1 mean": float(off[0]),
        "layer 2 mean": float(off[1]),
    }
    return parts["W1"] + parts["shape %"] + 0.5 * float(np.abs(off).sum()), parts


def fit_spectrum(start: Parameters, events: int, trials: int, out: Path) -> None:
    """Nelder-Mead over the factors of FITTED; the best trial so far is kept in ``out``."""
    geometry = load_geometry("belle2-pxd")
    low, high = np.array([f[1:] for f in FITTED]).T
    best = np.inf

    def cost(factors: NDArray[np.float64]) -> float:
        nonlocal best
        inside = np.clip(factors, low, high)
        parameters = scaled(start, inside)
        value, parts = spectrum_distance(layer_spectra(geometry, parameters, events))
        if value < best:
            best = value
            out.write_text(parameters.to_json(), encoding="utf-8")
            print(f"{value:.3f}", {k: round(v, 3) for k, v in parts.items()}, flush=True)
        return value + 10.0 * float(np.abs(factors - inside).sum())

    n = len(FITTED)
    simplex = np.ones((n + 1, n))
    simplex[1:] += np.diag([0.05, 0.3, 0.3, 0.15, 0.2, -0.2, 0.4, 0.4, 0.4, 0.3])
    minimize(
        cost,
        np.ones(n),
        method="Nelder-Mead",
        options={"maxfev": trials, "initial_simplex": simplex, "adaptive": True},
    )


def own_yield(geometry: Geometry, parameters: Parameters, events: int = 6) -> NDArray[np.float64]:
    """[sensor] fired pixels in a sensor per shower aimed at it, from one sensor of each layer."""
    found = {}
    for name in ("1.1.1", "2.1.1"):
        aimed = 400.0
        alone = replace(
            parameters,
            pairs_per_event=0.0,
            photons_per_event=dict.fromkeys(geometry.names, 0.0),
            shower_per_event={n: aimed * (n == name) for n in geometry.names},
        )
        sensor = geometry.index_of_name[name]
        fired = [
            simulate_event(geometry, SEED, event, alone).counts[sensor] for event in range(events)
        ]
        found[geometry.sensors[sensor].layer] = float(np.mean(fired)) / aimed
    return np.array([found[s.layer] for s in geometry.sensors])


def fit_rates(parameters: Parameters, rounds: list[int], out: Path) -> None:
    """Change the number of showers aimed at each sensor until its occupancy fits.

    The next round corrects the effect of a sensor's showers on the other sensors.
    """
    geometry = load_geometry("belle2-pxd")
    wanted = np.array(calibration_targets()["mean_occupancy"]) * geometry.pixels
    per_shower = own_yield(geometry, parameters)
    for k, events in enumerate(rounds):
        counts = [
            simulate_event(geometry, SEED + 1 + k, event, parameters).counts
            for event in range(events)
        ]
        missing = wanted - np.mean(counts, 0)
        worst = np.abs(missing / wanted).max()
        print(f"{events} events, largest deviation {100 * worst:.2f} %", flush=True)
        changes = (DAMPING * missing / per_shower).tolist()
        rates = {
            name: round(max(0.0, rate + change), 3)
            for (name, rate), change in zip(
                parameters.shower_per_event.items(), changes, strict=True
            )
        }
        parameters = replace(parameters, shower_per_event=rates)
        out.write_text(parameters.to_json(), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=("spectrum", "rates"))
    parser.add_argument("--events", type=int, nargs="+", required=True)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--start", type=Path, help="JSON of parameters to start from")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    start = read_parameters(a.start.read_text("utf-8")) if a.start else calibrated_parameters()
    if a.stage == "spectrum":
        fit_spectrum(start, a.events[0], a.trials, a.out)
    else:
        fit_rates(start, a.events, a.out)


if __name__ == "__main__":
    main()
