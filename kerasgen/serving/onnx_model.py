"""An exported ONNX model, run by ONNX Runtime; neither TensorFlow nor Keras is imported.

``OnnxModel("exported/onnx/pxd_clusters/1").digits(sensor=..., seed=...)`` has a method for each
signature, with numpy arrays by name. It can replace a generator
(``kerasgen.data.pixel_events.one_event``, ``kerasgen.serving.overlay``); ``load_onnx`` adds name,
schema and algorithm of the model.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.errors import InputError
from kerasgen.serving.exported import (
    Exported,
    attributes_and_files,
    described,
    not_a_manifest,
)
from kerasgen.serving.versions import (
    MANIFEST,
    ONNX_GRAPH,
    check_files,
    newest_version,
    read_manifest,
)

DEFAULT = "serving_default"


class MissingSignature(InputError, AttributeError):
    """A signature that the files of a model do not have."""


class OnnxModel:
    """The signatures of an exported model, one method each, called with keywords.

    Args:
        folder: of a version, or of the versions of a model, of which the newest is loaded.
        threads: of one operation.

    Attributes:
        manifest: what ``manifest.json`` says.
        conditions: those of the generator that a signature takes.

    Raises:
        InputError: onnxruntime is not installed, no manifest, or a damaged file.
    """

    def __init__(self, folder: Path | str, threads: int = 1) -> None:
        self.folder = newest_version(Path(folder), MANIFEST)
        self.threads = threads
        self.manifest = read_manifest(self.folder)
        if self.manifest.get("format") != "onnx":
            raise InputError(f"{self.folder}: is no ONNX export (kerasgen export --format onnx)")
        attributes, files = attributes_and_files(self.folder, self.manifest)
        vars(self).update(attributes)
        try:
            inputs = {k: set(x["inputs"]) for k, x in self.manifest["signatures"].items()}
        except (KeyError, TypeError, AttributeError) as e:
            raise not_a_manifest(self.folder / MANIFEST, e) from None
        known = set().union(*inputs.values())
        self.conditions = tuple(x for x in attributes["conditions"] if x in known)
        check_files(self.folder, files, MANIFEST)
        self.runtime = onnx_runtime(self.folder)
        self._sessions: dict[str, Any] = {}
        for name in inputs:
            setattr(self, name, partial(self.call, name))
        if DEFAULT in inputs:  # it has a name of its own in the generator
            setattr(self, str(self.manifest.get("default", DEFAULT)), partial(self.call, DEFAULT))

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(vars(self).get("manifest", {}).get("signatures", ())) or "none"
        raise MissingSignature(f"{vars(self).get('folder')}: has no signature {name!r} ({known})")

    def call(self, signature: str, **inputs: Any) -> dict[str, NDArray[Any]]:
        """Outputs of a signature by name.

        Args:
            signature: name of the signature.
            inputs: its inputs by name, converted to the types that it expects.

        Raises:
            InputError: a damaged file, or inputs that do not fit.
        """
        session = self.session(signature)
        types = self.manifest["signatures"][signature]["inputs"]
        if inputs.keys() != types.keys():
            raise InputError(f"{signature} takes {', '.join(types)}, not {', '.join(inputs)}")
        arrays = {name: np.asarray(x, types[name]["type"]) for name, x in inputs.items()}
        rows = {len(x) if x.ndim else 0 for x in arrays.values()}
        if len(rows) != 1:
            shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in arrays.items())
            raise InputError(f"{signature}: {shapes}: all must have equally many rows")
        if rows == {0}:
            raise InputError(f"{signature}: at least one row is needed")
        names = [x.name for x in session.get_outputs()]
        # An output with the name of an input has another one in the file.
        own = [x.removesuffix("_out") if x.removesuffix("_out") in types else x for x in names]
        try:
            return dict(zip(own, session.run(names, arrays), strict=True))
        except Exception as e:  # the classes of its exceptions are not public
            raise InputError(f"{signature}: {one_line(e)}") from None

    def session(self, signature: str) -> Any:
        """The ``onnxruntime.InferenceSession`` of a signature, made when it is first asked for."""
        if signature not in self._sessions:
            file = ONNX_GRAPH if signature == DEFAULT else f"{signature}.onnx"
            self._sessions[signature] = self.new_session(self.folder / file)
        return self._sessions[signature]

    def new_session(self, path: Path) -> Any:
        """An ``onnxruntime.InferenceSession`` on the CPU; operations run one after another.

        Raises:
            InputError: the file is no model that ONNX Runtime can run.
        """
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 4  # errors are exceptions too
        try:
            return self.runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # the classes of its exceptions are not public
            raise InputError(f"{path}: damaged, it cannot be loaded ({one_line(e)})") from None


def onnx_runtime(folder: Path) -> Any:
    """The package onnxruntime; raises InputError, which names the model, if it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"{folder}: needs onnxruntime: pip install 'kerasgen[onnx]'") from None
    return onnxruntime


def load_onnx(folder: Path) -> Exported:
    """Load an ONNX model; arguments and errors as ``OnnxModel``."""
    model = OnnxModel(folder)
    return described(model.folder, model.manifest, model)


def one_line(error: Exception) -> str:
    """The beginning of the text of an error."""
    return " ".join(str(error).split())[:160]
