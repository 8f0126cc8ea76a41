"""Simulation of signal tracks: scattered helices with energy loss, strip hits, pixel charge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.charge import share_among_pixels
from kerasgen.data.simulation.detector import Detector, Floats, Ints
from kerasgen.data.simulation.digitizer import read_out
from kerasgen.data.simulation.parameters import Parameters
from kerasgen.data.simulation.silicon import segment_deposits
from kerasgen.data.simulation.tracks import LIGHT_MM, Tracks, TrackSegments
from kerasgen.tracking import material
from kerasgen.tracking.helix import perigee, to_cylinder
from kerasgen.tracking.pixels import cross_layer

TRACKS_PER_EVENT = 40
PT_GEV = (0.15, 4.0)
PT_SCALE_GEV = 0.25  # dN/dpT ~ pT exp(-pT / scale): mean 0.5 GeV, as charged tracks of B decays
THETA_DEG = (17.0, 150.0)  # acceptance of the tracker
SIGMA_Z_MM = 0.3  # standard deviation of the interaction point along the beam
PIXEL_LAYERS = 2


@dataclass(frozen=True)
class Signal:
    """Signal tracks of ``n`` events.

    Attributes:
        events: number of events.
        event: [N], 0 .. events - 1.
        parameters: [N, 5], true helix at the perigee, before all material (see ``helix``).
        strips: [N, 4, 3], measured x, y, z of the strip layers, mm.
        position: [N, 2, 2], true e and z on the ladders of the pixel layers, mm.
        crossed: bool [N, 2], whether the track crosses an active sensor of the layer.
        pixel: [hits], (event * sensors + sensor) * pixels + row * cols + col, ascending.
        adu: [hits], charge of fired pixels.
        track: [hits], the track with the largest charge in the pixel.
    """

    events: int
    event: Ints
    parameters: Floats
    strips: Floats
    position: Floats
    crossed: NDArray[np.bool_]
    pixel: Ints
    adu: Ints
    track: Ints

    def __len__(self) -> int:
        return len(self.event)

    def hits(self, geometry: Geometry) -> Hits:
        """The fired pixels as images of whole events."""
        sensors = len(geometry.sensors)
        image, cell = np.divmod(self.pixel, geometry.pixels)
        images = np.arange(self.events * sensors)
        return Hits(
            np.searchsorted(image, np.arange(len(images) + 1)),
            (cell // geometry.cols).astype(np.uint16),
            (cell % geometry.cols).astype(np.uint16),
            self.adu.astype(np.uint16),
            np.zeros(len(cell), np.uint8),
            (images % sensors).astype(np.uint16),
            images // sensors,
        )


def draw_transverse_momenta(rng: np.random.Generator, n: int) -> Floats:
    """[n], GeV/c, from the spectrum of ``PT_SCALE_GEV`` within ``PT_GEV``."""
    accepted = np.zeros(0)
    while len(accepted) < n:
        pt = rng.gamma(2.0, PT_SCALE_GEV, 2 * n)
        accepted = np.concatenate([accepted, pt[(pt > PT_GEV[0]) & (pt < PT_GEV[1])]])
    return accepted[:n]


def simulate_signal(
    geometry: Geometry,
    detector: Detector,
    parameters: Parameters,
    seed: int,
    events: Iterable[int],
    pt_gev: float | None = None,
) -> Signal:
    """Simulate signal events; each is a pure function of (seed, event number).

    Args:
        geometry, detector: of the pixels.
        parameters: of the charge in silicon.
        seed: >= 0.
        events: numbers of the events.
        pt_gev: transverse momentum of all tracks; None: random from the spectrum.
    """
    return join_signals(
        [
            _one_event(geometry, detector, parameters, _generator(seed, event), pt_gev)
            for event in events
        ],
        geometry,
    )


def join_signals(parts: list[Signal], geometry: Geometry) -> Signal:
    """Concatenate the events of all parts."""
    per_event = len(geometry.sensors) * geometry.pixels
    events = np.cumsum([0] + [p.events for p in parts])
    tracks = np.cumsum([0] + [len(p) for p in parts])
    return Signal(
        int(events[-1]),
        np.concatenate([p.event + k for p, k in zip(parts, events, strict=False)]),
        np.concatenate([p.parameters for p in parts]),
        np.concatenate([p.strips for p in parts]),
        np.concatenate([p.position for p in parts]),
        np.concatenate([p.crossed for p in parts]),
        np.concatenate([p.pixel + k * per_event for p, k in zip(parts, events, strict=False)]),
        np.concatenate([p.adu for p in parts]),
        np.concatenate([p.track + k for p, k in zip(parts, tracks, strict=False)]),
    )


def _generator(seed: int, event: int) -> np.random.Generator:
    # The simulation of background uses 0 to 5 in the last word (``pxd.random_streams``).
    return np.random.Generator(np.random.Philox(key=[seed, event], counter=[0, 0, 0, 100]))


def _one_event(
    geometry: Geometry,
    detector: Detector,
    parameters: Parameters,
    rng: np.random.Generator,
    pt_gev: float | None,
) -> Signal:
    n = TRACKS_PER_EVENT
    pt = draw_transverse_momenta(rng, n) if pt_gev is None else np.full(n, pt_gev)
    low, high = np.cos(np.deg2rad(THETA_DEG[::-1]))
    cosine = rng.uniform(low, high, n)
    cot = cosine / np.sqrt(1 - cosine**2)
    charge = rng.choice([-1.0, 1.0], n)
    direction = rng.uniform(-np.pi, np.pi, n)
    curvature = charge * LIGHT_MM * detector.field / pt
    zero = np.zeros(n)
    state = np.stack(
        [zero, zero, SIGMA_Z_MM * rng.standard_normal(n), direction, curvature, cot], 1
    )
    truth = perigee(zero, zero, state[:, 2], direction, curvature, cot)
    state = _on_cylinder(state, material.PIPE_MM)
    state = _interact(rng, state, detector, _radial(state), material.PIPE, material.PIPE_GEV)
    position, crossed = np.zeros((n, PIXEL_LAYERS, 2)), np.zeros((n, PIXEL_LAYERS), bool)
    segments, owners = [], []
    for layer in range(PIXEL_LAYERS):
        found = cross_layer(_tracks(state), geometry, detector, layer)
        hit = found.sensor >= 0
        position[:, layer], crossed[:, layer] = np.stack([found.e, found.z], 1), hit
        segments.append(found.segments)
        owners.append(found.segments.track)
        x, y, z = found.x, found.y, found.z
        there = np.stack([x, y, z, found.direction, state[:, 4], state[:, 5]], 1)
        cosine = np.cos(found.direction - found.normal)
        there = _interact(
            rng, there, detector, cosine, np.where(hit, material.PIXELS, 0.0), material.SILICON_GEV
        )
        state = np.where(hit[:, None], there, state)
    strips = np.zeros((n, len(material.STRIPS_MM), 3))
    for k, radius in enumerate(material.STRIPS_MM):
        state = _on_cylinder(state, radius)
        azimuth = np.arctan2(state[:, 1], state[:, 0])
        azimuth = azimuth + material.STRIP_RPHI_MM / radius * rng.standard_normal(n)
        z = state[:, 2] + material.STRIP_Z_MM * rng.standard_normal(n)
        strips[:, k] = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], 1)
        state = _interact(
            rng, state, detector, _radial(state), material.STRIPS, material.SILICON_GEV
        )
    pixel, adu, track = _digitize(
        rng, segments, np.concatenate(owners), geometry, detector, parameters
    )
    none = np.zeros(n, np.int64)
    return Signal(1, none, truth, strips, position, crossed, pixel, adu, track)


def _radial(state: Floats) -> Floats:
    """Cosine between the transverse direction and the radius."""
    return np.cos(state[:, 3] - np.arctan2(state[:, 1], state[:, 0]))


def _on_cylinder(state: Floats, radius: float) -> Floats:
    x, y, z, direction = to_cylinder(state, radius)
    return np.stack([x, y, z, direction, state[:, 4], state[:, 5]], 1)


def _tracks(state: Floats) -> Tracks:
    x, y, z, direction, curvature, cot = state.T
    n = len(x)
    return Tracks(
        x, y, z, direction, np.sign(curvature), 1 / np.abs(curvature), cot,
        np.zeros(n), np.full(n, 0.5 * np.pi), np.zeros(n, np.uint8),
    )  # fmt: skip


def _interact(
    rng: np.random.Generator,
    state: Floats,
    detector: Detector,
    cosine: Floats,
    thickness: float | Floats,
    per_length_gev: float,
) -> Floats:
    """Multiple scattering and energy loss in a thin layer.

    Args:
        rng: draws the scattering angles.
        state: [N, 6], x, y, z (mm), direction (rad), curvature (1/mm), cot.
        detector: with the magnetic field.
        cosine: [N], of the transverse angle between track and normal of the layer.
        thickness: radiation lengths at perpendicular incidence.
        per_length_gev: energy loss of a minimum-ionising particle per radiation length.
    """
    curvature, cot = state[:, 4], state[:, 5]
    slant = np.sqrt(1 + cot**2)
    p = LIGHT_MM * detector.field / np.abs(curvature) * slant
    length = thickness * slant / np.abs(cosine)
    angle = material.scattering_angle(p, length)
    lost = material.momentum_loss(p, length, per_length_gev)
    kick = rng.standard_normal((2, len(p)))
    new_cot = cot + angle * slant**2 * kick[1]
    p_after = np.maximum(p - lost, 0.01)
    pt = p_after / np.sqrt(1 + new_cot**2)
    out = state.copy()
    out[:, 3] += angle * slant * kick[0]
    out[:, 4] = np.sign(curvature) * LIGHT_MM * detector.field / pt
    out[:, 5] = new_cot
    return out


def _digitize(
    rng: np.random.Generator,
    segments: list[TrackSegments],
    owner: Ints,
    geometry: Geometry,
    detector: Detector,
    parameters: Parameters,
) -> tuple[Ints, Ints, Ints]:
    """Fired pixels of one event: index of (sensor, row, col), ADU, and track."""
    paths = TrackSegments(
        *(np.concatenate([getattr(s, k) for s in segments]) for k in vars(segments[0]))
    )
    # Deposits, and their shares of charge, carry the owner of the path in place of a type.
    paths = replace(paths, type=owner.astype(np.uint8))
    deposits = segment_deposits(rng, paths, detector)
    gate_w = 0.5 * detector.thickness - float(geometry.extra["silicon"]["gate_depth_um"])
    cell, charge, of = share_among_pixels(deposits, detector, parameters, gate_w)
    pixel, rank = np.unique(cell, return_inverse=True)
    total = np.bincount(rank, charge).astype(float)
    order = np.lexsort((charge, rank))
    last = order[np.diff(rank[order], append=len(pixel)) > 0]  # the largest charge of each pixel
    track = of[last].astype(np.int64)
    adu = read_out(rng, total, geometry.extra["digitizer"])
    fired = adu >= geometry.threshold
    return pixel[fired], np.minimum(adu[fired], geometry.max_charge), track[fired]
