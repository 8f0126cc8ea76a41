"""Comparison of losses, coordinates and numbers of points, in trainings of equal length.

``python benchmarks/compare_losses.py --jets JETS.h5 --digits MNIST.h5 --out benchmarks``: kerasgen
HDF5 files of jets with 150 constituents and of superpixels. Writes ``compare_losses.md`` and
figures of generated sets.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kerasgen.data.jets import jet_observables
from kerasgen.data.point_events import generated_sets
from kerasgen.data.point_source import PointDataSettings, divide, read_rows
from kerasgen.data.point_store import PointFile
from kerasgen.data.points import PointSets, concatenate
from kerasgen.data.set_sampler import SetSampler
from kerasgen.evaluation import point_figures
from kerasgen.evaluation.figure_style import figure_to_png
from kerasgen.metrics.classifier import train_classifier
from kerasgen.metrics.point_sets import (
    compare_sets,
    jet_metrics,
    superpixel_metrics,
    superpixel_sample,
)
from kerasgen.models.set_batches import batch_arrays
from kerasgen.models.set_normaliser import fit_normaliser
from kerasgen.models.set_statistics import condition_table
from kerasgen.models.sparse_vae.generation import point_generator
from kerasgen.models.sparse_vae.settings import (
    NetworkSettings,
    PriorSettings,
    VAEConfig,
    VAELossSettings,
    VAETrainingSettings,
)
from kerasgen.models.sparse_vae.start import build_vae
from kerasgen.training.trainer import compiled_step

TRAINING, HELD_OUT, GENERATED = 18_000, 4000, 4000
BATCH, WIDTH, LATENT = 128, 256, 32
Loss = Literal["joint", "position_first", "likelihood"]
LOSSES: tuple[Loss, ...] = ("joint", "position_first", "likelihood")
BETA = {"joint": 0.05, "position_first": 0.05, "likelihood": 0.5}
COORDINATES: tuple[Literal["relative", "cartesian"], ...] = ("relative", "cartesian")
DIGITS = ("3",)  # one network each


def configuration(data: PointDataSettings, loss: Loss, steps: int, jets: bool) -> VAEConfig:
    """The configuration of a row; rows differ in data and loss only."""
    likelihood = loss == "likelihood"
    network = NetworkSettings(
        "set",
        "autoregressive" if likelihood else "dense",
        128 if likelihood else WIDTH,
        2,
        16 if likelihood else LATENT,
    )
    mirror = likelihood and jets and data.coordinates == "relative"
    features = 0.0 if likelihood or not jets else 10.0
    return VAEConfig(
        "compare_losses", data=data, network=network, prior=PriorSettings(),
        loss=VAELossSettings(loss, BETA[loss], steps // 5, features, mass=10.0, mirror=mirror),
        training=VAETrainingSettings(steps, BATCH, 2e-3),
    )  # fmt: skip


def train_generator(config: VAEConfig, training: PointSets, coordinates: str) -> tuple[Any, float]:
    """Train shortly; the generator, and the processor seconds of a step."""
    normaliser = fit_normaliser(training, coordinates, config.data.log_intensity, pt=False)
    vae = build_vae(config, normaliser)
    arrays = batch_arrays(training, coordinates)
    sampler = SetSampler(
        lambda rows: {name: x[rows] for name, x in arrays.items()}, len(training), BATCH, 0
    )
    step, begun = compiled_step(vae), 0.0
    step.read_variables()
    for number in range(config.training.steps):
        if number == 20:
            begun = time.process_time()
        step(sampler.batch_at(number))
    step.write_variables()
    seconds = (time.process_time() - begun) / max(config.training.steps - 20, 1)
    return point_generator(vae, condition_table(training)), seconds


def compare_row(
    config: VAEConfig, path: Path, judge: Callable[[PointSets], Any] | None
) -> tuple[dict[str, Any], PointSets]:
    """Metrics of one row, and the generated sets."""
    with PointFile(path) as file:
        division = divide(file, config.data)
        training = read_rows(file, division.training[:TRAINING], division.size)
        held_out = read_rows(file, division.held_out, division.size)
        jets = file.schema.name == "jets"
    generator, seconds = train_generator(
        config, training, config.data.coordinates if jets else "image"
    )
    generated = generated_sets(generator, range(min(GENERATED, 4 * len(held_out))), 1)
    if jets:
        # COV of jets with 150 constituents takes too long (optimal transport between jets).
        names = ("w1m", "w1p", "cov") if division.size <= 30 else ("w1m", "w1p")
        metrics = {k: m for k, m in jet_metrics(50, 3).items() if k in names}
        real, found = jet_sample(held_out), jet_sample(generated)
    else:
        metrics = superpixel_metrics(100, 3)
        real, found = superpixel_sample(held_out, judge), superpixel_sample(generated, judge)
    rows = compare_sets(real, found, metrics)["metrics"]
    table = {name: [m["value"], m["error"], m["floor"]] for name, m in rows.items()}
    return {"metrics": table, "ms": 1000 * seconds, "sets": len(training)}, generated


def jet_sample(sets: PointSets) -> dict[str, Any]:
    """The sample of jets that these metrics take."""
    points = {"points": sets.points, "mask": sets.mask, "count": sets.counts}
    return points | jet_observables(sets.points, sets.mask)


def cell(values: list[float] | None, scale: float) -> str:
    """Format value, error and floor."""
    if values is None:
        return ""
    value, error, floor = (scale * x for x in values)
    return f"{value:.3g} ± {error:.1g} ({floor:.2g})"


def jets_table(path: Path, steps: int, rows: Callable[..., Any]) -> str:
    """Table of losses, coordinates and constituents."""
    lines = [
        "| constituents | coordinates | loss | W1M x 1e-3 | W1P x 1e-3 | COV | ms per step |",
        "|---|---|---|---|---|---|---|",
    ]
    choices = [(30, c, loss) for c in COORDINATES for loss in LOSSES]
    choices += [(150, COORDINATES[0], loss) for loss in LOSSES]
    for points, coordinates, loss in choices:
        data = PointDataSettings(
            str(path), ["gluon"], points, coordinates, coordinates == "relative",
            TRAINING + HELD_OUT, HELD_OUT,
        )  # fmt: skip
        row = rows(configuration(data, loss, steps, jets=True), path, None)
        m = row["metrics"]
        cells = cell(m["w1m"], 1e3), cell(m["w1p"], 1e3), cell(m.get("cov"), 1)
        lines.append(
            f"| {points} | {coordinates} | `{loss}` | {' | '.join(cells)} | {row['ms']:.0f} |"
        )
    return "\n".join(lines)


def digits_table(path: Path, steps: int, rows: Callable[..., Any]) -> str:
    """Table of losses for a network of one digit and a conditional network."""
    with PointFile(path) as file:
        every = PointDataSettings(str(path), held_out=HELD_OUT)
        division = divide(file, every)
        judge = train_classifier(read_rows(file, division.training[:TRAINING], division.size), 10)
    lines = [
        "| network | loss | recognised | Frechet | W1P x 1e-3 | COV | ms per step |",
        "|---|---|---|---|---|---|---|",
    ]
    for digits in (*((d,) for d in DIGITS), ()):
        for loss in LOSSES:
            data = PointDataSettings(str(path), list(digits), held_out=1000 if digits else HELD_OUT)
            row = rows(configuration(data, loss, steps, jets=False), path, judge)
            m = row["metrics"]
            wrong, error, floor = m["misclassified"]
            name = f"digit {digits[0]}" if digits else "conditional"
            cells = (
                cell([1 - wrong, error, 1 - floor], 1), cell(m["frechet"], 1),
                cell(m["w1p"], 1e3), cell(m["cov"], 1),
            )  # fmt: skip
            lines.append(f"| {name} | `{loss}` | {' | '.join(cells)} | {row['ms']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jets", type=Path, required=True)
    parser.add_argument("--digits", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    a = parser.parse_args()
    shown: dict[str, list[PointSets]] = {"jets": [], "digits": []}

    def rows(config: VAEConfig, path: Path, judge: Any) -> dict[str, Any]:
        row, generated = compare_row(config, path, judge)
        print(config.data, config.loss.reconstruction, json.dumps(row), flush=True)
        if config.data.points != 150:
            kind = "jets" if judge is None else "digits"
            shown[kind].append(generated.take(slice(0, point_figures.SHOWN)))
        return row

    tables = [
        f(path, a.steps, rows) for f, path in ((jets_table, a.jets), (digits_table, a.digits))
    ]
    for kind, parts in shown.items():
        labelled = concatenate(
            PointSets(x.points, x.mask, np.full(len(x), k, np.uint8), x.features)
            for k, x in enumerate(parts)
        )
        names = tuple(f"row {k + 1}" for k in range(len(parts)))
        figure = point_figures.sets_by_class(labelled, names, kind == "jets", point_figures.SHOWN)
        (a.out / f"compare_{kind}.png").write_bytes(figure_to_png(figure))
    head = (
        "# Comparison of losses and coordinates\n\n"
        f"`benchmarks/compare_losses.py` made these tables: {a.steps} steps of batch {BATCH}, "
        f"at most {TRAINING} training sets, one seed; "
        f"{GENERATED} generated sets. Cells are value ± error (real against real). `joint` and "
        f"`position_first` have a dense decoder, {LATENT} latent numbers and a standard normal "
        "prior; `likelihood` has an autoregressive decoder. The trainings are too short to reach "
        "the values of full trainings. The figures show generated sets; their rows have the order "
        "of the tables (without 150 constituents).\n"
    )
    text = (
        f"{head}\n## Gluon jets\n\n{tables[0]}\n\n![jets](compare_jets.png)\n\n"
        f"## MNIST superpixels\n\n{tables[1]}\n\n![digits](compare_digits.png)\n"
    )
    (a.out / "compare_losses.md").write_text(text)


if __name__ == "__main__":
    main()
