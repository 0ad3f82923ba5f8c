"""Read the weights of a TensorFlow graph without TensorFlow.

A frozen graph is a protocol buffer, ``GraphDef``, in which every weight is a node ``Const``. Of its
messages this reads what the weights need, by the public numbers of the fields and the wire format:
https://protobuf.dev/programming-guides/encoding.
"""

import math
from collections.abc import Iterator

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Numbers of the fields of GraphDef, NodeDef, its map of attributes, AttrValue, TensorProto,
# TensorShapeProto and its Dim.
_NODE = 1
_NODE_NAME, _NODE_OP, _NODE_ATTRIBUTE = 1, 2, 5
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_ATTRIBUTE_TENSOR = 8
_TENSOR_TYPE, _TENSOR_SHAPE, _TENSOR_CONTENT, _TENSOR_FLOATS = 1, 2, 4, 5
_SHAPE_DIM, _DIM_SIZE = 2, 1
_FLOAT32 = 1

Value = int | memoryview
"""Of a field: a number, or the bytes of a text, message or list."""


def read_constants(content: bytes | memoryview, name: str) -> dict[str, np.ndarray]:
    """Read the constants of a frozen graph.

    Args:
        content: of the file.
        name: of it, for messages.

    Returns:
        Each float32 constant by the name of its node, in the shape it has in TensorFlow; those of
        other types, which are no weights, are left out.

    Raises:
        ValueError: if it is no graph, or damaged.
    """
    constants: dict[str, np.ndarray] = {}
    try:
        for number, node in _fields(memoryview(content)):
            if number == _NODE:
                constants.update(_read_node(_message(node)))
    except ValueError as error:
        raise ValueError(f"{name} is no frozen graph of TensorFlow, or damaged: {error}") from error
    return constants


def _read_node(content: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    """Give the name and the value of a node that is a float32 constant."""
    name = op = ""
    tensors = []
    for number, value in _fields(content):
        if number == _NODE_NAME:
            name = _text(value)
        elif number == _NODE_OP:
            op = _text(value)
        elif number == _NODE_ATTRIBUTE:
            entry = dict(_fields(_message(value)))
            if _text(entry.get(_ENTRY_KEY, memoryview(b""))) == "value":
                attribute = dict(_fields(_message(entry[_ENTRY_VALUE])))
                tensors.append(_message(attribute.get(_ATTRIBUTE_TENSOR, memoryview(b""))))
    if op != "Const":
        return
    for tensor in tensors:
        constant = _read_tensor(tensor, name)
        if constant is not None:
            yield name, constant


def _read_tensor(content: memoryview, name: str) -> np.ndarray | None:
    kind, shape, raw, floats = 0, [], memoryview(b""), []
    for number, value in _fields(content):
        if number == _TENSOR_TYPE:
            kind = _number(value)
        elif number == _TENSOR_SHAPE:
            dims = [_message(dim) for n, dim in _fields(_message(value)) if n == _SHAPE_DIM]
            shape = [_number(dict(_fields(dim)).get(_DIM_SIZE, 0)) for dim in dims]
        elif number == _TENSOR_CONTENT:
            raw = _message(value)
        elif number == _TENSOR_FLOATS:
            # Packed into one field, or a field each.
            floats.append(_message(value))
    if kind != _FLOAT32:
        return None
    count = math.prod(shape)
    stored = raw if len(raw) else b"".join(floats)
    if len(stored) == 4 and count:
        # One number stands for all.
        return np.full(shape, np.frombuffer(stored, "<f4")[0], np.float32)
    if len(stored) != 4 * count:
        raise ValueError(f"the constant {name} of shape {shape} has {len(stored)} bytes")
    return np.frombuffer(stored, "<f4").astype(np.float32).reshape(shape)


def _fields(content: memoryview) -> Iterator[tuple[int, Value]]:
    """Give the number and value of each field of a message."""
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        kind = key & 7
        if kind == _VARINT:
            number, at = _read_varint(content, at)
            yield key >> 3, number
            continue
        if kind == _BYTES:
            size, at = _read_varint(content, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of the unknown wire type {kind} at byte {at}")
        if at + size > len(content):
            raise ValueError(f"a field of {size} bytes where {len(content) - at} are left")
        yield key >> 3, content[at : at + size]
        at += size


def _read_varint(content: memoryview, at: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    result = 0
    for shift in range(0, 64, 7):
        if at >= len(content):
            raise ValueError("it ends within a number")
        byte = content[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise ValueError(f"a number of more than 64 bits at byte {at}")


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError(f"the number {value} where a message was expected")
    return value


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{len(value)} bytes where a number was expected")
    return value


def _text(value: Value) -> str:
    return bytes(_message(value)).decode()
