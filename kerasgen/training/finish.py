"""After the last step: the result of the run, its calibration, evaluation and export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.data.hits import Hits
from kerasgen.data.store import EventFile, checksum
from kerasgen.models.pxd_gan.build import build_generator, padded_image
from kerasgen.models.pxd_gan.calibration import fit_calibration
from kerasgen.models.pxd_gan.output import charge_cut
from kerasgen.models.pxd_gan.statistics import settle
from kerasgen.serving.saved_model import export_saved_model
from kerasgen.training.checkpoint import BEST, load_weights, save_weights
from kerasgen.training.data import division
from kerasgen.training.monitor import REFERENCE_EVENTS
from kerasgen.training.run_folder import append_metrics, write_atomic
from kerasgen.training.trainer import data_statistics
from kerasgen.zoo.config import Config
from kerasgen.zoo.evaluate import evaluate_hits
from kerasgen.zoo.generate import event_hits
from kerasgen.zoo.report import terminal_table
from kerasgen.zoo.trained import load_trained

# Generated images, of all sensors together, that the cuts of the result are measured on.
SETTLE_IMAGES = 640
# Training events from which occupancy and charges of the data are taken.
FIT_EVENTS = 256


def finish(config: Config, run: Path, file: EventFile) -> dict[str, Any]:
    """Settle the best generator, calibrate, evaluate on held-out events, export.

    Returns:
        The content of ``report/metrics.json``.
    """
    settle_best(config, run, file)
    if config.calibration.enabled and config.calibration.events:
        calibrate(config, run, file)
    document = evaluate(config, run, file)
    print(terminal_table(document))
    folder = export_saved_model(load_trained(str(run)), run / "exported", config.recipe)
    print(f"Report: {run / 'report' / 'report.html'}\nSavedModel: {folder}")
    return document


def settle_best(config: Config, run: Path, file: EventFile) -> None:
    """The best checkpoint with its final statistics, in ``generator.weights.h5``.

    In float32, which is what generates and serves, whatever trained.
    """
    geometry = file.geometry
    channels = max(len(config.data.channels), 1)
    generator = build_generator(
        config.architecture, config.generator, geometry, channels, "float32", "generator"
    )
    load_weights(generator, run / BEST)
    image = padded_image(geometry, config.architecture)
    statistics = data_statistics(training_events(config, file), geometry, image)
    cut = charge_cut(geometry.threshold, geometry.max_charge)
    images = max(4, SETTLE_IMAGES // len(statistics.occupancy))
    settle(generator, statistics.occupancy, cut, config.training.seed, images)
    save_weights(generator, run / "generator.weights.h5")


def calibrate(config: Config, run: Path, file: EventFile) -> None:
    """Fit cut and charge map per sensor on training events, into ``calibration.npz``."""
    events = load_trained(str(run), calibrated=False).generator
    cut, charge = fit_calibration(
        events,
        training_events(config, file),
        file.geometry,
        config.calibration.events,
        config.training.seed,
    )
    write_atomic(run / "calibration.npz", lambda path: np.savez(path, cut=cut, charge=charge))


def training_events(config: Config, file: EventFile) -> Hits:
    """The training events that statistics and calibration are taken from."""
    training, _ = division(file, config.data.events, config.data.held_out)
    return file.read_events(training.start, min(training.stop, FIT_EVENTS))


def evaluate(config: Config, run: Path, file: EventFile) -> dict[str, Any]:
    """Generated against held-out events, without and with calibration, into ``report/``.

    The best checkpoint was chosen on the first of these held-out events, with other random numbers.
    """
    geometry = file.geometry
    _, held_out = division(file, config.data.events, config.data.held_out)
    stop = min(held_out.stop, held_out.start + max(config.evaluation.events, REFERENCE_EVENTS))
    real = file.read_events(held_out.start, stop)
    seed = config.training.seed + 1
    candidates = {}
    for name in ("uncalibrated", "calibrated"):
        if name == "calibrated" and not (run / "calibration.npz").is_file():
            continue
        trained = load_trained(str(run), calibrated=name == "calibrated")
        candidates[name] = event_hits(
            trained.generator, geometry, range(config.evaluation.events), seed
        )
    document = evaluate_hits(
        real, candidates, geometry, run / "report", f"{config.recipe}: {run.name}",
        asdict(config), {file.path.name: checksum(file.path)},
    )  # fmt: skip
    append_metrics(run, config.training.steps, document)
    return document
