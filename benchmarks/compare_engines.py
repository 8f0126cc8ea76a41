"""Compare the fast simulator with Geant4 events: clusters, charges, sensors of a particle.

    kerasgen simulate pxd --engine geant4 --events 300 --seed 1 --processes 2 --out geant4.h5
    python -m benchmarks.compare_engines table geant4.h5 --out TABLE.json
    python -m benchmarks.compare_engines compare --events 300 --out compare_engines.md

``table`` writes the distributions of Geant4 events that the project keeps
(``benchmarks/geant4_distributions.json``), ``compare`` holds events of the fast simulator against
them. The sensors of a particle are counted in the silicon, before charge sharing and digitizer.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.cache import GEANT4, cache_folder
from kerasgen.data.geometry import load_geometry
from kerasgen.data.hits import Hits
from kerasgen.data.simulation.detector import build_detector, sensors_at
from kerasgen.data.simulation.geant4.environment import (
    data_folder,
    use_data_folder,
    uses_data_files,
)
from kerasgen.data.simulation.parameters import calibrated_parameters
from kerasgen.data.simulation.particles import shower_particles, two_photon_pairs
from kerasgen.data.simulation.pxd import random_streams, simulate_event
from kerasgen.data.store import EventFile
from kerasgen.metrics.clusters import find_clusters

GEOMETRY = load_geometry("belle2-pxd")
LAYER = np.array([s.layer for s in GEOMETRY.sensors]) - 1
TABLE = Path(__file__).with_name("geant4_distributions.json")
SEED = 11
PARTICLES = 2000  # of each kind, to count sensors
BINS = {"size": 200, "size_u": 120, "size_v": 300, "charge": 3000, "adu": 256}
# Quantity: largest relative difference that is accepted, in per cent.
BOUNDS = {
    "mean cluster size": 2.0,
    "mean length along u": 2.0,
    "mean length along v": 2.0,
    "single pixels": 5.0,
    "clusters per event": 2.0,
    "sensors per pair particle": 5.0,
    "sensors per shower particle": 5.0,
    "W1 of cluster charge": 2.0,
}


def distributions(events: Iterable[Hits]) -> dict[str, Any]:
    """Histograms of clusters and charges, [layer][value], and pixels of each sensor.

    The last bin of a histogram holds all values above it.
    """
    found = {name: np.zeros((2, size), np.int64) for name, size in BINS.items()}
    counts = []
    for hits in events:
        clusters = find_clusters(hits, GEOMETRY)
        layer = LAYER[hits.sensor[clusters.image]]
        for name in ("size", "size_u", "size_v", "charge"):
            _fill(found[name], layer, getattr(clusters, name))
        _fill(found["adu"], LAYER[hits.sensor[hits.image]], hits.adu)
        counts.append(hits.counts.reshape(-1, len(LAYER)))
    pixels = np.concatenate(counts)
    return {
        "events": len(pixels),
        "histograms": {name: _trim(h) for name, h in found.items()},
        "mean_pixels": np.round(pixels.mean(0), 2).tolist(),
        "variance_over_mean": np.round(pixels.var(0, ddof=1) / pixels.mean(0), 2).tolist(),
    }


def _fill(histogram: NDArray[np.int64], layer: NDArray[Any], values: NDArray[Any]) -> None:
    size = histogram.shape[1]
    flat = layer * size + np.minimum(values, size - 1)
    histogram += np.bincount(flat, minlength=2 * size).reshape(2, size)


def _trim(histogram: NDArray[np.int64]) -> list[list[int]]:
    """Each layer without the empty bins at its end."""
    return [row[: np.flatnonzero(row).max(initial=0) + 1].tolist() for row in histogram]


def file_events(path: Path) -> Iterator[Hits]:
    with EventFile(path) as file:
        yield from file.blocks(4)


def sensors_per_particle(kind: str, engine: str) -> float:
    """Mean number of sensors in which a particle that meets any deposits energy.

    Args:
        kind: "pair" or "shower".
        engine: "fast" or "geant4".
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_count_sensors, args=(kind, engine, theirs))
    process.start()
    found = ours.recv()
    process.join()
    return float(found)


