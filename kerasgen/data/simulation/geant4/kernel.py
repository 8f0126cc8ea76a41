"""The Geant4 kernel of a process: physics, volumes, and the steps in sensitive silicon.

Geant4 is made of singletons: one kernel per process, and a process that used it has to end with
``os._exit``, since the destructors of Geant4 crash after Python's. ``workers`` does both.

Geant4 owns nothing that Python made: solids, placements, limits, fields, actions and lists of
physics are kept as attributes as long as the kernel lives.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import geant4_pybind as g4
import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.detector import Floats
from kerasgen.data.simulation.geant4.world import World

SILICON_CUT = "1 um"  # production cut (range) in sensitive silicon
CUT = "0.1 mm"  # in all other matter
MIN_ENERGY_EV = 100.0
MAX_TIME_NS = 100.0  # 30 m of path: ends electrons that circle in vacuum without touching matter
MAX_STEP_MM = 100.0  # in vacuum
# Largest distance of a path in the field from its chord. By default (0.25 mm) a particle at grazing
# incidence steps over 75 um of silicon.
CHORD_MM = 0.01
# An electron loses at most this fraction of its range in a step, down to steps of FINAL_STEP_MM:
# with the default of 1 mm it would stop in 75 um at once, without scattering on its way.
RANGE_FRACTION, FINAL_STEP_MM = 0.2, 0.001
WORLD_MM = (600.0, 600.0, 300.0)
# Processes whose cross sections are data files; Geant4 crashes where it finds none.
NEED_DATA_FILES = ("phot", "Rayl", "eBrem", "ionIoni")
CHARGED_OR_PHOTON = ("Gamma", "Electron", "Positron", "GenericIon", "Alpha", "He3")
CHECKED_STEPS = 1000
FORCED = 1e-7  # factor on the interaction length of a process that is forced


@dataclass(frozen=True)
class Primaries:
    """Particles to start.

    Attributes:
        pdg: [n] PDG code.
        point: [n, 3] mm.
        direction: [n, 3] unit vectors.
        energy: [n] kinetic energy, MeV.
    """

    pdg: NDArray[np.int64]
    point: Floats
    direction: Floats
    energy: Floats


class Physics(g4.G4VModularPhysicsList):
    """Electromagnetic physics: option 4 with data files, else the standard list without them."""

    def __init__(self, data_files: bool) -> None:
        super().__init__()
        self.data_files = data_files
        kind = g4.G4EmStandardPhysics_option4 if data_files else g4.G4EmStandardPhysics
        self.parts = [kind(), g4.G4StepLimiterPhysics()]
        for part in self.parts:
            self.RegisterPhysics(part)
        parameters = g4.G4EmParameters.Instance()
        # All processes of the photon in one could be neither removed nor forced.
        parameters.SetGeneralProcessActive(False)
        parameters.SetVerbose(0)
        parameters.SetMinEnergy(MIN_ENERGY_EV * g4.eV)
        parameters.SetLowestElectronEnergy(MIN_ENERGY_EV * g4.eV)
        parameters.SetStepFunction(RANGE_FRACTION, FINAL_STEP_MM)

    def ConstructProcess(self) -> None:
        super().ConstructProcess()
        if self.data_files:
            return
        for name in CHARGED_OR_PHOTON:
            manager = getattr(g4, f"G4{name}").Definition().GetProcessManager()
            for process in list(manager.GetProcessList()):
                if process.GetProcessName() in NEED_DATA_FILES:
                    manager.RemoveProcess(process)


class Volumes(g4.G4VUserDetectorConstruction):
    """The volumes of a ``World`` for Geant4."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.kept: list[Any] = []
        self.region = g4.G4Region("sensitive")
        unlimited = 1e9
        self.limits = g4.G4UserLimits(MAX_STEP_MM, unlimited, MAX_TIME_NS * g4.ns)

    def Construct(self) -> Any:
        half = [0.5 * length for length in WORLD_MM]
        nowhere = g4.G4Transform3D()
        outside, world = self._place(g4.G4Box("world", *half), "G4_Galactic", None, nowhere)
        for material, inner, outer in self.world.tubes:
            tube = g4.G4Tubs("tube", inner, outer, half[2] - 1.0, 0.0, 2.0 * np.pi)
            self._place(tube, material, outside, nowhere)
        for box in self.world.boxes:
            turn = g4.G4RotationMatrix()
            turn.rotateAxes(*(g4.G4ThreeVector(*axis) for axis in box.axes.tolist()))
            move = g4.G4Transform3D(turn, g4.G4ThreeVector(*box.centre.tolist()))
            solid = g4.G4Box("silicon", *(0.5 * box.size).tolist())
            volume, _ = self._place(solid, "G4_Si", outside, move)
            if box.sensitive:
                self.region.AddRootLogicalVolume(volume)
        return world

    def _place(self, solid: Any, material: str, mother: Any, transform: Any) -> tuple[Any, Any]:
        """Place a solid; return its logical and its physical volume."""
        matter = g4.G4NistManager.Instance().FindOrBuildMaterial(material)
        logical = g4.G4LogicalVolume(solid, matter, solid.GetName())
        physical = g4.G4PVPlacement(transform, logical, solid.GetName(), mother, False, 0, False)
        logical.SetUserLimits(self.limits)
        self.kept += [solid, logical, physical, transform]
        return logical, physical

    def ConstructSDandField(self) -> None:
        if self.world.field:
            along_z = g4.G4ThreeVector(0.0, 0.0, self.world.field * g4.tesla)
            self.field = g4.G4UniformMagField(along_z)
            manager = g4.G4TransportationManager.GetTransportationManager().GetFieldManager()
            manager.SetDetectorField(self.field)
            manager.CreateChordFinder(self.field)
            manager.GetChordFinder().SetDeltaChord(CHORD_MM)


