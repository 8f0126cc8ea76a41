"""What a SavedModel may hold to be loaded: numbers and arithmetic, nothing that acts on a machine.

A graph is a program. TensorFlow runs parts of it while it loads (initialisers) and the rest with
every call, with operations that can read and write files or call Python. Exported models need none
of these, so a file that has one is refused before TensorFlow sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.types_pb2 import DT_STRING
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.serving.versions import GRAPH

# Stateful by TensorFlow's definition, and harmless: variables are read, functions are called.
CALLS = {
    "Assert", "DisableCopyOnRead", "PartitionedCall", "ReadVariableOp", "StatefulPartitionedCall",
    "VarHandleOp", "While", "If", "StatelessWhile", "StatelessIf",
}  # fmt: skip
# Of the functions that save and restore variables alone; loading in Python calls neither.
CHECKPOINT = {
    "AssignVariableOp", "MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename",
    "StaticRegexFullMatch", "StringJoin",
}  # fmt: skip
# They call into the process without being stateful.
FOREIGN = ("PyFunc", "Xla", "TPU", "_")
OBJECTS = {"user_object", "function", "bare_concrete_function", "constant", "variable",
           "captured_tensor"}  # fmt: skip
CLASSES = ("", "tf.TrackableConstant")  # registered classes that rebuild themselves while loading
INITIALISER = "__saved_model_init_op"


def check_graph(folder: Path) -> None:
    """Refuse a SavedModel that does more than arithmetic.

    Raises:
        InputError: not a graph; an operation that TensorFlow does not have, or that reads or
            writes files, calls Python, or keeps a state; something to be run while loading.
    """
    path = folder / GRAPH
    model = SavedModel()
    try:
        model.ParseFromString(path.read_bytes())
        (meta,) = model.meta_graphs
    except (OSError, DecodeError, ValueError) as e:
        raise InputError(
            f"{path}: damaged, it cannot be loaded ({type(e).__name__}: {e})"
        ) from None
    saver = {
        name.split(":")[0]
        for name in (meta.saver_def.save_tensor_name, meta.saver_def.restore_op_name)
    }
    started = runs_while_loading(meta)
    if started:
        raise InputError(f"{path}: refused, it wants to run {started} while it is loaded")
    check_operations(path, operations(meta, saver, used_by_saver=False), CALLS)
    check_operations(path, operations(meta, saver, used_by_saver=True), CALLS | CHECKPOINT)


def runs_while_loading(meta: Any) -> str:
    """What TensorFlow would run while it loads the graph; empty for nothing."""
    objects = meta.object_graph_def.nodes
    if not objects:
        return "the initialisers of TensorFlow 1"
    for node in objects:
        kind = node.WhichOneof("kind")
        if kind not in OBJECTS or node.registered_name not in CLASSES:
            return f"the initialiser of a {node.registered_name or kind}"
    names = {x.name for x in meta.signature_def[INITIALISER].outputs.values()}
    for key, collection in meta.collection_def.items():
        if "init_op" in key or "main_op" in key:
            names |= set(collection.node_list.value)
    names = {name.split(":")[0] for name in names}
    for node in meta.graph_def.node:
        if node.name in names and (node.op != "NoOp" or node.input):
            return f"the operation {node.name} ({node.op})"
    return ""


def operations(meta: Any, saver: set[str], used_by_saver: bool) -> Iterator[tuple[str, str]]:
    """(operation, where it is) of the whole graph, or of what saves and restores variables."""
    graph: GraphDef = meta.graph_def
    library = {f.signature.name: f.node_def for f in graph.library.function}
    start = [n for n in graph.node if (n.name in saver) == used_by_saver]
    todo = functions_of(start)
    if not used_by_saver:
        todo |= set(meta.object_graph_def.concrete_functions)
    yield from ((n.op, n.name) for n in start)
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        seen.add(name)
        yield from ((n.op, f"{name}/{n.name}") for n in library.get(name, ()))
        todo |= functions_of(library.get(name, ())) - seen


def functions_of(nodes: Iterable[Any]) -> set[str]:
    """Names of the functions that nodes call, through any of their attributes."""
    found = set()
    for node in nodes:
        found.add(node.op)  # a function may be called as if it were an operation
        for value in node.attr.values():
            found.add(value.func.name)
            found |= {f.name for f in value.list.func}
    return found


def check_operations(path: Path, found: Iterator[tuple[str, str]], stateful: set[str]) -> None:
    """Raise InputError for the first operation that is not allowed."""
    for op, place in found:
        if not is_arithmetic(op) and op not in stateful:
            raise InputError(
                f"{path}: refused, the operation {op!r} at {place} is not one that an exported "
                "model needs"
            )


def is_arithmetic(op: str) -> bool:
    """Whether TensorFlow has the operation and it only computes numbers from numbers."""
    definition = op_def_registry.get(op)
    if definition is None or definition.is_stateful or any(op.startswith(x) for x in FOREIGN):
        return False
    # Names of files are text, and nothing else in a graph of numbers is.
    return all(a.type != DT_STRING for a in (*definition.input_arg, *definition.output_arg))


def file_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a model but its manifest: {path in the folder: hexadecimal}."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".json")
    return {str(p.relative_to(folder)): checksum(p) for p in paths}


def check_files(folder: Path, expected: dict[str, str], manifest: str) -> None:
    """Raise InputError unless a model has the files that its manifest names, unchanged."""
    for name, value in expected.items():
        if not (folder / name).is_file():
            raise InputError(f"{folder}: incomplete, {name} is missing")
        if checksum(folder / name) != value:
            raise InputError(f"{folder}: damaged, {name} is not the file that {manifest} names")
