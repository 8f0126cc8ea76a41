"""A trained generator as a SavedModel, and back.

The algorithm says which signatures there are. The graph holds TensorFlow's own operations alone
and changes no variable. Bits are equal for one build and instruction set. ``manifest.json`` beside
the graph says where the model comes from, what it reached, and which files belong to it.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf

from kerasgen.config import as_table
from kerasgen.errors import InputError
from kerasgen.models.algorithm import Algorithm, algorithm_of
from kerasgen.models.trained import Trained
from kerasgen.serving.inspection import check_files, check_graph, file_checksums
from kerasgen.serving.versions import (
    MANIFEST,
    last_report,
    new_version,
    newest_version,
    read_manifest,
)
from kerasgen.serving.warm_up import write_warm_up


def export_model(trained: Trained, out: Path, name: str) -> Path:
    """Write the next free version of a model; versions that are there are never touched.

    Args:
        trained: run with its generator, calibrated or not.
        out: folder of all models, made if missing.
        name: of the model.

    Returns:
        The folder of the new version.

    Raises:
        InputError: ``out`` cannot be a folder.
    """
    return new_version(out / name, lambda folder: write_model(trained, folder))


def write_model(trained: Trained, folder: Path) -> None:
    """Write graph, variables and manifest of a model into an empty folder."""
    served = trained.algorithm.served(trained.generator)
    module = tf.Module(name="served")
    module.weights = served.variables
    module.constants = served.constants
    for name, function in served.functions.items():
        setattr(module, name, function)
    signatures = {k: f.get_concrete_function() for k, f in served.functions.items()}
    signatures["serving_default"] = signatures[served.default]
    # A SavedModel without the functions that compute gradients.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures, options)
    write_warm_up(folder, trained.config.recipe, served.requests)
    table = manifest(trained, served.attributes) | {"files": file_checksums(folder)}
    (folder / MANIFEST).write_text(json.dumps(table, indent=1) + "\n", "utf-8")


def manifest(trained: Trained, attributes: dict[str, Any]) -> dict[str, Any]:
    """Where an exported model comes from, and what its numbers mean."""
    config = trained.config
    return {
        "name": trained.name,
        "recipe": config.recipe,
        "algorithm": config.algorithm,
        "seed": config.training.seed,
        "calibrated": trained.calibrated,
        "variants": list(trained.algorithm.variants(config)),
        "precision": "float32",
        "attributes": attributes,
        "identity": trained.identity,
        "sha256": trained.sha256,
        "schema": json.loads(trained.schema.to_json()),
        "config": as_table(config),
        "evaluation": evaluation(trained),
        "versions": {name: metadata.version(name) for name in ("kerasgen", "keras", "tensorflow")},
        "machine": platform.machine(),
    }


def evaluation(trained: Trained) -> dict[str, Any] | None:
    """Metrics of the exported variant, from the last report of the run; None without a report."""
    document = last_report(trained.folder)
    variants = trained.algorithm.variants(trained.config)
    variant = variants[-1] if trained.calibrated else variants[0]
    found = document.get("candidates", {}).get(variant)
    return found and {**found, "data": document["data"]}


class ExportedGenerator:
    """The signatures of an exported model, called by name with keywords.

    Args:
        folder: of the version.
        attributes: of the generator that was exported.
    """

    def __init__(self, folder: Path, attributes: dict[str, Any]) -> None:
        # Kept, as the signatures die with the model that they are of.
        self.model = tf.saved_model.load(str(folder))
        for name, value in attributes.items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)
        for name, signature in self.model.signatures.items():
            setattr(self, name, partial(call, signature))


def call(signature: Any, **inputs: Any) -> dict[str, Any]:
    """Call a signature with arrays of the types that it expects."""
    specs = signature.structured_input_signature[1]
    return signature(
        **{name: tf.convert_to_tensor(x, specs[name].dtype) for name, x in inputs.items()}
    )


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        name: of the run that it was exported from.
        algorithm: how it was learned.
        schema: what the numbers of its events mean.
        generator: its signatures.
        calibrated: whether its calibration, if it has one, is applied.
        variants: of its algorithm and configuration.
        identity: twelve digits that differ with every file that generates.
    """

    name: str
    algorithm: Algorithm
    schema: Any
    generator: Any
    calibrated: bool
    variants: tuple[str, ...]
    identity: str


def load_exported(folder: Path) -> Exported:
    """A version of an exported model; of the folder above the versions, the newest.

    Raises:
        InputError: no manifest, or a damaged file.
    """
    folder = newest_version(folder)
    path, table = folder / MANIFEST, read_manifest(folder)
    algorithm = algorithm_of(str(table["algorithm"]))
    schema = algorithm.kind.read_schema(json.dumps(table["schema"]), str(path))
    try:
        name, calibrated = str(table["name"]), bool(table["calibrated"])
        variants, origin = tuple(map(str, table["variants"])), str(table["identity"])
        attributes, files = dict(table["attributes"]), dict(table["files"])
    except (ValueError, TypeError) as e:
        raise InputError(f"{path}: not a manifest ({type(e).__name__}: {e})") from None
    check_files(folder, files, MANIFEST)
    check_graph(folder)
    try:
        generator = ExportedGenerator(folder, attributes)
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as e:
        reason = " ".join(str(e).split())[:160]
        raise InputError(f"{folder}: damaged, it cannot be loaded ({reason})") from None
    return Exported(name, algorithm, schema, generator, calibrated, variants, origin)