def _count_sensors(kind: str, engine: str, answer: Any) -> None:
    """Body of a child: see ``sensors_per_particle``."""
    detector, p = build_detector(GEOMETRY), calibrated_parameters()
    streams = random_streams(SEED, 0)
    if kind == "pair":
        tracks = two_photon_pairs(streams["pairs"], p, detector.field)
    else:
        tracks = shower_particles(streams["showers"], p, detector, GEOMETRY)
    tracks = tracks.take(np.arange(min(PARTICLES, len(tracks.x))))
    numbers = []
    if engine == "fast":
        numbers = fast_sensors(tracks, detector, p)
    else:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        data_files = uses_data_files()
        use_data_folder(data_folder(cache_folder() / GEANT4))
        from kerasgen.data.simulation.geant4 import event, kernel, world

        geant4 = kernel.Kernel(world.pxd_world(GEOMETRY, detector), data_files)
        start = event.start_of_helices(tracks, detector.field)
        for k in range(len(start.pdg)):
            one = kernel.Primaries(*(a[k : k + 1] for a in vars(start).values()))
            steps = geant4.shoot(one, k)
            at = 0.5 * (steps[:, :3] + steps[:, 3:6])
            numbers.append(len(np.unique(sensors_at(detector, at))))
    met = np.array(numbers)
    answer.send(met[met > 0].mean())
    answer.close()
    sys.stdout.flush()
    os._exit(0)


def fast_sensors(tracks: Any, detector: Any, p: Any) -> list[int]:
    """Sensors with energy of each track in the fast simulator."""
    from kerasgen.data.simulation.particles import SlowElectrons
    from kerasgen.data.simulation.silicon import charged_deposits

    none = SlowElectrons(
        np.zeros(0, np.int64), *(np.zeros(0) for _ in range(3)), np.zeros((0, 3)), np.zeros(0)
    )
    numbers = []
    for k in range(len(tracks.x)):
        one = tracks.take(np.array([k]))
        rng = np.random.default_rng(k)
        deposits = charged_deposits(rng, one, none, np.zeros(0, np.uint8), detector)
        numbers.append(len(np.unique(deposits.sensor)))
    return numbers


def moments(of: dict[str, Any]) -> dict[str, float]:
    """The numbers that are compared, from the distributions of both layers together."""
    h = {name: _both(rows) for name, rows in of["histograms"].items()}
    clusters = h["size"].sum()

    def mean(values: NDArray[np.int64]) -> float:
        return float(values @ np.arange(len(values)) / values.sum())

    return {
        "mean cluster size": mean(h["size"]),
        "mean length along u": mean(h["size_u"]),
        "mean length along v": mean(h["size_v"]),
        "single pixels": float(h["size"][1] / clusters),
        "clusters per event": float(clusters / of["events"]),
        "mean cluster charge, ADU": mean(h["charge"]),
        "mean charge of a pixel, ADU": mean(h["adu"]),
        "fired pixels per event": float(h["adu"].sum() / of["events"]),
        **{f"sensors per {kind} particle": n for kind, n in of.get("sensors", {}).items()},
    }


def _both(rows: list[list[int]]) -> NDArray[np.int64]:
    """The sum of the histograms of both layers."""
    total = np.zeros(max(map(len, rows)), np.int64)
    for row in rows:
        total[: len(row)] += row
    return total


def charge_w1(a: dict[str, Any], b: dict[str, Any], name: str = "charge") -> float:
    """W1 of cluster charges (or "adu": of pixels), in ADU."""
    one, two = _both(a["histograms"][name]), _both(b["histograms"][name])
    size = max(len(one), len(two))
    cumulative = [
        np.cumsum(np.pad(h, (0, size - len(h))).astype(float) / h.sum()) for h in (one, two)
    ]
    return float(np.abs(cumulative[0] - cumulative[1]).sum())


