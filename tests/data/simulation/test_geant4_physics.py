"""Single particles in Geant4 without data files, against published numbers."""

from importlib.util import find_spec

import numpy as np
import pytest
from geant4_child import block, geant4_world, particles

from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.geant4.world import pxd_world

# Not importorskip: the import of Geant4 without its data files asks on standard input.
pytestmark = pytest.mark.skipif(
    find_spec("geant4_pybind") is None, reason="geant4-pybind is not installed"
)

SLAB_UM = 75.0
CHECKED_STEPS = 1000  # of kernel.py, which cannot be imported here: it imports Geant4
MASS = {11: 0.51099895, 13: 105.6583755, 211: 139.57039}  # MeV
ELECTRON, MUON, PION, PHOTON = 11, 13, 211, 22


def most_probable_loss(pdg: int, energy: float, thickness_um: float) -> float:
    """PDG review, "Passage of particles through matter", eq. 34.12, keV.

    The density effect is that of Sternheimer (Atomic Data and Nuclear Data Tables 30 (1984) 261)
    for silicon.
    """
    mass, electron = MASS[pdg], MASS[ELECTRON]
    momentum = np.sqrt(energy * (energy + 2 * mass))
    gamma, beta_gamma = 1 + energy / mass, momentum / mass
    beta2 = (beta_gamma / gamma) ** 2
    xi = 0.5 * 0.307075 * (14 / 28.0855) * 2.329 * thickness_um * 1e-4 / beta2  # MeV
    x = np.log10(beta_gamma)
    delta = 2 * np.log(10) * x - 4.4355 + (0.14921 * (2.8716 - x) ** 3.2546 if x < 2.8716 else 0)
    mean_excitation = 173e-6
    loss = np.log(2 * electron * beta_gamma**2 / mean_excitation) + np.log(xi / mean_excitation)
    return 1e3 * xi * (loss + 0.2 - beta2 - delta)


def mode_and_width(loss: np.ndarray) -> tuple[float, float]:
    """Mode and full width at half maximum of a histogram, smoothed by a parabola at its top."""
    step = 0.5
    counts, edges = np.histogram(loss, np.arange(5.0, 60.0, step))
    counts = np.convolve(counts, np.ones(3) / 3, "same")
    centre = 0.5 * (edges[1:] + edges[:-1])
    top = counts.argmax()
    near = slice(top - 5, top + 6)
    a, b, c = np.polyfit(centre[near], counts[near], 2)
    height = c - b**2 / (4 * a)
    over = np.flatnonzero(counts > 0.5 * height)
    low, high = over[0], over[-1]

    def crossing(k: int, other: int) -> float:
        part = (0.5 * height - counts[k]) / (counts[other] - counts[k])
        return centre[k] + part * (centre[other] - centre[k])

    return -b / (2 * a), crossing(high, high + 1) - crossing(low, low - 1)


@pytest.fixture(scope="module")
def slab():
    with geant4_world(block((200.0, 200.0, 1e-3 * SLAB_UM))) as child:
        yield child


@pytest.fixture(scope="module")
def silicon():
    with geant4_world(block((100.0, 100.0, 100.0))) as child:
        yield child


@pytest.fixture(scope="module")
def half_space():
    with geant4_world(block((100.0, 100.0, 100.0), (0.0, 0.0, 50.0))) as child:
        yield child


@pytest.mark.parametrize(
    ("pdg", "energy"), [(ELECTRON, 1000.0), (ELECTRON, 20.0), (MUON, 500.0), (PION, 350.0)]
)
def test_energy_loss_in_a_thin_layer(slab, pdg, energy):
    steps = slab.each(particles(pdg, energy, 6000, point=(0.0, 0.0, -1.0)))
    loss = 1e3 * np.array([s[:, 6].sum() for s in steps])
    mode, width = mode_and_width(loss)
    assert mode == pytest.approx(most_probable_loss(pdg, energy, SLAB_UM), rel=0.06)
    # J. F. Bak et al., Nucl. Phys. B288 (1987) 681, for 30 to 1040 um: the width of Bichsel's
    # theory of thin layers (Rev. Mod. Phys. 60 (1988) 663), 10.3 keV in 75 um.
    assert width == pytest.approx(1e-3 * SLAB_UM * (259.6 - 28.41 * np.log(SLAB_UM)), rel=0.10)


