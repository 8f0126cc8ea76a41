"""The cache of simulated and downloaded events."""

from __future__ import annotations

import hashlib
import os
from importlib import resources
from pathlib import Path


def cache_folder() -> Path:
    """The folder of the cache: $KERASGEN_CACHE, or kerasgen in the user's cache."""
    named = os.environ.get("KERASGEN_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kerasgen"


def simulator_version() -> str:
    """Hash of the simulator's code and parameters: other physics gets another cache file."""
    digest = hashlib.sha256()
    folder = resources.files("kerasgen.data.simulation")
    for item in sorted(folder.iterdir(), key=lambda f: f.name):
        if item.name.endswith((".py", ".json")):
            digest.update(item.read_bytes())
    return digest.hexdigest()[:10]
