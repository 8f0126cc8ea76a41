"""Acceptance table of PXD background against the published aggregate numbers, and its figure.

    python benchmarks/simulate_pxd.py --events 500 --out benchmarks/simulate_pxd.md
    python benchmarks/simulate_pxd.py --file geant4.h5 --out benchmarks/simulate_pxd_geant4.md

The first simulates events by the fast simulator, the second reads those of a file.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kerasgen.data.geometry import Geometry, load_geometry
from kerasgen.data.hits import Hits, concatenate, to_dense
from kerasgen.data.simulation.parameters import calibration_targets
from kerasgen.data.simulation.pxd import simulate_event
from kerasgen.data.store import EventFile

TYPE_NAMES = {1: "two-photon", 2: "shower", 3: "synchrotron"}
CLUSTER_EVENTS = 20  # events in which clusters are searched
EXAMPLE_EVENT = 0
CROP = (slice(60, 124), slice(400, 592))  # 64 x 192 pixels over the change of pitch


@dataclass
class Sample:
    """Sums over the simulated events, S sensors.

    Attributes:
        counts: [events, S] fired pixels.
        charge: [S] sum of ADU.
        adu: [256] fired pixels of each charge.
        types: [S, 4] fired pixels of each type.
        sizes: (layer, type) -> [clusters] pixels of a cluster.
        cpu_s: processor time of the simulation alone; 0: events of a file.
    """

    counts: NDArray[np.int64]
    charge: NDArray[np.float64]
    adu: NDArray[np.int64]
    types: NDArray[np.int64]
    sizes: dict[tuple[int, int], NDArray[np.int64]]
    cpu_s: float


def cluster_sizes(hits: Hits, geometry: Geometry) -> dict[tuple[int, int], list[int]]:
    """Pixels of each cluster (touching pixels, corners included), by layer and main type."""
    found: dict[tuple[int, int], list[int]] = {}
    ends = hits.indptr
    for image, dense in enumerate(to_dense(hits, geometry)):
        labels, n = ndimage.label(dense > 0, np.ones((3, 3)))
        some = slice(ends[image], ends[image + 1])
        label = labels[hits.row[some], hits.col[some]] - 1
        by_type = np.bincount(label * 4 + hits.type[some], minlength=4 * n).reshape(n, 4)
        layer = geometry.sensors[hits.sensor[image]].layer
        for size, kind in zip(by_type.sum(1).tolist(), by_type.argmax(1).tolist(), strict=True):
            found.setdefault((layer, kind), []).append(size)
    return found


def simulated(geometry: Geometry, seed: int, events: int) -> Iterator[tuple[Hits, float]]:
    """Events of the fast simulator, and the processor time of each."""
    for event in range(events):
        start = time.process_time()
        hits = simulate_event(geometry, seed, event)
        yield hits, time.process_time() - start


def stored(path: Path) -> Iterator[tuple[Hits, float]]:
    """Events of a file."""
    with EventFile(path) as file:
        for event in range(file.n_events):
            yield file.read_events(event, event + 1), 0.0


def summarise(
    geometry: Geometry, sample: Iterator[tuple[Hits, float]], events: int
) -> tuple[Sample, Hits]:
    """Sums over the events; also the hits of one event for the figure."""
    n = len(geometry.sensors)
    counts = np.zeros((events, n), np.int64)
    charge, adu, types = np.zeros(n), np.zeros(256, np.int64), np.zeros((n, 4), np.int64)
    kept: list[Hits] = []
    cpu = 0.0
    for event, (hits, seconds) in enumerate(sample):
        cpu += seconds
        counts[event] = hits.counts
        charge += np.bincount(hits.image, hits.adu, n)
        adu += np.bincount(hits.adu, minlength=256)
        types += np.bincount(hits.image * 4 + hits.type, minlength=4 * n).reshape(n, 4)
        if event < CLUSTER_EVENTS:
            kept.append(hits)
    sizes = {
        key: np.array(values)
        for key, values in sorted(cluster_sizes(concatenate(kept), geometry).items())
    }
    return Sample(counts, charge, adu, types, sizes, cpu), kept[EXAMPLE_EVENT]


def acceptance_rows(sample: Sample, geometry: Geometry) -> list[tuple[str, float, str, bool]]:
    """Rows of the table: quantity, value, limit, whether it is met."""
    t = calibration_targets()
    layers = np.array([s.layer for s in geometry.sensors])
    reference = np.zeros(256)
    reference[t["adu"]["first"] :] = t["adu"]["counts"]
    mean_reference = float(reference @ np.arange(256) / reference.sum())
    adu = sample.adu / sample.adu.sum()
    w1_adu = float(np.abs(np.cumsum(adu - reference / reference.sum())).sum())
    mean_adu = float(adu @ np.arange(256))
    deviation = sample.counts.mean(0) / geometry.pixels / t["mean_occupancy"] - 1.0
    worst = int(np.abs(deviation).argmax())
    dispersion = sample.counts.var(0, ddof=1) / sample.counts.mean(0)
    rows = [
        (
            f"largest deviation of a sensor's mean occupancy ({geometry.names[worst]})",
            100.0 * float(deviation[worst]),
            "within 3 %",
            abs(float(deviation[worst])) <= 0.03,
        ),
        ("W1 of ADU of fired pixels", w1_adu, "at most 0.5 ADU", w1_adu <= 0.5),
        (
            "mean ADU of fired pixels",
            mean_adu,
            f"{mean_reference:.2f} within 1 %",
            abs(mean_adu / mean_reference - 1.0) <= 0.01,
        ),
        (
            "W1 of occupancy of images, 1e-4",
            1e4 * occupancy_w1(sample.counts / geometry.pixels),
            "at most 1",
            occupancy_w1(sample.counts / geometry.pixels) <= 1e-4,
        ),
    ]
    for layer, wanted in sorted(t["dispersion"].items()):
        value = float(dispersion[layers == int(layer)].mean())
        rows.append(
            (
                f"variance / mean of fired pixels, layer {layer}",
                value,
                f"{wanted} within 15 %",
                abs(value / wanted - 1.0) <= 0.15,
            )
        )
    return rows


def occupancy_w1(occupancy: NDArray[np.float64]) -> float:
    """W1 between the occupancies of images and the reference histogram.

    The reference has bins of 1e-4 and is taken as flat within a bin. The simulated values go into
    the same bins; the last one has everything above its edge (39 of 400 000 images).
    """
    table = calibration_targets()["occupancy"]
    reference = np.array([*table["counts"], table["overflow"]], float)
    width = (table["high"] - table["low"]) / len(table["counts"])
    bins = np.minimum(occupancy.ravel() // width, len(table["counts"])).astype(np.int64)
    simulated = np.bincount(bins, minlength=len(reference))
    difference = simulated / simulated.sum() - reference / reference.sum()
    return float(width * np.abs(np.cumsum(difference)).sum())


def report(sample: Sample, geometry: Geometry, made_by: str, command: str) -> str:
    """The content of ``simulate_pxd.md``."""
    t, events = calibration_targets(), len(sample.counts)
    layers = np.array([s.layer for s in geometry.sensors])
    lines = [
        f"# {made_by}, against the published numbers",
        "",
        f"`{command}`: {events} events, "
        f"{sample.counts.sum() / events:.0f} fired pixels per event. Published: {t['source']}.",
        "",
        "| quantity | value | accepted | met |",
        "|---|---|---|---|",
    ]
    for quantity, value, limit, met in acceptance_rows(sample, geometry):
        lines.append(f"| {quantity} | {value:.4g} | {limit} | {'yes' if met else '**no**'} |")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if sample.cpu_s:
        lines += [
            "",
            f"The simulator takes {sample.cpu_s / events:.3f} s of processor time per event in one "
            f"process; its largest resident memory is {peak_mib:.0f} MiB.",
        ]
    lines += [
        "",
        "| layer | type | fraction of fired pixels | mean cluster size | median | q90 | q99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for (layer, kind), sizes in sample.sizes.items():
        of_layer = sample.types[layers == layer].sum(0)
        q = np.quantile(sizes, [0.5, 0.9, 0.99])
        lines.append(
            f"| {layer} | {TYPE_NAMES[kind]} | {of_layer[kind] / of_layer.sum():.3f} "
            f"| {sizes.mean():.2f} | {q[0]:.0f} | {q[1]:.0f} | {q[2]:.0f} |"
        )
    for layer in (1, 2):
        sizes = np.concatenate([s for (of, _), s in sample.sizes.items() if of == layer])
        lines.append(
            f"| {layer} | all | 1 | {sizes.mean():.2f} | {np.median(sizes):.0f} "
            f"| {np.quantile(sizes, 0.9):.0f} | {np.quantile(sizes, 0.99):.0f} |"
        )
    lines += [
        "",
        "The table above has the clusters (touching pixels, corners included) of the first "
        f"{CLUSTER_EVENTS} events; there is no public number to compare them with. The mean ADU of "
        "each sensor is not fitted either, only that of the two layers:",
        "",
        "| sensor | occupancy % | published | mean ADU | published | variance / mean |",
        "|---|---|---|---|---|---|",
    ]
    mean, variance = sample.counts.mean(0), sample.counts.var(0, ddof=1)
    for i, name in enumerate(geometry.names):
        lines.append(
            f"| {name} | {100 * mean[i] / geometry.pixels:.3f} "
            f"| {100 * t['mean_occupancy'][i]:.3f} "
            f"| {sample.charge[i] / sample.counts[:, i].sum():.2f} | {t['mean_adu'][i]:.2f} "
            f"| {variance[i] / mean[i]:.1f} |"
        )
    return "\n".join(lines) + "\n"


def write_figure(hits: Hits, geometry: Geometry, path: Path) -> None:
    """Write the figure of a sensor of each layer, whole and cropped; dark is high charge (log)."""
    matplotlib.use("Agg")
    dense = to_dense(hits, geometry)
    figure, axes = plt.subplots(4, 1, figsize=(11, 15), layout="constrained")
    for k, name in enumerate(("1.1.1", "2.1.1")):
        image = np.log1p(dense[geometry.index_of_name[name]])
        for axis, part, text in (
            (axes[2 * k], image, "whole"),
            (axes[2 * k + 1], image[CROP], "crop"),
        ):
            axis.imshow(part, cmap="gray_r", vmin=0.0, vmax=np.log(256), interpolation="nearest")
            axis.set(title=f"{name}, {text}", xlabel="column", ylabel="row")
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Acceptance table of the PXD simulator.")
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--file", type=Path, help="events to read instead")
    parser.add_argument("--out", type=Path, help="Markdown file; the figure goes beside it")
    a = parser.parse_args()
    geometry = load_geometry("belle2-pxd")
    command = "python benchmarks/simulate_pxd.py"
    if a.file:
        with EventFile(a.file) as file:
            events, made_by = file.n_events, str(file.attributes.get("engine", "events of a file"))
        sample, example = summarise(geometry, stored(a.file), events)
        text = report(sample, geometry, made_by, f"{command} --file {a.file.name}")
    else:
        made = simulated(geometry, a.seed, a.events)
        sample, example = summarise(geometry, made, a.events)
        options = f"--events {a.events} --seed {a.seed}"
        text = report(sample, geometry, "The fast simulator", f"{command} {options}")
    print(text)
    if a.out:
        a.out.write_text(text, encoding="utf-8")
        write_figure(example, geometry, a.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
