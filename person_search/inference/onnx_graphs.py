"""Change the graph of an exported model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from person_search.inference.network import Limits
from reid_heads.onnx_files import import_package


def keep_outputs(content: bytes, names: Sequence[str]) -> bytes:
    """Return the part of a model that leads to some of its outputs.

    onnxruntime computes the whole graph whatever outputs are asked for.

    Args:
        content: of the ONNX file.
        names: of the outputs.
    """
    model = import_package("onnx").load_from_string(content)
    graph = model.graph
    needed = set(names)
    kept = []
    # Nodes are in an order of computation.
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed |= _names_read(node)
    weights = [weight for weight in graph.initializer if weight.name in needed]
    outputs = [output for output in graph.output if output.name in names]
    parts = ((graph.node, kept[::-1]), (graph.initializer, weights), (graph.output, outputs))
    for field, items in parts:
        del field[:]
        field.extend(items)
    return bytes(model.SerializeToString())


def _names_read(node: Any) -> set[str]:
    """Return what a node reads, also inside the branches of a condition."""
    names = set(node.input)
    for attribute in node.attribute:
        for branch in (attribute.g, *attribute.graphs):
            names |= {output.name for output in branch.output}
            names = names.union(*(_names_read(inner) for inner in branch.node))
    return names


def raise_limits(content: bytes, limits: Limits) -> bytes | None:
    """Return an exported file with `Limits.raised`.

    A limit is the end of a slice: of the proposals, or of the people, that non-maximum suppression
    has left, by falling score. All else stays as it is, so that the first boxes do.

    Args:
        content: of the ONNX file.
        limits: as they were built into its graph.

    Returns:
        None where these slices are not found, or others look like them.
    """
    model = import_package("onnx").load_from_string(content)
    raised = limits.raised()
    wanted = (
        ("/proposal_generator/", limits.proposals, raised.proposals),
        ("/roi_heads/", limits.detections, raised.detections),
    )
    for scope, old, new in wanted:
        ends = _slice_ends(model.graph, scope, old)
        if len(ends) != 1:
            return None
        (end,) = ends
        end.CopyFrom(import_package("onnx").numpy_helper.from_array(np.array([new], np.int64)))
    return bytes(model.SerializeToString())


def _slice_ends(graph: Any, scope: str, value: int) -> list[Any]:
    """Return the constants of a value which are the ends of slices in a module of the network."""
    to_array = import_package("onnx").numpy_helper.to_array
    slices = [x for x in graph.node if x.op_type == "Slice" and x.name.startswith(scope)]
    names = {node.input[2] for node in slices}
    constants = [
        node.attribute[0].t
        for node in graph.node
        if node.op_type == "Constant" and node.output[0] in names
    ]
    return [x for x in constants if to_array(x).tolist() == [value]]
