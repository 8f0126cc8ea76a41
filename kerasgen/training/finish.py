"""After the last step: the result of the run, its calibration, evaluation and export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kerasgen.data.store import EventFile, checksum
from kerasgen.models.pxd_gan.build import build_generator, padded_image
from kerasgen.models.pxd_gan.calibration import fit_calibration
from kerasgen.models.pxd_gan.output import charge_cut
from kerasgen.models.pxd_gan.statistics import settle
from kerasgen.serving.saved_model import export_saved_model
from kerasgen.training.checkpoint import BEST, load_weights, save_weights
from kerasgen.training.data import division, first_events
from kerasgen.training.monitor import REFERENCE_EVENTS
from kerasgen.training.run_folder import append_metrics, write_atomic
from kerasgen.training.trainer import data_statistics
from kerasgen.zoo.config import Config
from kerasgen.zoo.evaluate import model_bytes
from kerasgen.zoo.evaluation import evaluate_hits
from kerasgen.zoo.generate import event_hits
from kerasgen.zoo.report import terminal_table
from kerasgen.zoo.samples import read_library
from kerasgen.zoo.trained import Trained, load_trained, with_calibration

# Generated images, of all sensors together, that the cuts of the result are measured on.
SETTLE_IMAGES = 640


def finish(config: Config, run: Path, file: EventFile) -> dict[str, Any]:
    """Settle the best generator, calibrate, evaluate on held-out events, export.

    Returns:
        The content of ``report/metrics.json``.
    """
    settle_best(config, run, file)
    trained = load_trained(str(run), calibrated=False)
    candidates = {"uncalibrated": trained}
    if config.calibration.events:
        trained = candidates["calibrated"] = calibrate(trained, file)
    document = evaluate(candidates, run, file)
    print(terminal_table(document))
    folder = export_saved_model(trained, run / "exported", config.recipe)
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
    statistics = data_statistics(first_events(config, file), geometry, image, channels)
    cut = charge_cut(geometry.threshold, geometry.max_charge)
    images = max(4, SETTLE_IMAGES // len(statistics.occupancy))
    size = geometry.rows, geometry.cols
    settle(generator, statistics.occupancy, cut, config.training.seed, images, size)
    save_weights(generator, run / "generator.weights.h5")


def calibrate(trained: Trained, file: EventFile) -> Trained:
    """Fit cut and charge map per sensor on training events, into ``calibration.npz``."""
    config = trained.config
    cut, charge = fit_calibration(
        trained.generator,
        first_events(config, file),
        file.geometry,
        config.calibration.events,
        config.training.seed,
    )
    path = trained.folder / "calibration.npz"
    write_atomic(path, lambda partial: np.savez(partial, cut=cut, charge=charge))
    return with_calibration(trained)


def evaluate(candidates: dict[str, Trained], run: Path, file: EventFile) -> dict[str, Any]:
    """Generated against held-out events, without and with calibration, into ``report/``.

    The best checkpoint was chosen on the first of these held-out events, with other random numbers.
    """
    config, geometry = next(iter(candidates.values())).config, file.geometry
    training, held_out = division(file, config.data.events, config.data.held_out)
    stop = min(held_out.stop, held_out.start + max(config.evaluation.events, REFERENCE_EVENTS))
    real = file.read_events(held_out.start, stop)
    seed, events = config.training.seed + 1, range(config.evaluation.events)
    generated = {
        name: event_hits(trained.generator, geometry, events, seed)
        for name, trained in candidates.items()
    }
    stored = {list(candidates)[-1]: model_bytes(run)}
    library = read_library(file, training, len(events), seed, models=stored)
    document = evaluate_hits(
        real, generated, geometry, run / "report", f"{config.recipe}: {run.name}",
        asdict(config), {file.path.name: checksum(file.path)}, library=library,
    )  # fmt: skip
    append_metrics(run, config.training.steps, document)
    return document
