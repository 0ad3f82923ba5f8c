"""Graphs written by the protobuf classes that TensorBoard has of TensorFlow's formats."""

import numpy as np
import pytest
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_INT32

from person_search.street_basic.tf_graph import read_constants

WEIGHTS = np.arange(6, dtype=np.float32).reshape(1, 2, 3) - 2.5


def add_constant(graph, name, shape, dtype=DT_FLOAT):
    node = graph.node.add(name=name, op="Const")
    node.attr["dtype"].type = dtype
    tensor = node.attr["value"].tensor
    tensor.dtype = dtype
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def make_graph():
    graph = GraphDef()
    graph.versions.producer = 300
    add_constant(graph, "weights", WEIGHTS.shape).tensor_content = WEIGHTS.tobytes()
    add_constant(graph, "listed", (2,)).float_val.extend([0.5, -1e20])
    add_constant(graph, "scalar", ()).float_val.append(3.0)
    add_constant(graph, "same", (2, 2)).float_val.append(7.0)
    add_constant(graph, "empty", (0, 4))
    add_constant(graph, "axis", (), DT_INT32).int_val.append(-1)
    convolution = graph.node.add(name="convolution", op="Conv2D", input=["image", "weights"])
    convolution.attr["strides"].list.i.extend([1, 2, 2, 1])
    convolution.attr["alpha"].f = 0.1
    return graph


def test_constants_are_read_as_tensorflow_wrote_them():
    constants = read_constants(make_graph().SerializeToString(), "x.pb")
    assert list(constants) == ["weights", "listed", "scalar", "same", "empty"]
    np.testing.assert_array_equal(constants["weights"], WEIGHTS)
    np.testing.assert_array_equal(constants["listed"], np.float32([0.5, -1e20]))
    np.testing.assert_array_equal(constants["scalar"], np.float32(3))
    np.testing.assert_array_equal(constants["same"], np.full((2, 2), 7, np.float32))
    assert constants["empty"].shape == (0, 4)
    assert {x.dtype for x in constants.values()} == {np.dtype(np.float32)}


def test_a_graph_that_is_cut_off_is_refused_wherever_it_is_cut():
    content = make_graph().SerializeToString()
    ends = 0
    for end in range(1, len(content)):
        try:
            constants = read_constants(content[:end], "x.pb")
        except ValueError as error:
            assert str(error).startswith("x.pb is no frozen graph of TensorFlow, or damaged: ")
        else:
            # Between two nodes nothing tells that more was there: the names that are missing do.
            assert len(constants) <= 5
            ends += 1
    assert ends <= len(make_graph().node) + 1


def test_a_constant_of_too_few_numbers_is_named():
    graph = GraphDef()
    add_constant(graph, "weights", (2, 3)).tensor_content = b"\0" * 20
    with pytest.raises(ValueError, match=r"constant weights of shape \[2, 3\] has 20 bytes"):
        read_constants(graph.SerializeToString(), "x.pb")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 a zip file", "fields? of|wire type|number"),
        (b"\x0b", "wire type 3"),
        (b"\x08\x05", "the number 5 where a message was expected"),
        (b"\x0a" + b"\xff" * 10, "more than 64 bits"),
    ],
)
def test_what_is_no_graph_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        read_constants(content, "x.pb")