class Gun(g4.G4VUserPrimaryGeneratorAction):
    """Puts all primaries into one Geant4 event, or one into each if ``forced`` is a process."""

    def __init__(self) -> None:
        super().__init__()
        self.gun = g4.G4ParticleGun(1)
        self.table = g4.G4ParticleTable.GetParticleTable()
        self.primaries: list[tuple[Any, ...]] = []
        self.forced: Any = None

    def load(self, primaries: Primaries, forced: Any) -> None:
        find = {pdg: self.table.FindParticle(pdg) for pdg in np.unique(primaries.pdg).tolist()}
        columns = primaries.point, primaries.direction, primaries.energy
        rows = zip(primaries.pdg.tolist(), *(c.tolist() for c in columns), strict=True)
        self.primaries = [(find[pdg], *rest) for pdg, *rest in rows]
        self.forced = forced

    def GeneratePrimaries(self, event: Any) -> None:
        some = self.primaries
        if self.forced is not None:
            self.forced.SetPILfactor(FORCED)
            some = [self.primaries[event.GetEventID()]]
        gun, vector = self.gun, g4.G4ThreeVector
        for particle, point, direction, energy in some:
            gun.SetParticleDefinition(particle)
            gun.SetParticlePosition(vector(*point))
            gun.SetParticleMomentumDirection(vector(*direction))
            gun.SetParticleEnergy(energy)
            gun.GeneratePrimaryVertex(event)


class Recorder(g4.G4UserSteppingAction):
    """Steps in sensitive silicon: start and end (mm) and energy deposit (MeV), 7 float64 each.

    Geant4 uses one ``G4Step`` and its two points for the whole run. Their memory is read directly,
    which takes 1 us per step instead of 7 us by the methods of the bindings; the first steps are
    read in both ways, and if they differ all steps are read by the methods.
    """

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.views: list[memoryview] | None = None
        self.direct = True
        self.checked = 0
        self.forced: Any = None

    def UserSteppingAction(self, step: Any) -> None:
        if self.forced is not None:
            self.forced.SetPILfactor(1.0)  # the forced interaction was this step
        if self.checked < CHECKED_STEPS or self.views is None:
            self._read(step)
            return
        data, views = self.data, self.views
        data += views[0]
        data += views[1]
        data += views[2]

    def _read(self, step: Any) -> None:
        """Read a step by the methods of the bindings, and compare with its memory."""
        a, b = step.GetPreStepPoint(), step.GetPostStepPoint()
        start, end, energy = a.GetPosition(), b.GetPosition(), step.GetTotalEnergyDeposit()
        values = np.array([start.x, start.y, start.z, end.x, end.y, end.z, energy])
        self.data += values.tobytes()
        if not self.direct or energy == 0.0:
            return
        if self.views is None:
            self.alive = step, a, b  # wrappers are made once per object as long as one is kept
            self.views = [_memory(a, 3), _memory(b, 3), _memory(step, 1)]
        if b"".join(bytes(view) for view in self.views) != values.tobytes():
            self.direct, self.views = False, None
        self.checked += 1

    def take(self) -> Floats:
        """The steps with an energy deposit since the last call, [n, 7]."""
        steps = np.frombuffer(bytes(self.data)).reshape(-1, 7)
        self.data.clear()
        return steps[steps[:, 6] > 0.0]