def extrapolated_range(energy: float) -> float:
    """Published extrapolated range of electrons in silicon, um (energy in MeV).

    To 25 keV T. E. Everhart, P. H. Hoff, J. Appl. Phys. 42 (1971) 5837; above T. Tabata, R. Ito,
    S. Okabe, Nucl. Instrum. Meth. 103 (1972) 85.
    """
    if energy <= 0.025:
        return 0.0398 / 2.33 * (1e3 * energy) ** 1.75
    z, tau = 14, energy / MASS[ELECTRON]
    a1, a2, a3 = 0.2335 * 28.086 / z**1.209, 1.78e-4 * z, 0.9891 - 3.01e-4 * z
    a4, a5 = 1.468 - 1.18e-2 * z, 1.232 / z**0.109
    grams = a1 * (np.log(1 + a2 * tau) / a2 - a3 * tau / (1 + a4 * tau**a5))
    return 1e4 * grams / 2.33


@pytest.mark.parametrize("energy", [0.01, 0.02, 0.03, 0.1, 0.2])
def test_range_of_slow_electrons(half_space, energy):
    # The straight part of the transmission curve, from 70 to 20 %, continued to zero.
    steps = half_space.each(particles(ELECTRON, energy, 3000, point=(0.0, 0.0, -1e-6)))
    depth = 1e3 * np.array([s[:, 5].max() if len(s) else 0.0 for s in steps])
    at = np.quantile(depth, np.linspace(0.3, 0.8, 11))
    slope, height = np.polyfit(at, np.linspace(0.7, 0.2, 11), 1)
    assert -height / slope == pytest.approx(extrapolated_range(energy), rel=0.15)


@pytest.mark.parametrize("energy", [5.0, 0.2])
def test_energy_is_conserved(silicon, energy):
    # Without bremsstrahlung electrons make no photons that could leave.
    steps = silicon.each(particles(ELECTRON, energy, 50))
    assert np.array([s[:, 6].sum() for s in steps]) == pytest.approx(energy, rel=1e-3)


def test_steps_read_from_memory_are_those_of_the_methods(silicon):
    silicon.shoot(particles(ELECTRON, 5.0, 50))
    direct, checked = silicon.ask(("direct", None))
    assert direct
    assert checked == CHECKED_STEPS


def test_turning_radius():
    # A thin plane at x = 100 mm; the field points along z, a negative particle turns with phi.
    momentum, field, x = 300.0, 1.5, 100.0
    world = block((1e-3, 200.0, 50.0), (x, 0.0, 0.0), field)
    energy = np.hypot(momentum, MASS[MUON]) - MASS[MUON]
    with geant4_world(world) as child:
        steps = child.shoot(particles(MUON, energy, 1, direction=(1.0, 0.0, 0.0)))
    at_x, y = steps[0, 0], steps[0, 1]
    assert y > 0
    radius = (at_x**2 + y**2) / (2 * y)  # of the circle through the origin, along x there
    assert radius == pytest.approx(momentum / (0.299792458 * field), rel=1e-3)


def test_a_particle_at_grazing_incidence_is_not_stepped_over():
    # 4 MeV electrons that turn into the slab, from 0.1 um above it.
    field, slope = 1.5, 8.0
    world = block((100.0, 1e-3 * SLAB_UM, 100.0), field=field)
    direction = np.array([slope, -1.0, 0.0]) / np.hypot(slope, 1.0)
    start = (0.0, 0.5e-3 * SLAB_UM + 1e-4, 0.0)
    with geant4_world(world) as child:
        found = child.each(particles(ELECTRON, 4.0, 200, start, direction))
    assert all(len(steps) for steps in found)


def test_forced_photons_scatter_where_they_start():
    n = 3000
    with geant4_world(block((2.0, 2.0, 2.0))) as child:
        steps = child.shoot(particles(PHOTON, MASS[ELECTRON], n), forced="compt")
    assert (np.linalg.norm(steps[:, :3], axis=1) < 1e-4).sum() >= n
    # Klein-Nishina: electrons of 511 keV photons have 0.340 of the energy on average; 1 % of the
    # photons scatter again.
    assert steps[:, 6].sum() / n == pytest.approx(0.34 * MASS[ELECTRON], rel=0.05)


def test_a_circling_electron_ends():
    # No motion along z and no matter: without a limit of time it would circle for ever.
    with geant4_world(block((1.0, 1.0, 1.0), (200.0, 0.0, 0.0), 1.5)) as child:
        assert len(child.shoot(particles(ELECTRON, 2.0, 20, direction=(1.0, 0.0, 0.0)))) == 0


def test_the_modules_do_not_overlap():
    geometry = load_geometry("belle2-pxd")
    with geant4_world(pxd_world(geometry, build_detector(geometry))) as child:
        assert child.ask(("overlaps", None)) == []
