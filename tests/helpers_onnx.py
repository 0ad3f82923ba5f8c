"""Tiny ONNX graphs for tests: constant outputs, or what is simply computed from the picture."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8


def make_model(nodes, inputs, outputs, initializers=None, metadata=None):
    """Return a serialised model; inputs and outputs are name: (type, shape)."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info(name, *spec) for name, spec in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (initializers or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def make_constant_detector(outputs, size=(32, 32), inputs=None, batch=1, metadata=None):
    """Return a detector that gives the same arrays for every picture."""
    shape = [3, *size] if batch is None else [batch, 3, *size]
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in outputs.items()
    ]
    types = {
        name: (helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in outputs.items()
    }
    takes = {"images": (FLOAT, shape), **(inputs or {})}
    return make_model(nodes, takes, types, metadata=metadata)


def make_mean_crop_net(size=(8, 4), batch="batch", metadata=None):
    """Return a crop net that gives the mean of each prepared channel, and 1."""
    nodes = [
        helper.make_node("ReduceMean", ["crops"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceSum", ["means", "axis"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "one"], ["ones"]),
        helper.make_node("Concat", ["means", "ones"], ["embeddings"], axis=1),
    ]
    constants = {
        "axis": np.array([1], np.int64),
        "zero": np.zeros(1, np.float32),
        "one": np.ones(1, np.float32),
    }
    inputs = {"crops": (FLOAT, [batch, 3, *size])}
    return make_model(nodes, inputs, {"embeddings": (FLOAT, [batch, 4])}, constants, metadata)
