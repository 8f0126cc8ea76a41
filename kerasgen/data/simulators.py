"""The simulators, and files of their events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from kerasgen.data.cache import FAST
from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits
from kerasgen.data.level import Level, level_text, levels_of_types
from kerasgen.data.pixel_mask import EventMasking, PixelMask
from kerasgen.data.simulation.parameters import Parameters, calibrated_parameters
from kerasgen.data.simulation.pxd import simulate_events
from kerasgen.data.store import EventWriter

DETECTORS = {"pxd": "belle2-pxd"}  # name on the command line: geometry
JETS = "jets"


def write_events(
    detector: str,
    path: Path,
    events: int,
    seed: int,
    first: int = 0,
    processes: int = 1,
    engine: str = FAST,
    mask: PixelMask | None = None,
    level: Level | None = None,
) -> int:
    """Simulate and store events ``first`` to ``first + events - 1``; return the number of hits.

    ``mask``: pixels that are not healthy in these events. ``level``: frequency of the background
    over the usual one; None: 1.

    Raises:
        InputError: the folder of the file does not exist, it cannot be written, or the engine is
            not installed.
        RunFailure: Geant4 fails.
    """
    geometry = load_geometry(DETECTORS[detector])
    named, parameters = "", None
    if level is not None:
        levels = levels_of_types(level)
        named = level_text(levels)
        parameters = parameters_at(calibrated_parameters(), levels)
    at_level = f" level {named}" if named else ""
    creator = f"kerasgen.data.simulate {detector}{at_level} {metadata.version('kerasgen')}"
    if engine == FAST:
        simulated = simulate_events(geometry, seed, first, events, processes, parameters)
        bar = tqdm(simulated, total=events, unit="event", desc=path.name, disable=None)
        with EventWriter(path, geometry, creator, seed, {"engine": "fast simulator"}, mask) as file:
            return write_masked(file, bar, seed, mask)
    from kerasgen.data.geant4_events import Geant4Parts

    with Geant4Parts(geometry, seed, first, events, processes, parameters, named) as parts:
        with EventWriter(path, geometry, creator, seed, parts.description, mask) as file:
            n_hits = write_masked(file, parts.blocks(), seed, mask)
        parts.delete()
    return n_hits


def parameters_at(usual: Parameters, levels: Mapping[str, float]) -> Parameters:
    """Parameters whose sources are as frequent as ``levels`` says; spreads stay as they are."""
    shower, synchrotron = levels["shower"], levels["synchrotron"]
    return replace(
        usual,
        pairs_per_event=usual.pairs_per_event * levels["two_photon"],
        # Photons of showers are a number for each of these.
        shower_per_event={k: n * shower for k, n in usual.shower_per_event.items()},
        photons_per_event={k: n * synchrotron for k, n in usual.photons_per_event.items()},
    )


def write_masked(
    writer: EventWriter, blocks: Iterable[Hits], seed: int, mask: PixelMask | None
) -> int:
    """Write events with their pixels masked; return the number of hits."""
    masking = EventMasking(mask) if mask is not None else None
    n_hits = 0
    for hits in blocks:
        if masking:
            hits = masking.apply(hits, seed)
        writer.write(hits)
        n_hits += len(hits.adu)
    return n_hits


def write_jets(
    path: Path, classes: list[str], jets: int, size: int, seed: int, processes: int = 1
) -> None:
    """Simulate and store jets, reusing cached parts.

    Raises:
        InputError: unknown class, too many constituents, or the extra ``[jets]`` is missing.
        RunFailure: the cache cannot be written.
    """
    from kerasgen.data.cache import cache_folder, writable_cache
    from kerasgen.data.jet_simulation import simulated_jets
    from kerasgen.data.jets import SCHEMA
    from kerasgen.data.point_store import write_points

    blocks = simulated_jets(cache_folder() / JETS, classes, jets, size, seed, processes)
    creator = f"kerasgen.data.simulate jets {metadata.version('kerasgen')}, Pythia, JetNet-like"
    with writable_cache():
        write_points(path, SCHEMA, blocks, creator, seed)
