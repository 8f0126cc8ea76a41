"""From a signature of a generator to an ONNX graph, by tf2onnx.

The whole graph becomes ONNX, with its loops and its integer random numbers: the same seed gives the
same events. Opset 18 is the first with bitwise operations and with maxima of scattered values.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import onnx
import tensorflow as tf
from tf2onnx.optimizer import identity_optimizer, optimize_graph
from tf2onnx.tf_loader import from_function, tf_optimize
from tf2onnx.tfonnx import process_tf_graph

from kerasgen.errors import InputError
from kerasgen.serving.onnx_operations import HANDLERS

OPSET = 18
OUTPUT = "_out"
ROWS = "N"  # name of the first dimension of inputs and outputs, which is free


def converted(function: Any) -> onnx.ModelProto:
    """The ONNX model of a ``tf.function`` with an input signature.

    Inputs and outputs keep their names, types and shapes; but an output with the name of an input,
    which ONNX forbids, has OUTPUT appended.

    Args:
        function: of a generator, see ``Served.functions``.

    Raises:
        InputError: an operation that has no equivalent in ONNX.
    """
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    concrete = function.get_concrete_function()
    frozen, inputs = without_state(concrete)
    outputs = [x.name for x in concrete.outputs]
    names = {name: name.split(":")[0] for name in inputs}
    taken = set(names.values())
    for name, x in concrete.structured_outputs.items():
        names[x.name] = name + OUTPUT if name in taken else name
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        found = process_tf_graph(
            graph, opset=OPSET, custom_op_handlers=HANDLERS, input_names=inputs,
            output_names=outputs, tensors_to_rename=names,
        )  # fmt: skip
    # The only optimiser of tf2onnx that is needed: ONNX Runtime optimises what it loads.
    found = optimize_graph(found, False, {"remove_identity": identity_optimizer.IdentityOptimizer})
    model = found.make_model(concrete.name)
    name_dimensions(model.graph)
    keep_empty_dimensions(model.graph)
    drop_unused_constants(model.graph)
    check_operations(model)
    return model


def without_state(concrete: Any) -> tuple[Any, list[str]]:
    """The graph of a function with all that it reads from outside as constants.

    Args:
        concrete: function of TensorFlow.

    Returns:
        ``GraphDef``, and the names of its inputs.
    """
    captured = {
        inner.op.name: outer
        for outer, inner in concrete.graph.captures
        if inner.dtype != tf.resource
    }
    inputs = [x.name for x in concrete.inputs if x.dtype != tf.resource]
    outputs = [x.name for x in concrete.outputs]
    frozen = from_function(concrete, inputs, outputs)
    for node in frozen.node:
        if node.name in captured:  # a placeholder
            tensor = tf.make_tensor_proto(captured[node.name].numpy())
            node.op = "Const"
            node.attr.clear()
            node.attr["dtype"].type = tensor.dtype
            node.attr["value"].tensor.CopyFrom(tensor)
    own = [name for name in inputs if name.split(":")[0] not in captured]
    with tf.Graph().as_default():
        frozen = tf_optimize(own, outputs, frozen)
    # Shapes that were unknown before constants were known hide those of the loops that call.
    for f in frozen.library.function:
        for argument in f.arg_attr.values():
            if any(x.unknown_rank for x in argument.attr["_output_shapes"].list.shape):
                del argument.attr["_output_shapes"]
    return frozen, own


def name_dimensions(graph: onnx.GraphProto) -> None:
    """Name the first dimension of every input and output ROWS, and leave other free ones free."""
    for tensor in (*graph.input, *graph.output):
        for place, dimension in enumerate(tensor.type.tensor_type.shape.dim):
            if not dimension.HasField("dim_value"):
                dimension.dim_param = ROWS if place == 0 else f"{tensor.name}_{place}"


def keep_empty_dimensions(graph: onnx.GraphProto) -> None:
    """Let a dimension of 0 in a computed shape mean 0, as in TensorFlow, not "as before"."""
    constants = {x.name for x in graph.initializer}
    for node in nodes(graph):
        constants |= {x.name for a in node.attribute for x in a.g.initializer}
        constants |= set(node.output) if node.op_type == "Constant" else set()
    for node in nodes(graph):
        if node.op_type == "Reshape" and node.input[1] not in constants:
            node.attribute.append(onnx.helper.make_attribute("allowzero", 1))


def drop_unused_constants(graph: onnx.GraphProto) -> None:
    """Remove constants that no node reads, about which ONNX Runtime would warn."""
    inner = [a.g for node in nodes(graph) for a in node.attribute if a.HasField("g")]
    used = {name for node in nodes(graph) for name in node.input}
    used |= {x.name for g in (graph, *inner) for x in g.output}
    for g in (graph, *inner):
        kept = [x for x in g.initializer if x.name in used]
        del g.initializer[:]
        g.initializer.extend(kept)


def check_operations(model: onnx.ModelProto) -> None:
    """Raise InputError if a graph has an operation that ONNX does not have."""
    unknown = {
        node.op_type
        for node in nodes(model.graph)
        if node.domain or not onnx.defs.has(node.op_type, OPSET)
    }
    if unknown:
        raise InputError(
            f"no ONNX export: {', '.join(sorted(unknown))} of TensorFlow have no equivalent in ONNX"
        )


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a graph and of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from nodes(attribute.g)
