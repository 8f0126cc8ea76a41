"""Multiplicity of simulated jets against real JetNet jets.

``python benchmarks/jet_multiplicity.py JETNET.npz FOLDER``: JETNET.npz holds the particle numbers
of real jets ``gluon150``, ``quark150``, ``top150``; FOLDER is where simulated parts are kept (made
if need be: 10 000 jets of each class).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import wasserstein_distance

from kerasgen.data.jet_simulation import simulated_jets

JETS = 10_000


def main(jetnet: str, folder: str) -> None:
    real = np.load(jetnet)
    print("| class | real: mean (sd) | simulated: mean (sd) | W1 | with 30 or more: real / sim |")
    print("|---|---|---|---|---|")
    for name in ("gluon", "quark", "top"):
        parts = simulated_jets(Path(folder), [name], JETS, 30, 1)
        a = real[f"{name}150"]
        b = np.minimum(np.concatenate([part.features[:, 3] for part in parts]), 150)
        print(
            f"| {name} | {a.mean():.1f} ({a.std():.1f}) | {b.mean():.1f} ({b.std():.1f}) "
            f"| {wasserstein_distance(a, b):.1f} "
            f"| {np.mean(a >= 30):.3f} / {np.mean(b >= 30):.3f} |"
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
