"""From RUN of the command line to a folder: a run folder, a recipe with released weights, a hub."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasgen.data.level import LEVEL, level_columns
from kerasgen.errors import InputError, nearest
from kerasgen.keras_import import check_tensorflow
from kerasgen.kinds.kind import Conditions
from kerasgen.models.algorithm import Algorithm, algorithm_of
from kerasgen.models.trained import Trained, load_trained, read_config
from kerasgen.run_folder import CONFIG, WEIGHTS
from kerasgen.serving.versions import MANIFEST, is_exported, is_onnx, newest_version, read_manifest
from kerasgen.zoo.catalogue import recipes
from kerasgen.zoo.hub import download, is_address, parse_address

if TYPE_CHECKING:
    from kerasgen.serving.exported import Exported


def released() -> dict[str, Path]:
    """Folder of each recipe with released weights, by its name."""
    return {
        name: recipe.parent
        for name, recipe in recipes().items()
        if (recipe.parent / WEIGHTS).is_file()
    }


def find_run(run: str) -> Path:
    """The folder that RUN of the command line names.

    Raises:
        InputError: there is none, or nothing has been trained in it yet.
    """
    if is_address(run):
        path = download(run)
        if not (path / WEIGHTS).is_file():
            raise InputError(f"{run}: the model has no {WEIGHTS}")
        return path
    path = Path(run)
    if path.is_dir():
        path = path.resolve()
        if not (path / CONFIG).is_file():
            raise InputError(f"{run}: no run folder (a run folder holds {CONFIG})")
        if not (path / WEIGHTS).is_file():
            raise InputError(f"{run}: has no {WEIGHTS} yet, finish it with: train --resume")
        return path
    if path.exists():
        raise InputError(
            f"{run}: is a file; allowed: a run folder, or a recipe with released weights"
        )
    with_weights = released()
    if run in with_weights:
        return with_weights[run]
    if run in recipes():
        raise InputError(
            f"recipe {run!r} has no released weights: train it and give its run folder, or take "
            f"one that has ({', '.join(with_weights) or 'there is none'})"
        )
    raise InputError(f"no run {run!r}{known_runs(run, path.parent)}")


def known_runs(run: str, parent: Path) -> str:
    """What RUN may be: run folders in ``runs`` and beside the one asked for, and recipes."""
    folders = {parent, Path("runs")}
    found = [str(p.parent) for place in folders for p in place.glob(f"*/{CONFIG}")]
    if not found and not released():
        return " (allowed: a run folder, or a recipe with released weights; there are none here)"
    return nearest(run, [*found, *released()])


def load_run(run: str, calibrated: bool = True) -> Trained:
    """The trained model of a run folder or recipe.

    Args:
        run: run folder, recipe with released weights, or address on a hub.
        calibrated: with the calibration of the run, if it has one.

    Raises:
        InputError: no such run, or one that is not complete.
    """
    trained = load_trained(find_run(run), calibrated)
    # The folder in the cache of a hub has the name of a revision.
    return replace(trained, name=parse_address(run)[0]) if is_address(run) else trained


def load_model(run: str, calibrated: bool = True) -> Trained | Exported:
    """The model that RUN of the command line names, exported models included.

    Args:
        run: run folder, recipe with released weights, address on a hub, or exported model.
        calibrated: with its calibration, if it has one.

    Raises:
        InputError: no such run, one that is not complete, or an exported model whose calibration
            cannot be left out.
    """
    path = Path(run)
    if is_onnx(path):
        from kerasgen.serving.onnx_model import load_onnx

        exported = load_onnx(path)
    elif is_exported(path):
        check_tensorflow(f"the SavedModel {run}")
        from kerasgen.serving.saved_model import load_exported  # imports TensorFlow

        exported = load_exported(path)
    else:
        return load_run(run, calibrated)
    if exported.calibrated and not calibrated:
        raise InputError(f"{run}: was exported with calibration; give the run folder instead")
    return exported


def description_of(run: str) -> tuple[Algorithm, tuple[str, ...]]:
    """Algorithm and variants of a model, without loading it; arguments as ``load_model``."""
    manifest = manifest_of(run)
    if manifest is not None:
        return algorithm_of(str(manifest["algorithm"])), tuple(manifest["variants"])
    config = read_config(find_run(run))
    algorithm = algorithm_of(config.algorithm)
    return algorithm, algorithm.variants(config)


def manifest_of(run: str) -> dict[str, Any] | None:
    """The manifest of an exported model; None of others."""
    path = Path(run)
    if is_onnx(path):
        return read_manifest(newest_version(path, MANIFEST))
    return read_manifest(newest_version(path)) if is_exported(path) else None


def load_to_generate(run: str, calibrated: bool) -> Trained | Exported:
    """The model of a process that does nothing but generate: with the threads that suit it."""
    if is_onnx(Path(run)):
        return load_model(run, calibrated)
    from kerasgen.backend.engine import BACKEND

    threads = description_of(run)[0].generation_threads
    if threads and BACKEND == "tensorflow":
        import tensorflow as tf

        with suppress(RuntimeError):  # TensorFlow is already running
            tf.config.threading.set_intra_op_parallelism_threads(threads)
    return load_model(run, calibrated)


def with_mask(
    model: Trained | Exported, mask: Path | None, run_number: int | None
) -> Trained | Exported:
    """A model whose events have a mask.

    Args:
        model: loaded.
        mask: list of pixels that are not healthy; None: all are.
        run_number: run of the events, for a list that depends on it.

    Raises:
        InputError: not such a list, or the model's events have no pixels.
    """
    if mask is None:
        if run_number is not None:
            raise InputError("--run-number goes with --mask")
        return model
    return replace(model, mask=model.algorithm.kind.read_mask(mask, run_number, model.schema))


def check_calibration(run: str) -> None:
    """Raise InputError if a model has no calibration that could be left out."""
    if "uncalibrated" not in description_of(run)[1]:
        raise InputError(f"--no-calibration: {run} is a model that has no calibration")


def check_conditions(run: str, model: Trained | Exported, asked: Conditions) -> None:
    """Raise InputError if a model does not take one of the conditions asked for."""
    for name in asked:
        if name not in model.generator.conditions:
            known = ", ".join(model.generator.conditions) or "none"
            raise InputError(f"--{name}: {run} takes no such condition (it takes: {known})")
    if LEVEL in asked:
        level_columns(asked[LEVEL], model.generator.types)
