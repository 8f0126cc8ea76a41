"""What each technique of the adversarial training does: on and off, by seeds.

    kerasgen simulate pxd --engine geant4 --events 800 --seed 1 --out train.h5
    kerasgen simulate pxd --engine geant4 --events 400 --seed 2 --out held_out.h5
    python benchmarks/adversarial_techniques.py stage train.h5 held_out.h5 --out DIR
    python benchmarks/adversarial_techniques.py published train.h5 held_out.h5 --out DIR

``stage``: a short adversarial stage of ``pxd_biggan``, from the weights of ``pxd_clusters``, which
has had no discriminator. ``published``: a smaller ``pxd_biggan_deep`` from random weights, on a
quarter of rows and columns of 8 sensors. Trainings and reports that are there are kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.data.reduction import Reduction, write_reduced
from kerasgen.data.store import EventFile

SENSORS = ["1.1.1", "1.3.2", "1.5.1", "1.7.2", "2.1.1", "2.4.2", "2.7.1", "2.10.2"]
PART = Reduction(SENSORS, rows=62, cols=192)
RECIPES = {"stage": "pxd_clusters", "published": "pxd_biggan_deep"}
OPTIONS = {"stage": ["--init", "zoo"], "published": []}
SETTINGS = {
    "stage": [
        "training.steps=1", "adversarial.steps=600", "adversarial.alone=200",
        "adversarial.clusters=512", "adversarial.smallest=12", "adversarial.final_rate=0.01",
        "adversarial.weight=10", "adversarial.contrastive=0.1", "adversarial.consistency=0.001",
        "training.evaluate_every=600",
    ],
    "published": [
        "generator.channels=16", "generator.blocks=1", "generator.attention=[16,48]",
        "discriminator.channels=16", "discriminator.blocks=1", "discriminator.attention=[8,24]",
        "training.steps=1000", "training.batch=8", "training.ema_decay=0.99",
        "training.generator_rate=2e-4", "training.discriminator_rate=2e-4",
        "training.evaluate_every=1000", "training.precision=float32",
    ],
}  # fmt: skip
ROWS = {
    "stage": {
        "as `pxd_biggan`": [],
        "likelihood alone": ["adversarial.weight=0"],
        "without self-attention": ["adversarial.self_attention=false"],
        "with spectral norm": ["adversarial.spectral_norm=true"],
        "without contrastive term": ["adversarial.contrastive=0"],
        "without consistency term": ["adversarial.consistency=0"],
        "one discriminator step": ["adversarial.discriminator_steps=1"],
        "hinge loss": ["adversarial.loss=hinge"],
    },
    "published": {
        "as `pxd_biggan_deep`": [],
        "without self-attention": ["generator.attention=[]", "discriminator.attention=[]"],
        "without spectral norm": [
            "generator.spectral_norm=false", "discriminator.spectral_norm=false",
        ],
        "Glorot instead of orthogonal initialisation": [
            "generator.initializer=glorot_uniform", "discriminator.initializer=glorot_uniform",
        ],
        "without orthogonal regularisation": ["loss.orthogonal=0"],
        "without contrastive term": ["loss.contrastive=0"],
        "without consistency term": ["loss.consistency=0"],
        "two discriminator steps": ["loss.discriminator_steps=2"],
        "pixel-aware term 0": ["loss.pixel_aware=0"],
        "pixel-aware term 5": ["loss.pixel_aware=5"],
        "pixel-aware term 500": ["loss.pixel_aware=500"],
    },
}  # fmt: skip
METRICS = {
    "stage": ("auc_patches", "adu_w1", "cluster_seed_w1", "cluster_size", "pairs_v",
              "cluster_repeats_9_11", "cluster_repeats_12_15"),
    "published": ("auc_patches", "adu_w1", "occupancy_per_sensor", "occupancy_w1", "cluster_size",
                  "pairs_v"),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("form", choices=list(ROWS))
    parser.add_argument("data", type=Path, help="training events")
    parser.add_argument("reference", type=Path, help="held-out events")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and reports")
    parser.add_argument("--events", type=int, default=100, help="of an evaluation")
    parser.add_argument("--networks", action="store_true", help="train judges, for auc_patches")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, nargs="+", help="numbers of the rows to make; all")
    given = parser.parse_args()
    form, out = given.form, given.out
    out.mkdir(parents=True, exist_ok=True)
    files = [given.data, given.reference]
    evaluation = ["--events", str(given.events), *["--networks"] * given.networks]
    if form == "published":
        files = [reduced(path, out) for path in files]
    for seed in given.seeds:  # first one seed of all rows
        for number in given.rows or range(len(ROWS[form])):
            make_report(form, number, seed, *files, out, evaluation)
    print(table(form, given.seeds, out))


def reduced(path: Path, out: Path) -> Path:
    """A part of the events of a file, made once."""
    part = out / path.name
    if not part.is_file():
        with EventFile(path) as file:
            write_reduced(file, part, PART)
    return part


def report_folder(form: str, number: int, seed: int, out: Path) -> Path:
    return out / f"report-{form}-{number}-{seed}"


def make_report(
    form: str, number: int, seed: int, data: Path, reference: Path, out: Path,
    evaluation: list[str],
) -> None:  # fmt: skip
    """Train a row with a seed and evaluate it with these options, unless that was done."""
    report, run = report_folder(form, number, seed, out), out / f"run-{form}-{number}-{seed}"
    if (report / "metrics.json").is_file():
        return
    kerasgen = [sys.executable, "-m", "kerasgen"]
    row = list(ROWS[form].values())[number]
    few = ["calibration.events=0", "evaluation.events=4", "data.held_out=100"]
    settings = [*SETTINGS[form], *few, *row, f"training.seed={seed}"]
    train = [*kerasgen, "train", RECIPES[form], "--run", run]
    if (run / "config.toml").is_file():
        train.append("--resume")
    else:
        train += ["--data", data, *OPTIONS[form], *(x for y in settings for x in ("--set", y))]
    if not (run / "exported").is_dir():  # written last
        subprocess.run(train, check=True)
    judged = ["--data", reference, *evaluation, "--out", report]
    subprocess.run([*kerasgen, "evaluate", run, *judged], check=True)


def table(form: str, seeds: list[int], out: Path) -> str:
    """Means over the seeds, their standard errors, and the floor, in Markdown."""
    lines: list[str] = []
    metrics: list[dict[str, Any]] = []
    for number, name in enumerate(ROWS[form]):
        paths = [report_folder(form, number, seed, out) / "metrics.json" for seed in seeds]
        there = [json.loads(path.read_text("utf-8")) for path in paths if path.is_file()]
        if there:
            metrics = [x["candidates"]["uncalibrated"]["metrics"] for x in there]
            names = [m for m in METRICS[form] if all(m in x for x in metrics)]
            if not lines:
                lines.append(f"| | seeds | {' | '.join(f'`{m}`' for m in names)} |")
                lines.append("|---|" + "---|" * (len(names) + 1))
            cells = [mean_and_error([x[m]["value"] for x in metrics]) for m in names]
            lines.append(f"| {name} | {len(there)} | {' | '.join(cells)} |")
    if metrics:
        floors = [f"{metrics[0][m]['floor']:.3g}" for m in names]
        lines.append(f"| real against real | | {' | '.join(floors)} |")
    return "\n".join(lines)


def mean_and_error(values: list[float]) -> str:
    """Mean, and the standard error by the spread of the values."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.3g} ± {error:.1g}"


if __name__ == "__main__":
    main()
