"""A trained sparse VAE as a SavedModel, ``<folder>/<name>/<version>/``, and back.

Signatures: ``serving_default`` = ``generate`` and ``generate_class``, ``encode``, ``decode``,
``reconstruct`` of ``PointGenerator``, and ``generate_pt`` of networks that are conditional on the
pT of the jet. ``points.json`` beside the graph says where it comes from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasgen.data.points import PointForm
from kerasgen.errors import InputError
from kerasgen.serving.inspection import check_files, check_graph, file_checksums
from kerasgen.serving.saved_model import last_report, new_version, save_module, versions
from kerasgen.serving.warm_up import Inputs, write_warm_up
from kerasgen.zoo.point_sets.trained import NO_PT, TrainedPoints, manifest, read_manifest
from kerasgen.zoo.trained import GRAPH, POINT_MANIFEST, identity

PT = "generate_pt"
SIGNATURES = ("generate", "generate_class", "encode", "decode", "reconstruct")


def export_point_model(trained: TrainedPoints, out: Path, name: str) -> Path:
    """Write the next free version of a model; arguments and errors as ``export_saved_model``."""
    return new_version(out / name, lambda folder: write_model(trained, folder))


def write_model(trained: TrainedPoints, folder: Path) -> None:
    """Graph, variables and manifest of a model into an empty folder."""
    generator = trained.generator
    module = tf.Module(name="served")
    parts = [generator.encoder, generator.decoder, generator.flow]
    module.weights = [w.value for part in parts if part is not None for w in part.weights]
    module.table = generator.table, generator.first, generator.end
    signatures = {}
    for name in (*SIGNATURES, *([PT] if generator.units.pt else [])):
        function = getattr(generator, name)
        setattr(module, name, function)
        signatures[name] = function.get_concrete_function()
    signatures["serving_default"] = signatures["generate"]
    save_module(module, folder, signatures)
    seed, label = np.zeros([1, 2], np.int64), np.zeros(1, np.int32)
    warm_up: dict[str, Inputs] = {
        "generate": {"seed": seed},
        "generate_class": {"seed": seed, "label": label},
    }
    write_warm_up(folder, trained.config.recipe, warm_up)
    report = {k: v for k, v in last_report(trained.folder).items() if k in ("metrics", "data")}
    table = {**manifest(trained), "evaluation": report, "files": file_checksums(folder)}
    (folder / POINT_MANIFEST).write_text(json.dumps(table, indent=1) + "\n", "utf-8")


class ExportedPoints:
    """The signatures of an exported model, called as those of ``PointGenerator``.

    Attributes:
        form: what the numbers of its sets mean.
        name: of the run that it was exported from.
        identity: twelve digits that differ with any of its files.
    """

    def __init__(self, folder: Path, form: PointForm, name: str, identity: str) -> None:
        # Kept, as the signatures die with the model that they are of.
        self.model = tf.saved_model.load(str(folder))
        self.form = form
        self.name = name
        self.identity = identity

    def generate(self, seed: Any) -> dict[str, Any]:
        """See ``PointGenerator.generate``."""
        return self.model.signatures["generate"](seed=seed)

    def generate_class(self, seed: Any, label: Any) -> dict[str, Any]:
        """See ``PointGenerator.generate_class``."""
        return self.model.signatures["generate_class"](seed=seed, label=label)

    def generate_pt(self, seed: Any, pt: Any) -> dict[str, Any]:
        """See ``PointGenerator.generate_pt``.

        Raises:
            InputError: the networks are not conditional on pT.
        """
        if PT not in self.model.signatures:
            raise InputError(f"{self.name}: {NO_PT}")
        return self.model.signatures[PT](seed=seed, pt=pt)

    def reconstruct(self, points: Any, count: Any, label: Any, jet: Any) -> dict[str, Any]:
        """See ``PointGenerator.reconstruct``."""
        signature = self.model.signatures["reconstruct"]
        return signature(points=points, count=count, label=label, jet=jet)


def load_exported_points(folder: Path) -> ExportedPoints:
    """A version of an exported model; of the folder above the versions, the newest.

    Raises:
        InputError: no manifest, or a damaged file.
    """
    if not (folder / GRAPH).is_file():
        complete = [n for n in versions(folder) if (folder / str(n) / GRAPH).is_file()]
        if not complete:
            raise InputError(f"{folder}: holds no exported model (no {GRAPH})")
        folder = folder / str(max(complete))
    form, name, files = read_manifest(folder / POINT_MANIFEST)
    check_files(folder, files, POINT_MANIFEST)
    check_graph(folder)
    try:
        return ExportedPoints(folder, form, name, identity(files, calibrated=True))
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as e:
        reason = " ".join(str(e).split())[:160]
        raise InputError(f"{folder}: damaged, it cannot be loaded ({reason})") from None
