"""A trained generator as a SavedModel, ``<folder>/<name>/<version>/``, and back.

Signatures: ``serving_default`` (``EventGenerator.dense``) and ``digits``
(``EventGenerator.digits``), both from ``sensor`` int32 [N] and ``seed`` int64 [N, 2]. The graph
holds TensorFlow's own operations alone and changes no variable. Bits are equal for one build and
instruction set. ``manifest.json`` beside the graph says where it comes from, what it reached, and
which files belong to it.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasgen.atomic import partial_name
from kerasgen.data.geometry import Geometry, geometry_from_json
from kerasgen.errors import InputError
from kerasgen.serving.inspection import check_files, check_graph, file_checksums
from kerasgen.serving.warm_up import Inputs, write_warm_up
from kerasgen.zoo.trained import GRAPH, Trained, checksums, identity

MANIFEST, METRICS = "manifest.json", "metrics.json"
# What a rename says when the target is there already.
TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def export_saved_model(trained: Trained, out: Path, name: str) -> Path:
    """Write the next free version of a model; versions that are there are never touched.

    Arguments:
        trained: run with its generator, calibrated or not.
        out: folder of all models, made if missing.
        name: of the model.

    Returns:
        The folder of the new version.

    Raises:
        InputError: ``out`` cannot be a folder.
    """
    return new_version(out / name, lambda folder: write_model(trained, folder))


def new_version(folder: Path, write: Callable[[Path], None]) -> Path:
    """Have ``write`` fill the next free version of a model; errors as ``export_saved_model``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: a folder is needed, a file is in its place") from None
    # Model servers look at folders whose names are numbers only.
    partial = Path(tempfile.mkdtemp(prefix=partial_name(folder).name, dir=folder))
    try:
        write(partial)
        partial.chmod(0o755)
        return claim_version(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_model(trained: Trained, folder: Path) -> None:
    """Graph, variables and manifest of a model into an empty folder."""
    events = trained.generator
    module = tf.Module(name="served")
    # The network itself would bring the functions of its training along.
    module.weights = [weight.value for weight in events.generator.weights]
    module.dense, module.digits = events.dense, events.digits
    signatures = {"serving_default": events.dense, "digits": events.digits}
    save_module(module, folder, {k: f.get_concrete_function() for k, f in signatures.items()})
    one: Inputs = {"sensor": np.zeros(1, np.int32), "seed": np.zeros([1, 2], np.int64)}
    write_warm_up(folder, trained.config.recipe, dict.fromkeys(signatures, one))
    table = manifest(trained) | {"files": file_checksums(folder)}
    (folder / MANIFEST).write_text(json.dumps(table, indent=1) + "\n", "utf-8")


def save_module(module: tf.Module, folder: Path, signatures: dict[str, Any]) -> None:
    """A SavedModel without the functions that compute gradients."""
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures, options)


def manifest(trained: Trained) -> dict[str, Any]:
    """Where an exported model comes from."""
    return {
        "name": trained.name,
        "recipe": trained.config.recipe,
        "seed": trained.config.training.seed,
        "calibrated": trained.generator.calibrated,
        "precision": "float32",
        "types": list(trained.generator.types),
        "sha256": checksums(trained.folder),
        "geometry": json.loads(trained.geometry.to_json()),
        "config": asdict(trained.config),
        "evaluation": evaluation(trained),
        "versions": {name: metadata.version(name) for name in ("kerasgen", "keras", "tensorflow")},
        "machine": platform.machine(),
    }


def evaluation(trained: Trained) -> dict[str, Any] | None:
    """Metrics of what is exported, from the last report of the run; None without a report."""
    document = last_report(trained.folder)
    kind = "calibrated" if trained.generator.calibrated else "uncalibrated"
    found = document.get("candidates", {}).get(kind)
    return found and {**found, "data": document["data"]}


def last_report(folder: Path) -> dict[str, Any]:
    """``metrics.json`` of a run folder or recipe; empty without one.

    Raises:
        InputError: damaged.
    """
    for path in (folder / "report" / METRICS, folder / METRICS):
        if path.is_file():
            try:
                return dict(json.loads(path.read_text("utf-8")))
            except ValueError as e:
                raise InputError(f"{path}: damaged ({e})") from None
    return {}


def claim_version(partial: Path, folder: Path) -> Path:
    """Rename a complete model to the next free number, whoever else does the same."""
    while True:
        version = folder / str(max([0, *versions(folder)]) + 1)
        try:
            os.rename(partial, version)
            return version
        except OSError as e:
            if e.errno not in TAKEN:
                raise


def versions(folder: Path) -> list[int]:
    """Version numbers in the folder of a model."""
    return [int(p.name) for p in folder.iterdir() if p.name.isascii() and p.name.isdigit()]


class ExportedGenerator:
    """The signatures of an exported model, called as those of ``EventGenerator``.

    Attributes:
        types: background type of each image channel.
    """

    def __init__(self, folder: Path, types: tuple[int, ...]) -> None:
        # Kept, as the signatures die with the model that they are of.
        self.model = tf.saved_model.load(str(folder))
        self.types = types

    def dense(self, sensor: Any, seed: Any) -> dict[str, Any]:
        """See ``EventGenerator.dense``."""
        return self._call("serving_default", sensor, seed)

    def digits(self, sensor: Any, seed: Any) -> dict[str, Any]:
        """See ``EventGenerator.digits``."""
        return self._call("digits", sensor, seed)

    def _call(self, signature: str, sensor: Any, seed: Any) -> dict[str, Any]:
        return self.model.signatures[signature](
            sensor=tf.convert_to_tensor(sensor, tf.int32), seed=tf.convert_to_tensor(seed, tf.int64)
        )


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        name: of the run that it was exported from.
        geometry: sensors and charge range.
        generator: its signatures.
        calibrated: whether its charges are calibrated.
        identity: see ``kerasgen.zoo.trained.identity``.
    """

    name: str
    geometry: Geometry
    generator: ExportedGenerator
    calibrated: bool
    identity: str


def load_exported(folder: Path) -> Exported:
    """A version of an exported model; of the folder above the versions, the newest.

    Raises:
        InputError: no manifest, or a damaged file.
    """
    if not (folder / GRAPH).is_file():
        complete = [n for n in versions(folder) if (folder / str(n) / GRAPH).is_file()]
        folder = folder / str(max(complete))
    path = folder / MANIFEST
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        geometry = geometry_from_json(json.dumps(table["geometry"]), str(path))
        types = tuple(int(x) for x in table["types"])
        name, calibrated = str(table["name"]), bool(table["calibrated"])
        origin = identity({k: str(v) for k, v in table["sha256"].items()}, calibrated)
        files = dict(table["files"])
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, it comes with every exported generator") from None
    except (ValueError, KeyError, TypeError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{path}: not a manifest ({type(e).__name__}: {e})") from None
    check_files(folder, files, MANIFEST)
    check_graph(folder)
    try:
        return Exported(name, geometry, ExportedGenerator(folder, types), calibrated, origin)
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as e:
        reason = " ".join(str(e).split())[:160]
        raise InputError(f"{folder}: damaged, it cannot be loaded ({reason})") from None
