"""What the absence of the photoelectric effect and of bremsstrahlung changes in Geant4 events.

    python -m benchmarks.geant4_processes --events 20 --out benchmarks/geant4_processes.md

Without data files the engine has neither process. Geant4 holds models of both that need none, but
the bindings do not offer them: this script makes them by the exported symbols of the library (Linux
alone), simulates the same particles with and without them, and compares.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare_engines import GEOMETRY, distributions, moments
from kerasgen.data.cache import GEANT4, cache_folder
from kerasgen.data.simulation.detector import build_detector
from kerasgen.data.simulation.geant4.environment import (
    data_folder,
    use_data_folder,
    uses_data_files,
)
from kerasgen.data.simulation.parameters import calibrated_parameters

SEED = 12
OBJECT_BYTES = 16384  # more than any of these classes needs
INTEGER = ctypes.c_int


class Library:
    """Calls C++ functions of Geant4 by their symbols.

    ``PyDLL`` keeps the lock of the interpreter, which Geant4 needs to print.
    """

    def __init__(self, file: str) -> None:
        self.library = ctypes.PyDLL(file)
        self.allocate = ctypes.CDLL("libstdc++.so.6")._Znwm
        self.allocate.restype, self.allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]

    def call(self, symbol: str, *arguments: Any, result: Any = ctypes.c_void_p) -> Any:
        function = self.library[symbol]
        function.restype = result
        function.argtypes = [
            type(a) if isinstance(a, ctypes._SimpleCData) else ctypes.c_void_p for a in arguments
        ]
        return function(*arguments)

    def make(self, constructor: str, *arguments: Any) -> int:
        at = self._zeros(OBJECT_BYTES)
        self.call(constructor, at, *arguments, result=None)
        return at

    def string(self, text: str) -> int:
        """A short std::string, never freed."""
        at = self._zeros(64)
        words = ctypes.cast(at, ctypes.POINTER(ctypes.c_size_t))
        words[0], words[1] = at + 16, len(text)
        ctypes.memmove(at + 16, text.encode(), len(text))
        return at

    def _zeros(self, size: int) -> int:
        at = self.allocate(size)
        ctypes.memset(at, 0, size)
        return int(at)

    def register(self, process: int, particle: str) -> None:
        helper = self.call("_ZN19G4PhysicsListHelper20GetPhysicsListHelperEv")
        definition = self.call(f"_ZN{len(particle)}{particle}10DefinitionEv")
        name = "_ZN19G4PhysicsListHelper15RegisterProcessEP10G4VProcessP20G4ParticleDefinition"
        if not self.call(name, helper, process, definition, result=ctypes.c_bool):
            raise RuntimeError(f"Geant4 refuses a process of {particle}")


def add_photoelectric(library: Library) -> None:
    """G4PhotoElectricEffect with G4PEEffectFluoModel (Sandia tables, compiled in)."""
    process = library.make(
        "_ZN21G4PhotoElectricEffectC1ERK8G4String13G4ProcessType",
        library.string("phot"),
        INTEGER(2),
    )
    model = library.make("_ZN19G4PEEffectFluoModelC1ERK8G4String", library.string("PhotoElectric"))
    set_model = "_ZN12G4VEmProcess10SetEmModelEP10G4VEmModeli"
    library.call(set_model, process, model, INTEGER(0), result=None)
    library.register(process, "G4Gamma")


def add_bremsstrahlung(library: Library) -> None:
    """G4eBremsstrahlung with G4eBremsstrahlungRelModel (analytic) at all energies."""
    for particle in ("G4Electron", "G4Positron"):
        process = library.make("_ZN17G4eBremsstrahlungC1ERK8G4String", library.string("eBrem"))
        for _ in range(2):
            model = library.make(
                "_ZN25G4eBremsstrahlungRelModelC1EPK20G4ParticleDefinitionRK8G4String",
                ctypes.c_void_p(0),
                library.string("eBremLPM"),
            )
            set_model = "_ZN20G4VEnergyLossProcess10SetEmModelEP10G4VEmModeli"
            library.call(set_model, process, model, INTEGER(0), result=None)
        library.register(process, particle)


def simulate(added: bool, events: int, answer: Any) -> None:
    """Body of a child: distributions, seconds per event and seconds per event of the transport."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    if uses_data_files():
        raise SystemExit("this study is for Geant4 without data files: unset GEANT4_DATA_DIR")
    use_data_folder(data_folder(cache_folder() / GEANT4))
    import geant4_pybind

    from kerasgen.data.simulation.geant4 import event, kernel, world

    class More(kernel.Physics):
        def ConstructProcess(self) -> None:
            super().ConstructProcess()
            library = Library(geant4_pybind.__file__)
            add_photoelectric(library)
            add_bremsstrahlung(library)

    if added:
        kernel.Physics = More
    volumes = world.pxd_world(GEOMETRY, build_detector(GEOMETRY))
    geant4, parameters = kernel.Kernel(volumes, False), calibrated_parameters()
    event.simulate_event(geant4, GEOMETRY, SEED, events, parameters)
    start = time.process_time()
    found = [event.simulate_event(geant4, GEOMETRY, SEED, k, parameters) for k in range(events)]
    seconds = (time.process_time() - start) / events
    pixels = np.array([hits.counts.sum() for hits in found])
    types = sum(np.bincount(hits.type, minlength=4) for hits in found) / events
    answer.send((distributions(found), seconds, pixels, types))
    answer.close()
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20)
    parser.add_argument("--out", type=Path, help="Markdown file")
    a = parser.parse_args()
    results = []
    context = get_context("spawn")
    for added in (False, True):
        ours, theirs = context.Pipe()
        process = context.Process(target=simulate, args=(added, a.events, theirs))
        process.start()
        results.append(ours.recv())
        process.join()
    (without, s0, pixels0, types0), (with_both, s1, pixels1, types1) = results
    one, two = moments(without), moments(with_both)
    lines = [
        "# Geant4 with and without the photoelectric effect and bremsstrahlung",
        "",
        f"`python -m benchmarks.geant4_processes --events {a.events}`: the same particles, by "
        f"Geant4 without data files as the engine uses it ({s0:.2f} s per event), and with both "
        f"processes by models that need no data files ({s1:.2f} s per event). The error of a "
        "difference of fired pixels, from the events, is "
        f"{100 * np.std(pixels1 - pixels0, ddof=1) / np.sqrt(a.events) / pixels0.mean():.2f} %.",
        "",
        "| quantity | without | with | difference % |",
        "|---|---|---|---|",
    ]
    names = ("two-photon pairs", "showers", "synchrotron")
    one |= {f"fired pixels of {n}": types0[k + 1] for k, n in enumerate(names)}
    two |= {f"fired pixels of {n}": types1[k + 1] for k, n in enumerate(names)}
    for name in one:
        off = 100.0 * (two[name] / one[name] - 1.0)
        lines.append(f"| {name} | {one[name]:.4g} | {two[name]:.4g} | {off:+.2f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if a.out:
        a.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
