"""Golden values of the jet metrics, computed by energyflow and by the formulas of jetnet.

Runs in its own environment, not in kerasgen's: see README.md in this folder. jetnet's functions
draw their batches at random; what is stored are the parts without random numbers, from its own
source file where that can be imported without torch. Usage: ``python jetnet_golden.py FOLDER``.
"""

from __future__ import annotations

import sys
import types
from importlib import metadata
from pathlib import Path

import energyflow
import numpy as np
from energyflow.emd import emds
from scipy.stats import wasserstein_distance


def jets(rng: np.random.Generator, n: int, particles: int, spread: float) -> np.ndarray:
    """[n, particles, 3], (eta, phi, pT): falling pT, zero padding."""
    points = np.zeros((n, particles, 3), np.float32)
    for row in points:
        k = rng.integers(2, particles + 1)
        pt = np.sort(rng.dirichlet(np.full(k, 0.4)))[::-1]
        row[:k, :2] = rng.normal(0, spread, (k, 2)) * rng.exponential(1, (k, 1))
        row[:k, 2] = np.maximum(pt, 1e-5)
    return points


def efp(points: np.ndarray, *conditions) -> np.ndarray:
    """EFPs as ``jetnet.utils.efps`` asks energyflow for them."""
    chosen = energyflow.EFPSet(*conditions, measure="hadr", beta=1, normed=None, coords="ptyphim")
    ordered = np.pad(points[:, :, [2, 0, 1]], ((0, 0), (0, 0), (0, 1)))
    values = [chosen.compute(jet[jet[:, 0] > 0].astype(np.float64)) for jet in ordered]
    return np.array(values)


def jetnet_functions() -> types.ModuleType:
    """``jetnet.evaluation.gen_metrics`` without torch: only its numpy functions are used."""
    import importlib.util

    for name in ("torch", "torch.utils", "torch.utils.data"):
        module = sys.modules.setdefault(name, types.ModuleType(name))
        module.Tensor = type("Tensor", (), {})
        module.DataLoader = None
    folder = Path(importlib.util.find_spec("jetnet").submodule_search_locations[0])
    package = sys.modules["jetnet"] = types.ModuleType("jetnet")
    package.utils = types.ModuleType("jetnet.utils")
    datasets = types.ModuleType("jetnet.datasets")
    datasets.JetNet = None
    sys.modules |= {"jetnet.utils": package.utils, "jetnet.datasets": datasets}
    spec = importlib.util.spec_from_file_location("gm", folder / "evaluation" / "gen_metrics.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["gm"] = module
    spec.loader.exec_module(module)
    return module


def main(folder: Path) -> None:
    rng = np.random.default_rng(11)
    real, other = jets(rng, 40, 12, 0.12), jets(rng, 40, 12, 0.15)
    features = [efp(x, ("d<=", 4)) for x in (real, other)]
    selected = [efp(x, ("n==", 4), ("d==", 4), ("p==", 1)).T for x in (real, other)]
    gm = jetnet_functions()
    scaled = gm._normalise_features(*features)
    moments = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in scaled]
    kernel = gm._mmd_poly_quadratic_unbiased(*scaled)
    masks = [np.linalg.norm(x, axis=2) > 0 for x in (real, other)]
    table = emds(
        other[:, :, [2, 0, 1]].astype(np.float64), real[:, :, [2, 0, 1]].astype(np.float64)
    )
    np.savez(
        folder / "jetnet_metrics.npz",
        versions=np.array(
            [f"{x} {metadata.version(x)}" for x in ("energyflow", "jetnet", "numpy")]
        ),
        real=real,
        other=other,
        efps=np.array(features),
        w1efp=[wasserstein_distance(*x) for x in zip(*selected, strict=True)],
        w1p=[wasserstein_distance(real[masks[0]][:, k], other[masks[1]][:, k]) for k in range(3)],
        frechet=gm._calculate_frechet_distance(*moments[0], *moments[1]),
        kernel=kernel,
        emd=table,
        coverage=len(np.unique(np.argmin(table, axis=1))) / len(real),
        matching=np.mean(np.min(table, axis=0)),
        # The sizes of batches that kerasgen takes of samples of 5200 and 1000.
        fpd=gm.fpd(
            *(np.repeat(x, 130, axis=0) for x in features), min_samples=2080, max_samples=5200
        ),
        kpd=gm.kpd(*(np.repeat(x, 25, axis=0) for x in features), batch_size=1000),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