def _memory(wrapped: Any, n: int) -> memoryview:
    """The first n doubles of a C++ object: its address stands behind the head of its wrapper."""
    table = ctypes.cast(id(wrapped) + 16, ctypes.POINTER(ctypes.c_void_p))[0]
    address = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))[0]
    return memoryview((ctypes.c_double * n).from_address(address)).cast("B")


class Kernel:
    """Geant4 with the volumes of a world; one per process.

    Args:
        world: volumes and field.
        data_files: whether Geant4's data files are there (see ``environment``).
    """

    def __init__(self, world: World, data_files: bool) -> None:
        self.manager = g4.G4RunManagerFactory.CreateRunManager(g4.G4RunManagerType.Serial)
        self.volumes = Volumes(world)
        self.physics = Physics(data_files)
        self.manager.SetUserInitialization(self.volumes)
        self.manager.SetUserInitialization(self.physics)
        self.gun = Gun()  # after the physics: a gun without a table of particles aborts
        self.manager.SetUserAction(self.gun)
        self.manager.Initialize()
        # Not in SetCuts of the physics list, where SetCutsWithDefault crashes now and then.
        command = g4.G4UImanager.GetUIpointer().ApplyCommand
        command(f"/run/setCut {CUT}")
        command(f"/run/setCutForRegion {self.volumes.region.GetName()} {SILICON_CUT}")
        self.recorder = Recorder()
        self.volumes.region.SetRegionalSteppingAction(self.recorder)
        photon = g4.G4Gamma.Definition().GetProcessManager().GetProcessList()
        self.photon_processes = {process.GetProcessName(): process for process in photon}

    def shoot(self, primaries: Primaries, seed: int, forced: str | None = None) -> Floats:
        """Transport particles and all that they make; a pure function of its arguments.

        Args:
            primaries: n particles.
            seed: of Geant4's random numbers.
            forced: name of a process of the photon ("compt", "phot"): every primary, a photon in
                sensitive silicon, interacts by it where it starts.

        Returns:
            [steps, 7]: start and end (mm) and energy deposit (MeV) of the steps in sensitive
            silicon.
        """
        if not len(primaries.pdg):
            return np.zeros((0, 7))
        process = self.photon_processes[forced] if forced else None
        self.gun.load(primaries, process)
        self.recorder.forced = process
        g4.G4Random.setTheSeed(seed % (2**31 - 1) + 1)
        self.manager.BeamOn(len(primaries.pdg) if forced else 1)
        if process is not None:
            process.SetPILfactor(1.0)
        return self.recorder.take()


def describe(data_files: bool) -> dict[str, str]:
    """The engine, for files of events: version, list of physics, cuts, data files."""
    version = str(g4.G4RunManager.GetRunManager().GetVersionString()).split("Name: ")[-1]
    physics = "G4EmStandardPhysics_option4"
    if not data_files:
        physics = f"G4EmStandardPhysics without {', '.join(NEED_DATA_FILES)}"
    return {
        "engine": "Geant4 transport of assumed sources",
        "geant4_version": version.split(" ")[0],
        "physics_list": physics,
        "production_cuts": f"{SILICON_CUT} in sensitive silicon, {CUT} elsewhere",
        "geant4_data_files": "used" if data_files else "none",
    }
