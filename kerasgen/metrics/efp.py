"""Energy flow polynomials of jets (Komiske, Metodiev, Thaler, arXiv:1712.07124).

EFP_G = sum over all tuples of particles of prod_vertices pT prod_edges theta, theta the distance in
(eta, phi), for a multigraph G. As in the JetNet protocol pT is relative to that of the jet and beta
is 1. A disconnected graph gives the product of its parts.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, combinations_with_replacement, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Graph = tuple[tuple[int, int], ...]
BLOCK = 500  # jets at a time: 30 constituents need 4 MB for each matrix of pairs


@lru_cache(maxsize=16)
def connected_graphs(edges: int) -> tuple[Graph, ...]:
    """Connected multigraphs without loops up to isomorphism; 0 edges: one vertex, ()."""
    found: dict[Graph, None] = {}
    for vertices in range(2, edges + 2):
        pairs = list(combinations(range(vertices), 2))
        orders = list(permutations(range(vertices)))
        for graph in combinations_with_replacement(pairs, edges):
            if count_connected(graph) == vertices:
                found[min(relabel_vertices(graph, order) for order in orders)] = None
    return tuple(found) if edges else ((),)


def relabel_vertices(graph: Graph, order: tuple[int, ...]) -> Graph:
    """The graph with vertex i renamed to ``order[i]``, its edges sorted."""
    edges = [sorted((order[i], order[j])) for i, j in graph]
    return tuple(sorted((a, b) for a, b in edges))


def count_connected(graph: Graph) -> int:
    """Number of vertices connected with vertex 0, itself included."""
    connected = {0}
    for _ in graph:
        connected |= {v for edge in graph for v in edge if connected & set(edge)}
    return len(connected)


def pair_distances(points: NDArray[Any]) -> NDArray[np.float64]:
    """theta_ij, [n, P, P], of points [n, P, 3] = (eta, phi, pT)."""
    position = np.asarray(points[..., :2], np.float64)
    gap = position[:, :, None] - position[:, None]
    return np.sqrt((gap**2).sum(-1))


def connected_efp(graph: Graph, pt: NDArray[Any], theta: NDArray[Any]) -> NDArray[np.float64]:
    """EFP [n] of one connected graph from pt [n, P] and theta [n, P, P]."""
    letters = "bcdefg"
    vertices = sorted({v for edge in graph for v in edge}) or [0]
    terms = ["a" + letters[v] for v in vertices]
    factors: list[Any] = [pt for _ in vertices]
    for i, j in sorted(set(graph)):
        terms.append("a" + letters[i] + letters[j])
        factors.append(theta ** graph.count((i, j)))
    return np.einsum(",".join(terms) + "->a", *factors, optimize="greedy")


def efps(
    points: NDArray[Any], mask: NDArray[np.bool_], graphs: tuple[Graph, ...]
) -> NDArray[np.float64]:
    """EFPs of connected graphs: [n, len(graphs)].

    Args:
        points: [n, P, 3], (eta_rel, phi_rel, pt_rel).
        mask: [n, P], true for constituents.
        graphs: from ``connected_graphs``.
    """
    out = np.empty((len(points), len(graphs)))
    for start in range(0, len(points), BLOCK):
        block = slice(start, start + BLOCK)
        theta = pair_distances(points[block])
        pt = np.where(mask[block], points[block, :, 2], 0).astype(np.float64)
        for k, graph in enumerate(graphs):
            out[block, k] = connected_efp(graph, pt, theta)
    return out


@lru_cache(maxsize=1)
def efp_basis(max_edges: int = 4) -> tuple[tuple[Graph, ...], tuple[tuple[int, ...], ...]]:
    """All EFPs with up to ``max_edges`` edges, as products of connected graphs.

    Returns:
        The connected graphs, and for every EFP of the basis the indices of its factors: 36 EFPs
        with 4 edges.
    """
    graphs = tuple(g for edges in range(max_edges + 1) for g in connected_graphs(edges))
    sizes = [len(g) for g in graphs]
    products: list[tuple[int, ...]] = [(0,)]
    for count in range(1, max_edges + 1):
        for parts in combinations_with_replacement(range(1, len(graphs)), count):
            if sum(sizes[k] for k in parts) <= max_edges:
                products.append(parts)
    return graphs, tuple(products)


def efp_features(points: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The EFPs with up to 4 edges: [n, 36]; FPD and KPD are computed on them (arXiv:2211.10295)."""
    graphs, products = efp_basis()
    values = efps(points, mask, graphs)
    return np.stack([values[:, parts].prod(axis=1) for parts in products], axis=-1)


def w1_graphs() -> tuple[Graph, ...]:
    """The connected graphs with 4 vertices and 4 edges, used by the metric W1EFP."""
    return tuple(g for g in connected_graphs(4) if max(map(max, g)) == 3)
