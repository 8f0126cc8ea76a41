"""Parameters of the simulator and targets of its calibration, read from package data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Parameters:
    """Free parameters of the simulation; ``docs/simulator.md`` says which are calibrated.

    Attributes:
        pairs_per_event: two-photon pairs with both rapidities within ``rapidity_max``.
        pt_min_mev, pt_index: pair spectrum dN/dpT ~ pT^-index above pt_min.
        rapidity_max: half range of the flat rapidity of each particle in the collision frame.
        boost_z, boost_x: velocity of the collision frame along the beam, and across it from the
            crossing angle, in units of c.
        shower_per_event: sensor name -> mean number of showers aimed at it.
        shower_companions: mean number of further particles of a shower, by targeted layer.
        companion_mm, companion_rad: standard deviation of their positions and directions.
        shower_cot, shower_cot_spread: median of dz over transverse path, and standard deviation
            of its logarithm, by targeted layer.
        shower_fan_rad: standard deviation of the transverse direction around the radial one, by
            targeted layer.
        shower_forward: fraction of the showers towards +z.
        shower_p_mev: range of the momentum, flat in its logarithm.
        compton_per_shower: photons that scatter in a sensor per shower aimed at it, by layer.
        shower_photon_kev: energy of these photons.
        photons_per_event: sensor name -> mean number of synchrotron photons that convert in it.
        photon_kev: minimum energy and decay constant of the photon spectrum.
        common_spread: relative standard deviation of the event-wide factor of each type.
        diffusion_u_um, diffusion_v_um: standard deviation of the charge cloud at the gates.
        tan_lorentz: tangent of the Lorentz angle.
    """

    pairs_per_event: float
    pt_min_mev: float
    pt_index: float
    rapidity_max: float
    boost_z: float
    boost_x: float
    shower_per_event: dict[str, float]
    shower_companions: dict[str, float]
    companion_mm: float
    companion_rad: float
    shower_cot: dict[str, float]
    shower_cot_spread: dict[str, float]
    shower_fan_rad: dict[str, float]
    shower_forward: float
    shower_p_mev: tuple[float, float]
    compton_per_shower: dict[str, float]
    shower_photon_kev: float
    photons_per_event: dict[str, float]
    photon_kev: tuple[float, float]
    common_spread: float
    diffusion_u_um: float
    diffusion_v_um: float
    tan_lorentz: float

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def read_parameters(text: str) -> Parameters:
    """Read parameters from the JSON of ``Parameters.to_json``."""
    d: dict[str, Any] = json.loads(text)
    for pair in ("shower_p_mev", "photon_kev"):
        d[pair] = tuple(d[pair])
    return Parameters(**d)


def _read_package_text(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


@cache
def calibrated_parameters() -> Parameters:
    """Load the parameters calibrated by ``benchmarks/calibrate_pxd.py``."""
    return read_parameters(_read_package_text("calibrated.json"))


@cache
def calibration_targets() -> dict[str, Any]:
    """Load aggregate numbers of the Geant4 sample, with their source, from ``targets.json``."""
    return json.loads(_read_package_text("targets.json"))
