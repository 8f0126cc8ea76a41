"""``kerasgen train`` for recipes of point sets: data, training, evaluation, SavedModel."""

from __future__ import annotations

import os
from pathlib import Path

from kerasgen.data.points import PointFile, PointSets
from kerasgen.errors import InputError
from kerasgen.training.point_data import check_source, point_file, point_path, read_sets
from kerasgen.training.run_folder import create_run, locked
from kerasgen.zoo.config import to_toml
from kerasgen.zoo.initial import check_detector, initial_weights
from kerasgen.zoo.point_sets.config import VAEConfig
from kerasgen.zoo.report import terminal_table


def check_and_train_points(config: VAEConfig, folder: Path, dry_run: bool, resumed: bool) -> int:
    """Every check, as early as it can be, and the training, if this is no dry run.

    Raises:
        InputError: data or configuration that no training could work with.
    """
    path = point_path(config.data)
    if dry_run and not path.exists():
        check_source(config.data)
        return 0
    with point_file(config.data) as file:
        check_jets(config, file)
        training, held_out = read_sets(file, config.data)
        if config.training.init and not resumed:
            check_start(config, file, training)
        if dry_run:
            return 0
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if not resumed:
                create_run(folder, to_toml(config), file.form.to_json())
            train_to_end(config, folder, file, training, held_out)
    return 0


def coordinates_of(config: VAEConfig, jets: bool) -> str:
    """The coordinates that the networks see."""
    return config.data.coordinates if jets else "image"


def check_jets(config: VAEConfig, file: PointFile) -> None:
    """What only jets have is asked of jets alone."""
    if file.form.name == "jets":
        return
    wanted = {
        "data.coordinates": config.data.coordinates != "relative",
        "loss.features": config.loss.features > 0,
        "network.pt": config.network.pt,
        "network.total": config.network.total,
        "loss.mirror": config.loss.mirror,
    }
    for name, asked in wanted.items():
        if asked:
            raise InputError(f"{name}: for jets, {file.path} holds {file.form.name}")


def check_start(config: VAEConfig, file: PointFile, training: PointSets) -> None:
    """Raise InputError if the shipped weights are of other sets than those to train on."""
    from kerasgen.models.sparse_vae.units import fit_units
    from kerasgen.zoo.point_sets.trained import read_fitted

    check_detector(config, file.form.to_json())
    coordinates = coordinates_of(config, file.form.name == "jets")
    own = fit_units(training, coordinates, config.data.log_intensity, config.network.pt)
    theirs, _ = read_fitted(initial_weights(config).parent)
    for name in ("size", "classes"):
        here, there = getattr(own, name), getattr(theirs, name)
        if here != there:
            raise InputError(
                f"training.init = {config.training.init!r}: {name} of the data {here}, of the "
                f"shipped weights {there}"
            )


def train_to_end(config: VAEConfig, folder: Path, file: PointFile, training, held_out) -> None:
    """Training, then everything that makes the result usable."""
    from kerasgen.models.sparse_vae.sampling import condition_table
    from kerasgen.models.sparse_vae.units import fit_units
    from kerasgen.serving.point_model import export_point_model
    from kerasgen.training.point_monitor import PointMonitor
    from kerasgen.training.precision import describe_device, resolve_precision
    from kerasgen.training.vae_trainer import batch_arrays, train_vae
    from kerasgen.zoo.point_sets.evaluate import evaluate_trained
    from kerasgen.zoo.point_sets.trained import load_trained_points, write_fitted

    precision = resolve_precision(config.training.precision)
    print(f"Device: {describe_device()}; precision: {precision}", flush=True)
    print(f"TensorBoard: tensorboard --logdir {os.fspath(folder / 'logs')!r}", flush=True)
    coordinates = coordinates_of(config, file.form.name == "jets")
    network = config.network
    units = fit_units(training, coordinates, config.data.log_intensity, network.pt, network.total)
    table = condition_table(training)
    write_fitted(folder, units, table)
    arrays = batch_arrays(held_out, coordinates)
    monitor = PointMonitor(config, folder, held_out, arrays, table)
    try:
        train_vae(config, folder, units, file, monitor)
    finally:
        monitor.close()
    trained = load_trained_points(folder)
    document = evaluate_trained(trained, training, held_out, file, folder / "report")
    print(terminal_table(document))
    exported = export_point_model(trained, folder / "exported", config.recipe)
    print(f"Report: {folder / 'report' / 'report.html'}\nSavedModel: {exported}")
