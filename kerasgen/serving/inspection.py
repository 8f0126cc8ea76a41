"""Inspection of a SavedModel before it is loaded: only numbers and arithmetic are allowed.

A graph is a program. TensorFlow runs its initialisers while it loads the graph, and the rest with
every call. Operations can read and write files or call Python. Exported models need no initialiser
and no such operation, so that a file that has one is refused before TensorFlow reads it.
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

from kerasgen.errors import InputError
from kerasgen.serving.versions import GRAPH

# Stateful by TensorFlow's definition, but harmless: they read variables and call functions.
CALLS = {
    "Assert", "DisableCopyOnRead", "PartitionedCall", "ReadVariableOp", "StatefulPartitionedCall",
    "VarHandleOp", "While", "If", "StatelessWhile", "StatelessIf",
}  # fmt: skip
# Allowed only in the functions that save and restore variables; loading in Python calls neither.
CHECKPOINT = {
    "AssignVariableOp", "MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename",
    "StaticRegexFullMatch", "StringJoin",
}  # fmt: skip
# Prefixes of operations that call into the process without being stateful.
FOREIGN_PREFIXES = ("PyFunc", "Xla", "TPU", "_")
OBJECT_KINDS = {"user_object", "function", "bare_concrete_function", "constant", "variable",
           "captured_tensor"}  # fmt: skip
# Names of registered classes that are allowed to rebuild themselves while loading.
REGISTERED_CLASSES = ("", "tf.TrackableConstant")
INITIALISER = "__saved_model_init_op"


def check_graph(folder: Path) -> None:
    """Raise unless a SavedModel does nothing but arithmetic.

    Raises:
        InputError: not a graph; an operation that TensorFlow does not have, or that reads or
            writes files, calls Python, or keeps a state; an operation that runs while loading.
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
    initialiser = first_initialiser(meta)
    if initialiser:
        raise InputError(f"{path}: refused, it wants to run {initialiser} while it is loaded")
    check_operations(path, operations(meta, saver, used_by_saver=False), CALLS)
    check_operations(path, operations(meta, saver, used_by_saver=True), CALLS | CHECKPOINT)


def first_initialiser(meta: Any) -> str:
    """The first initialiser that TensorFlow would run while it loads the graph; empty: none.

    Args:
        meta: ``MetaGraphDef``.
    """
    objects = meta.object_graph_def.nodes
    if not objects:
        return "the initialisers of TensorFlow 1"
    for node in objects:
        kind = node.WhichOneof("kind")
        if kind not in OBJECT_KINDS or node.registered_name not in REGISTERED_CLASSES:
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
    """(operation, place) of the operations of a graph and of all functions that they call.

    Args:
        meta: ``MetaGraphDef``.
        saver: names of the nodes that save and restore variables.
        used_by_saver: begin with these nodes; else with all others.
    """
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
    names = set()
    for node in nodes:
        names.add(node.op)  # a function may be called as if it were an operation
        for value in node.attr.values():
            names.add(value.func.name)
            names |= {f.name for f in value.list.func}
    return names


def check_operations(path: Path, used: Iterator[tuple[str, str]], stateful: set[str]) -> None:
    """Raise InputError for the first operation that is not allowed.

    Args:
        path: of the graph.
        used: (operation, place) of the graph.
        stateful: stateful operations that are allowed.
    """
    for op, place in used:
        if not is_arithmetic(op) and op not in stateful:
            raise InputError(
                f"{path}: refused, the operation {op!r} at {place} is not one that an exported "
                "model needs"
            )


def is_arithmetic(op: str) -> bool:
    """Whether the operation is one of TensorFlow's and only computes numbers from numbers."""
    definition = op_def_registry.get(op)
    if (
        definition is None
        or definition.is_stateful
        or any(op.startswith(x) for x in FOREIGN_PREFIXES)
    ):
        return False
    # In a graph of numbers only names of files are strings.
    return all(a.type != DT_STRING for a in (*definition.input_arg, *definition.output_arg))
