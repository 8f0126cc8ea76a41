"""Export of a trained generator as ONNX: one file for each signature, with a manifest.

``model.onnx`` is the default signature, ``<signature>.onnx`` another one. Random numbers are part
of the graph, so that inputs are sensors and seeds, as of the SavedModel. ``manifest.json`` has the
keys of the SavedModel's manifest, and inputs and outputs of every file.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx

from kerasgen.errors import InputError
from kerasgen.models.algorithm import Served
from kerasgen.models.trained import Trained
from kerasgen.serving.onnx_convert import OPSET, OUTPUT, converted
from kerasgen.serving.saved_model import manifest
from kerasgen.serving.versions import MANIFEST, ONNX_GRAPH, file_checksums, new_version

FOLDER = "onnx"  # of all ONNX models: a model server takes every version for a SavedModel
DEFAULT = "serving_default"
LICENCE = "MIT"
# By name of an input or output; others have no text.
MEANINGS = {
    "sensor": "index of the sensor in the geometry, from 0",
    "seed": "run seed and event number; the same pair gives the same event",
    "level": "frequency of background over that of the training events, of all or of each type",
    "adu": "charge in ADU, 0 where no pixel fired; [N, rows, columns]",
    "type": "background type of each pixel or hit, 0 where there is none",
    "status": "0, or 1: unknown sensor, 2: no such level; that row is empty",
    "hits": "row, column, charge in ADU of each fired pixel, padded with -1",
    "points": "three numbers of each point, as stored; the padding is zero",
    "count": "hits or points of each row; -1: there is no such row",
    "label": "class of the set",
    "pt": "transverse momentum of the jet, GeV",
    "jet": "transverse momentum of the jet in GeV, and its pseudorapidity",
    "total": "points of the set before the cut to the stored number",
}


def export_onnx(
    trained: Trained, out: Path, name: str, signatures: list[str] | None = None
) -> tuple[Path, dict[str, str]]:
    """Write the next free ONNX version of a model, below ``onnx`` of the folder of all models.

    Args:
        trained: run with its generator, calibrated or not.
        out: folder of all models, made if missing.
        name: of the model.
        signatures: to write; None: all that ONNX can express, the default one at least.

    Returns:
        The folder of the new version, and by signature why it was left out.

    Raises:
        InputError: ``out`` cannot be a folder; no such signature, or one that ONNX cannot express.
    """
    served = trained.algorithm.served(trained.generator)
    graphs, left_out = converted_signatures(served, signatures)

    def write(folder: Path) -> None:
        table = manifest(trained, served.attributes)
        table["versions"] |= {x: metadata.version(x) for x in ("onnx", "tf2onnx")}
        described = {signature: description(model) for signature, model in graphs.items()}
        for signature, model in graphs.items():
            add_metadata(model, signature, table)
            (folder / file_of(signature)).write_bytes(model.SerializeToString())
        table |= {
            "format": "onnx", "opset": OPSET, "licence": LICENCE, "default": served.default,
            "signatures": described, "left_out": left_out, "files": file_checksums(folder),
        }  # fmt: skip
        (folder / MANIFEST).write_text(json.dumps(table, indent=1) + "\n", "utf-8")

    return new_version(out / FOLDER / name, write), left_out


def converted_signatures(
    served: Served, wanted: list[str] | None
) -> tuple[dict[str, onnx.ModelProto], dict[str, str]]:
    """ONNX models by signature, and why others are not there; see ``export_onnx``."""
    functions = {DEFAULT: served.functions[served.default]}
    functions |= {name: f for name, f in served.functions.items() if name != served.default}
    unknown = set(wanted or ()) - functions.keys()
    if unknown:
        raise InputError(f"no signature {min(unknown)!r} (allowed: {', '.join(sorted(functions))})")
    graphs, left_out = {}, {}
    for name in wanted or functions:
        try:
            graphs[name] = converted(functions[name])
        except InputError as error:
            if wanted or name == DEFAULT:
                raise InputError(f"{name}: {error}") from None
            left_out[name] = str(error)
    return graphs, left_out


def file_of(signature: str) -> str:
    """Name of the file of a signature."""
    return ONNX_GRAPH if signature == DEFAULT else f"{signature}.onnx"


def description(model: onnx.ModelProto) -> dict[str, Any]:
    """Inputs and outputs of a model: type, shape and meaning of each, by name."""
    return {
        side: {
            x.name: {
                "type": onnx.helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type).name,
                "shape": [
                    d.dim_value if d.HasField("dim_value") else d.dim_param
                    for d in x.type.tensor_type.shape.dim
                ],
                "meaning": meaning(x.name),
            }
            for x in tensors
        }
        for side, tensors in (("inputs", model.graph.input), ("outputs", model.graph.output))
    }


def meaning(name: str) -> str:
    """What an input or output is; empty if it is not known."""
    return MEANINGS.get(name.removesuffix(OUTPUT), "")


def add_metadata(model: onnx.ModelProto, signature: str, table: dict[str, Any]) -> None:
    """Write into the model itself what it is; values are JSON.

    Args:
        model: of the signature.
        signature: its name.
        table: manifest.
    """
    model.producer_name, model.producer_version = "kerasgen", table["versions"]["kerasgen"]
    model.graph.name = f"{table['name']}/{signature}"
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.doc_string = meaning(tensor.name)
    names = "name", "recipe", "algorithm", "calibrated", "schema", "attributes", "identity"
    entries = {"signature": signature, "licence": LICENCE} | {x: table[x] for x in names}
    onnx.helper.set_model_props(model, {name: json.dumps(x) for name, x in entries.items()})
