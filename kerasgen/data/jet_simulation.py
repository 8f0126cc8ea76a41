"""Jets at 1 TeV, simulated with Pythia 8 and clustered with FastJet (extra ``[jets]``).

The sample follows the public description of JetNet (arXiv:2106.11535, arXiv:2012.00173: Pythia 8,
13 TeV, partons at 1 TeV, anti-kT R = 0.8, jets of 0.8 to 1.6 TeV, no multi-parton interactions):

- hard process per class, pT-hat 950 to 1050 GeV: gg and qq̄ to gg; qq to qq and gg to qq̄ of light
  flavours (u, d, s); gg and qq̄ to tt̄, W bosons to quarks;
- stable visible particles are clustered; a jet is accepted if an outgoing parton of its class lies
  within R of it;
- constituents below 1 GeV are clustered, but not stored. JetNet does not document such a threshold:
  it is chosen on the mean multiplicity of the gluon jets, so agreement of that mean is no evidence;
  agreement of the widths and of the other classes is.

Such jets are called "Pythia, JetNet-like", never "JetNet".
"""

from __future__ import annotations

import signal
import zlib
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from kerasgen.atomic import PARTIAL, make_folder, sweep_partials, write_atomic
from kerasgen.child_processes import ctrl_c_blocked, ignore_ctrl_c
from kerasgen.command import leave
from kerasgen.data.jets import CLASSES, build_jets
from kerasgen.data.points import TYPES, PointSets
from kerasgen.errors import InputError, nearest

COMMON = (
    "Print:quiet = on", "Random:setSeed = on", "Beams:eCM = 13000.",
    "PhaseSpace:pTHatMin = 950.", "PhaseSpace:pTHatMax = 1050.", "PartonLevel:MPI = off",
)  # fmt: skip
PROCESSES = {
    "gluon": ("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on"),
    "quark": ("HardQCD:qq2qq = on", "HardQCD:gg2qqbar = on", "HardQCD:nQuarkNew = 3"),
    "top": (
        "Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "24:onMode = off", "24:onIfAny = 1 2 3 4 5",
    ),
}  # fmt: skip
PARTONS = {"gluon": (21,), "quark": (1, 2, 3), "top": (6,)}
RADIUS, PT_RANGE, MIN_PT = 0.8, (800.0, 1600.0), 1.0  # pT in GeV
JETS_PER_PART = 1000
MAX_CONSTITUENTS = 150  # constituents per stored jet
SAMPLE_VERSION = 1  # version of the sample: raise it with every change of its physics


def simulate_part(
    name: str, size: int, seed: int, part: int, jets: int = JETS_PER_PART
) -> PointSets:
    """Simulate jets of one class; a pure function of its arguments.

    Args:
        name: class.
        size: maximum number of constituents to keep.
        seed: seed of the sample.
        part: index of the part; the parts of a sample are statistically independent.
        jets: number of jets.
    """
    import fastjet
    import pythia8mc

    pythia = pythia8mc.Pythia("", False)
    # Pythia takes seeds from 1 to 900 000 000.
    number = zlib.crc32(f"{name} {seed} {part}".encode()) % 900_000_000 + 1
    for line in (*COMMON, *PROCESSES[name], f"Random:seed = {number}"):
        if not pythia.readString(line):
            raise RuntimeError(f"Pythia does not know {line!r}")
    if not pythia.init():
        raise RuntimeError("Pythia cannot start")
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    axes: list[list[float]] = []
    constituents: list[Any] = []
    while len(axes) < jets:
        if not pythia.next():
            continue
        particles, partons = (
            [fastjet.PseudoJet(*p) for p in momenta]
            for momenta in read_event(pythia.event, PARTONS[name])
        )
        cluster = fastjet.ClusterSequence(particles, definition)
        for jet in fastjet.sorted_by_pt(cluster.inclusive_jets(PT_RANGE[0]))[:2]:
            if jet.pt() > PT_RANGE[1] or not any(jet.delta_R(p) < RADIUS for p in partons):
                continue
            found = np.array([[c.pt(), c.eta(), c.phi()] for c in jet.constituents()])
            constituents.append(found[found[:, 0] > MIN_PT])
            axes.append([jet.pt(), jet.eta(), jet.phi(), jet.m()])
    label = np.full(jets, CLASSES.index(name))
    return build_jets(constituents[:jets], np.array(axes[:jets]), label, size, "simulated jets")


