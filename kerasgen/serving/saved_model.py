"""Export of a trained generator as a SavedModel, and loading of exported models.

The algorithm defines the signatures. The graph consists of TensorFlow's own operations and changes
no variable. Generated bits are equal for one build and instruction set. ``manifest.json`` beside
the graph holds origin, metrics and checksums of the model.
"""

from __future__ import annotations

import json
import platform
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf

from kerasgen.config import as_table
from kerasgen.errors import InputError
from kerasgen.models.trained import Trained
from kerasgen.serving.exported import Exported, attributes_and_files, described
from kerasgen.serving.inspection import check_graph
from kerasgen.serving.versions import (
    MANIFEST,
    check_files,
    file_checksums,
    last_report,
    new_version,
    newest_version,
    read_manifest,
)
from kerasgen.serving.warm_up import write_warm_up


def export_model(trained: Trained, out: Path, name: str) -> Path:
    """Write the next free version of a model; existing versions are never touched.

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
    """Write graph, variables and manifest of a model into an empty folder.

    Args:
        trained: run with its generator.
        folder: of the version.
    """
    served = trained.algorithm.served(trained.generator)
    module = tf.Module(name="served")
    module.weights = served.variables
    module.constants = served.constants
    for name, function in served.functions.items():
        setattr(module, name, function)
    signatures = {k: f.get_concrete_function() for k, f in served.functions.items()}
    signatures["serving_default"] = signatures[served.default]
    # Leave out the functions that compute gradients.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures, options)
    write_warm_up(folder, trained.config.recipe, served.requests)
    table = manifest(trained, served.attributes) | {"files": file_checksums(folder)}
    (folder / MANIFEST).write_text(json.dumps(table, indent=1) + "\n", "utf-8")


def manifest(trained: Trained, attributes: dict[str, Any]) -> dict[str, Any]:
    """The manifest of an exported model, without the checksums of its files.

    Args:
        trained: run that is exported.
        attributes: of the generator, see ``Served``.
    """
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
    metrics = document.get("candidates", {}).get(variant)
    return metrics and {**metrics, "data": document["data"]}


class ExportedGenerator:
    """The signatures of an exported model, one method each, called with keywords.

    Args:
        folder: of the version.
        table: its manifest.

    Raises:
        InputError: a damaged file, or operations that act on the machine.
    """

    def __init__(self, folder: Path, table: dict[str, Any]) -> None:
        attributes, files = attributes_and_files(folder, table)
        check_files(folder, files, MANIFEST)
        check_graph(folder)
        vars(self).update(attributes)
        try:
            # An attribute, because signatures are valid as long as their model exists.
            self.model = tf.saved_model.load(str(folder))
        except (OSError, ValueError, RuntimeError, tf.errors.OpError) as e:
            reason = " ".join(str(e).split())[:160]
            raise InputError(f"{folder}: damaged, it cannot be loaded ({reason})") from None
        for name, signature in self.model.signatures.items():
            setattr(self, name, partial(call_signature, signature))


def call_signature(signature: Any, **inputs: Any) -> dict[str, Any]:
    """Call a signature with its inputs by name, converted to the types that it expects."""
    specs = signature.structured_input_signature[1]
    return signature(
        **{name: tf.convert_to_tensor(x, specs[name].dtype) for name, x in inputs.items()}
    )


def load_exported(folder: Path) -> Exported:
    """Load a SavedModel.

    Args:
        folder: of a version, or the folder of its versions, of which the newest is loaded.

    Raises:
        InputError: no manifest, or a damaged file.
    """
    folder = newest_version(folder)
    table = read_manifest(folder)
    return described(folder, table, ExportedGenerator(folder, table))