def compare(geant4: dict[str, Any], fast: dict[str, Any]) -> list[tuple[str, float, float, float]]:
    """Rows: quantity, Geant4, fast simulator, difference in per cent."""
    a, b = moments(geant4), moments(fast)
    rows = [(name, a[name], b[name], 100.0 * (b[name] / a[name] - 1.0)) for name in a if name in b]
    mean = a["mean cluster charge, ADU"]
    w1 = charge_w1(geant4, fast)
    rows.append(("W1 of cluster charge", 0.0, w1, 100.0 * w1 / mean))
    rows.append(("W1 of pixel charge, ADU", 0.0, charge_w1(geant4, fast, "adu"), float("nan")))
    return rows


def by_layer(of: dict[str, Any], layer: int) -> dict[str, Any]:
    """The distributions of one layer (0 or 1)."""
    histograms = {name: [rows[layer]] for name, rows in of["histograms"].items()}
    return {"events": of["events"], "histograms": histograms}


def markdown(geant4: dict[str, Any], fast: dict[str, Any], seconds: float) -> str:
    """The content of ``compare_engines.md``."""
    lines = [
        "# The fast simulator against Geant4",
        "",
        f"`python -m benchmarks.compare_engines compare --events {fast['events']}`: "
        f"{fast['events']} events of the fast simulator ({seconds:.3f} s of processor time per "
        f"event, one core) against the {geant4['events']} Geant4 events of "
        "`geant4_distributions.json`. Clusters are touching pixels, corners included.",
        "",
        "| quantity | Geant4 | fast | difference % | accepted % | met |",
        "|---|---|---|---|---|---|",
    ]
    for name, a, b, off in compare(geant4, fast):
        bound = BOUNDS.get(name)
        met = "" if bound is None else ("yes" if abs(off) <= bound else "**no**")
        shown = "" if np.isnan(off) else f"{off:+.2f}"
        lines.append(f"| {name} | {a:.4g} | {b:.4g} | {shown} | {bound or ''} | {met} |")
    for layer in (0, 1):
        lines += ["", f"Layer {layer + 1}:", "", "| quantity | Geant4 | fast | difference % |"]
        lines.append("|---|---|---|---|")
        for name, a, b, off in compare(by_layer(geant4, layer), by_layer(fast, layer)):
            shown = "" if np.isnan(off) else f"{off:+.2f}"
            lines.append(f"| {name} | {a:.4g} | {b:.4g} | {shown} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stages = parser.add_subparsers(dest="stage", required=True)
    table = stages.add_parser("table")
    table.add_argument("file", type=Path, help="Geant4 events")
    table.add_argument("--out", type=Path, default=TABLE)
    against = stages.add_parser("compare")
    against.add_argument("--events", type=int, default=300)
    against.add_argument("--out", type=Path, help="Markdown file")
    a = parser.parse_args()
    engine = "geant4" if a.stage == "table" else "fast"
    seconds = 0.0
    if engine == "geant4":
        found = distributions(file_events(a.file))
    else:
        simulate = partial(simulate_event, GEOMETRY, SEED)
        simulate(0)  # tables are made once
        start = time.process_time()
        for event in range(20):
            simulate(event)
        seconds = (time.process_time() - start) / 20
        found = distributions(map(simulate, range(a.events)))
    found["sensors"] = {kind: sensors_per_particle(kind, engine) for kind in ("pair", "shower")}
    if engine == "geant4":
        a.out.write_text(json.dumps(found) + "\n", encoding="utf-8")
        print(moments(found))
        return
    text = markdown(json.loads(TABLE.read_text("utf-8")), found, seconds)
    print(text)
    if a.out:
        a.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