def read_event(event: Any, flavours: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
    """Extract momenta (px, py, pz, E): stable visible particles, outgoing partons of a class."""
    particles, partons = [], []
    for p in event:
        momentum = p.px(), p.py(), p.pz(), p.e()
        if p.isFinal() and p.isVisible():
            particles.append(momentum)
        elif abs(p.status()) in (22, 23) and abs(p.id()) in flavours:
            partons.append(momentum)
    return particles, partons


def simulated_jets(
    folder: Path, classes: list[str], jets: int, size: int, seed: int, processes: int = 1
) -> Iterator[PointSets]:
    """Simulate ``jets`` jets in all, with the classes in turn, part by part.

    Complete parts are cached in ``folder`` at full size. An interrupted simulation resumes, and a
    larger sample, or one with fewer constituents, reuses the cached parts. A damaged part (the
    archive holds a checksum) is simulated again.

    Args:
        folder: cache folder, created if missing; samples may share it.
        classes: names of the classes.
        jets: number of jets of all classes together.
        size: maximum number of constituents to keep, at most ``MAX_CONSTITUENTS``.
        seed: seed of the sample.
        processes: number of worker processes; the jets do not depend on it.

    Raises:
        InputError: unknown class, too many constituents, or the extra ``[jets]`` is not installed.
    """
    check_jet_request(classes, size)
    make_folder(folder)
    sweep_partials(folder.glob(f"{PARTIAL}*"))
    sizes = part_sizes(jets)
    tasks = [(classes[k % len(classes)], seed, k // len(classes)) for k in range(len(sizes))]
    paths = [folder / f"jets-{SAMPLE_VERSION}-{name}-{s}-{part}.npz" for name, s, part in tasks]
    missing = [
        (task, path) for task, path in zip(tasks, paths, strict=True) if not is_complete(path)
    ]
    unit = f" x {JETS_PER_PART} jets"
    kept = len(paths) - len(missing)
    with tqdm(total=len(paths), initial=kept, unit=unit, desc="Pythia 8", disable=None) as bar:
        for _ in simulate_parts(missing, processes):
            bar.update()
    for path, n in zip(paths, sizes, strict=True):
        yield truncate(read_part(path), n, size)


def check_jet_request(classes: list[str], size: int) -> None:
    """Raise InputError if the classes or the number of constituents cannot be simulated."""
    for name in classes:
        if name not in PROCESSES:
            raise InputError(f"unknown class of jets {name!r}{nearest(name, PROCESSES)}")
    if len(set(classes)) < len(classes):
        raise InputError(f"classes of jets {', '.join(classes)}: each once")
    if not 1 <= size <= MAX_CONSTITUENTS:
        raise InputError(f"{size} constituents: jets are simulated with 1 to {MAX_CONSTITUENTS}")
    absent = [name for name in ("pythia8mc", "fastjet") if find_spec(name) is None]
    if absent:
        raise InputError(f"{absent[0]} is not installed: pip install 'kerasgen[jets]'")


def part_sizes(jets: int) -> list[int]:
    """Number of jets taken from each part for a sample of ``jets`` jets."""
    return [min(JETS_PER_PART, jets - start) for start in range(0, jets, JETS_PER_PART)]


def simulate_parts(
    missing: list[tuple[tuple[str, int, int], Path]], processes: int
) -> Iterator[None]:
    """Simulate and save the missing parts; yield after each of them."""
    if processes <= 1 or len(missing) <= 1:
        yield from map(save_part, missing)
        return
    with ctrl_c_blocked():
        pool = get_context("spawn").Pool(min(processes, len(missing)), ended_by_parent)
    with pool:
        yield from pool.imap_unordered(save_part, missing)


def save_part(task: tuple[tuple[str, int, int], Path]) -> None:
    """Simulate one part and save it."""
    (name, seed, part), path = task
    sets = simulate_part(name, MAX_CONSTITUENTS, seed, part)
    arrays = {field: getattr(sets, field) for field in TYPES}
    write_atomic(path, partial(np.savez_compressed, **arrays))


def read_part(path: Path) -> PointSets:
    """Read a saved part."""
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
        return PointSets(*(file[field] for field in TYPES))


def is_complete(path: Path) -> bool:
    """Return whether a part exists and is undamaged."""
    if not path.is_file():
        return False
    try:
        return len(read_part(path)) == JETS_PER_PART
    except Exception:  # damaged files reach zipfile, zlib, tokenize and more
        return False


def truncate(sets: PointSets, n: int, size: int) -> PointSets:
    """Keep the first n sets and their first ``size`` points."""
    part = sets.take(slice(n))
    return PointSets(part.points[:, :size], part.mask[:, :size], part.label, part.features)


def ended_by_parent() -> None:
    """Leave Ctrl-C to the parent, which ends a worker by SIGTERM: no half-written part remains."""
    ignore_ctrl_c()
    signal.signal(signal.SIGTERM, leave)
