"""Small CMS files of jets with constituents: PFNano and NanoAOD v15."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

NAMES = {
    "pfnano": ("FatJetPFCands", "PFCands", "pFCandsIdx"),
    "nanoaod": ("FatJetPFCand", "PFCand", "pfCandIdx"),
}
JETS = (1, 2, 0, 1)
CONSTITUENTS = 6  # of each jet


def cms_events(variant: str = "pfnano", seed: int = 1) -> dict[str, list[list[Any]]]:
    """Branches with a list per event: jets of an event own its candidates one after the other."""
    rng = np.random.default_rng(seed)
    prefix, candidates, place = NAMES[variant]
    events: dict[str, list[list[Any]]] = {}
    for name, low, high in (("pt", 300, 400), ("eta", -1, 1), ("phi", -3, 3), ("mass", 50, 90)):
        events[f"FatJet_{name}"] = [rng.uniform(low, high, n).tolist() for n in JETS]
    for name, low, high in (("pt", 1, 50), ("eta", -1, 1), ("phi", -3, 3), ("puppiWeight", 0, 1)):
        counts = [CONSTITUENTS * max(n, 1) for n in JETS]
        events[f"{candidates}_{name}"] = [rng.uniform(low, high, n).tolist() for n in counts]
    events[f"{prefix}_jetIdx"] = [[k for k in range(n) for _ in range(CONSTITUENTS)] for n in JETS]
    events[f"{prefix}_{place}"] = [list(range(CONSTITUENTS * n)) for n in JETS]
    return events


def write_cms(path: Path, events: dict[str, list[list[Any]]]) -> Path:
    """Write the branches as the tree ``Events``."""
    types = {name: np.int32 if name.endswith("Idx") else np.float32 for name in events}
    with uproot.recreate(path) as file:
        tree = file.mktree(
            "Events",
            {name: f"var * {np.dtype(kind)}" for name, kind in types.items()},
            counter_name=lambda name: f"n{name}",
        )
        tree.extend({n: ak.values_astype(ak.Array(v), types[n]) for n, v in events.items()})
    return path
