"""Substructure of jets: N-subjettiness ratios and D2.

N-subjettiness (Thaler, Van Tilburg, arXiv:1011.2268, eq. 2.1, beta = 1):

    tau_N = sum_i pT_i min(R_i1, ..., R_iN) / sum_i pT_i R0

with R0 = 1, which cancels in the ratios. The axes are those of exclusive kT clustering
(hep-ph/9305266, no beam distance) with winner-take-all recombination (arXiv:1401.2158): a pair
keeps the direction of its harder member and has the sum of the pT. They are not minimised.

D2 = e3 / e2^3 (Larkoski, Moult, Neill, arXiv:1409.6298, eq. 1.1, beta = 1) with the energy
correlation functions e2 = sum_(i<j) z_i z_j R_ij, e3 = sum_(i<j<k) z_i z_j z_k R_ij R_ik R_jk and
z = pT / sum pT. A ratio 0 / 0 is 0: tau21 of 1 constituent, tau32 of up to 2, D2 of 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.metrics.efp import pair_distances

Floats = NDArray[np.float64]
FAR = np.finfo(np.float64).max
BLOCK_ELEMENTS = 250_000  # pairs of constituents at a time


def substructure(points: NDArray[Any], mask: NDArray[np.bool_]) -> dict[str, Floats]:
    """tau21, tau32 and D2 of jets, each [n], without unit.

    Args:
        points: [n, P, 3], (eta_rel, phi_rel, pt_rel).
        mask: [n, P], true for constituents.
    """
    n, size = mask.shape
    found = {name: np.zeros(n) for name in ("tau21", "tau32", "d2")}
    step = max(1, BLOCK_ELEMENTS // max(1, size**2))
    for start in range(0, n, step):
        block = slice(start, start + step)
        shares = fractions(points[block], mask[block])
        distance = pair_distances(points[block])
        tau1, tau2, tau3 = n_subjettiness(shares, distance, 3).T
        found["tau21"][block] = ratio(tau2, tau1)
        found["tau32"][block] = ratio(tau3, tau2)
        found["d2"][block] = d2(shares, distance)
    return found


def ratio(above: Floats, below: Floats) -> Floats:
    """Quotient of two numbers per jet; 0 where the denominator is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def fractions(points: NDArray[Any], mask: NDArray[np.bool_]) -> Floats:
    """z [n, P]: pT of constituents over their sum; padding is 0."""
    pt = np.where(mask, points[..., 2], 0).astype(np.float64)
    total = pt.sum(axis=1, keepdims=True)
    return np.divide(pt, total, out=pt, where=total > 0)


def d2(shares: Floats, distance: Floats) -> Floats:
    """D2 [n].

    Args:
        shares: [n, P], fractions of the pT.
        distance: [n, P, P], in (eta, phi).
    """
    root = np.sqrt(shares)
    matrix = root[:, :, None] * distance * root[:, None]
    # Sums over ordered pairs and triples: 2 e2 and 6 e3, the trace of the cube.
    pairs = (root[:, None] @ matrix @ root[:, :, None])[:, 0, 0]
    triples = ((matrix @ matrix) * matrix).sum(axis=(1, 2))
    return ratio(triples / 6, (pairs / 2) ** 3)


def n_subjettiness(shares: Floats, distance: Floats, most: int) -> Floats:
    """tau_1 to tau_most, [n, most]; 0 of jets with at most N constituents.

    Padding has no pT, so it is at kT distance 0 from everything, is merged first, changes nothing
    and never is an axis. pT of a winner only grows, and directions stay: the kT distance of two
    clusters never falls. The nearest cluster therefore changes only where it took part in a merge.

    Args:
        shares: [n, P], fractions of the pT.
        distance: [n, P, P], in (eta, phi).
        most: the largest N.
    """
    n, size = shares.shape
    jets, squared = np.arange(n), distance**2
    pt, alive = shares.copy(), np.ones((n, size), np.bool_)
    partner, gap = np.zeros((n, size), np.int64), np.empty((n, size))
    stale = alive  # clusters whose nearest other cluster is to be found
    out = np.zeros((n, most))
    for remaining in range(size, 0, -1):
        if remaining <= most:
            axes = (alive & (pt > 0))[:, None]
            # Not infinity where there is no axis: 0 times it is not a number.
            nearest = np.where(axes, distance, FAR).min(axis=2)
            out[:, remaining - 1] = (shares * nearest).sum(axis=1)
        if remaining == 1:
            break
        jet, row = np.nonzero(stale)
        kt = np.minimum(pt[jet], pt[jet, row][:, None]) ** 2 * squared[jet, row]
        kt[~alive[jet]] = np.inf
        kt[np.arange(len(jet)), row] = np.inf
        partner[jet, row] = kt.argmin(axis=1)
        gap[jet, row] = kt.min(axis=1)
        first = gap.argmin(axis=1)
        second = partner[jets, first]
        swap = pt[jets, first] < pt[jets, second]
        winner, loser = np.where(swap, second, first), np.where(swap, first, second)
        pt[jets, winner] += pt[jets, loser]
        alive[jets, loser], gap[jets, loser] = False, np.inf
        touched = (partner == winner[:, None]) | (partner == loser[:, None])
        touched[jets, winner] = True
        stale = touched & alive
    return out
