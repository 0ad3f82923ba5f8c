"""ONNX files with the names and shapes of public face networks, and made-up weights."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CELL = 28
"""Pixels a side over which the made-up face net takes a weighted sum."""


def save_graph(path, nodes, inputs, outputs, weights):
    """Write a graph of nodes; inputs and outputs are name -> shape, weights name -> array."""
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in x.items()]
        for x in (inputs, outputs)
    ]
    values = [numpy_helper.from_array(np.asarray(x), name) for name, x in weights.items()]
    graph = helper.make_graph(nodes, "made up", *ends, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_arcface(path, batch="None", size=512, normalises=False, spoil=None, seed=0):
    """A file with insightface's names: "input.1" (N, 3, 112, 112) -> "683" (N, D).

    Returns:
        The weights: convolution (4, 3, 28, 28) and projection (D, 64).
    """
    rng = np.random.default_rng(seed)
    conv = rng.normal(0, 0.02, (4, 3, CELL, CELL)).astype(np.float32)
    project = rng.normal(size=(size, 64)).astype(np.float32)
    if spoil is not None:
        project[:] = spoil
    weights = {"conv": conv, "project": project}
    nodes, first = [], "input.1"
    if normalises:
        # As files from MXNet begin.
        weights |= {"m": np.float32(127.5), "s": np.float32(1 / 127.5)}
        nodes.append(helper.make_node("Sub", ["input.1", "m"], ["a"], name="_minusscalar0"))
        nodes.append(helper.make_node("Mul", ["a", "s"], ["b"], name="_mulscalar0"))
        first = "b"
    nodes += [
        helper.make_node("Conv", [first, "conv"], ["c"], name="Conv_0", strides=[CELL, CELL]),
        helper.make_node("Flatten", ["c"], ["d"], name="Flatten_1"),
        helper.make_node("Gemm", ["d", "project"], ["683"], name="Gemm_2", transB=1),
    ]
    save_graph(path, nodes, {"input.1": [batch, 3, 112, 112]}, {"683": [batch, size]}, weights)
    return conv, project


def arcface_rows(conv, project, faces):
    """What the made-up net gives for faces (N, 112, 112, 3) uint8 RGB, cell by cell."""
    rows = []
    for face in faces:
        values = (face.astype(np.float64) - 127.5) / 127.5
        sums = [
            (kernel * values[y : y + CELL, x : x + CELL].transpose(2, 0, 1)).sum()
            for kernel in conv
            for y in range(0, 112, CELL)
            for x in range(0, 112, CELL)
        ]
        rows.append(project @ np.array(sums))
    return np.array(rows)
