"""Pickles of NumPy arrays in plain containers, read without calling what they name.

detectron2's model zoo, and Caffe2's, keep weights so. A pickle can call any function; here it gets
stand-ins for the few names that arrays are made of, and nothing else.
"""

import math
import pickle
from collections import OrderedDict
from typing import Any, BinaryIO

import numpy as np

_KINDS = "biufcSU"
"""Of arrays of values; objects and records are none."""


class _Dtype:
    """Stands for ``numpy.dtype``."""

    def __init__(self, text: Any, *_: Any) -> None:
        self.dtype = np.dtype(str(text))
        if self.dtype.kind not in _KINDS:
            raise pickle.UnpicklingError(f"it holds an array of {self.dtype}; expected numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for ``numpy.ndarray``, and for a number of NumPy's."""

    def __init__(self) -> None:
        self.array: np.ndarray | np.generic | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, raw = state
        self.array = _build(raw, dtype, shape, "F" if is_fortran else "C")


def _build(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("it holds an array without a type")
    # What Python 2 wrote as its str comes as text.
    content = raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
    sizes = tuple(int(size) for size in shape)
    if min(sizes, default=0) < 0 or len(content) != math.prod(sizes) * dtype.dtype.itemsize:
        raise pickle.UnpicklingError(f"it holds {len(content)} bytes for an array of {sizes}")
    return np.frombuffer(content, dtype.dtype).reshape(sizes, order=order).copy(order)  # type: ignore[call-overload,no-any-return]


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: str) -> _Array:
    made = _Array()
    made.array = _build(raw, dtype, shape, order)
    return made


def _scalar(dtype: Any, raw: Any) -> _Array:
    made = _Array()
    made.array = _build(raw, dtype, (), "C")[()]
    return made


def _encode(text: Any, *_: Any) -> bytes:
    """How Python 3 writes bytes for Python 2: as text, one character a byte."""
    return str(text).encode("latin1")


def _no_bytes() -> bytes:
    """How Python 3 writes no bytes for Python 2; by a number it would make as many."""
    return b""


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    # Before NumPy 2 the package was called core.
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (found := _STAND_INS.get((module, name))) is not None:
            return found
        raise ForeignNameError(f"{module}.{name}")


class ForeignNameError(pickle.UnpicklingError):
    """A pickle would import something that arrays are not made of; ``args[0]`` names it."""


def read_plain_pickle(file: BinaryIO) -> Any:
    """Read a pickle that holds arrays, numbers, texts and containers of them, and nothing else.

    Args:
        file: open for reading bytes.

    Returns:
        What was pickled, arrays as arrays of their own memory.

    Raises:
        ForeignNameError: if it would import anything else.
        pickle.UnpicklingError: if it is no pickle, or only a part of one.
    """
    try:
        return _unwrap(_PlainUnpickler(file, encoding="latin1").load())
    except (pickle.UnpicklingError, MemoryError):
        raise
    # What a damaged or hostile pickle raises is of any kind.
    except Exception as error:
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error


def _unwrap(value: Any) -> Any:
    """Put arrays in the place of their stand-ins."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, _Dtype):
        return value.dtype
    if isinstance(value, dict):
        return type(value)((key, _unwrap(part)) for key, part in value.items())
    if isinstance(value, list | tuple):
        return type(value)(_unwrap(part) for part in value)
    return value
