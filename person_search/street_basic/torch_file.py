"""Read the tensors of a PyTorch file without PyTorch, and without running code.

Files of ``torch.save`` from before its version 1.6: a magic number, a version, a description of the
machine, the saved object, the names of its storages, each a pickle, then the storages themselves,
each behind its count of numbers. A pickle can call any function; here it can call none but those
that make an `OrderedDict` and describe a tensor.
"""

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(content: bytes, name: str) -> dict[str, np.ndarray]:
    """Read a file of tensors by name, a ``state_dict``.

    Args:
        content: of the file.
        name: of it, for messages.

    Returns:
        Each tensor of float32 or int64 by its name.

    Raises:
        ValueError: if it is no such file, damaged, or its pickle wants to run code; says which.
    """
    file = io.BytesIO(content)
    try:
        magic, version, machine, saved, keys = (_TensorUnpickler(file).load() for _ in range(5))
        _check_head(magic, version, machine)
        storages = _read_storages(file, content, _storages_of(saved), keys)
        return {key: _as_array(tensor, storages, key) for key, tensor in saved.items()}
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    # What a damaged or hostile pickle raises is of any kind.
    except Exception as error:
        raise ValueError(
            f"{name} is no file of PyTorch's tensors, or damaged: {error!r}"
        ) from error


class _TensorUnpickler(pickle.Unpickler):
    """Knows the names that a file of tensors needs, and refuses every other one."""

    def find_class(self, module: str, name: str) -> Any:
        # As pickles write them; the format's own words, whatever they are called in PyTorch.
        known = {
            "collections OrderedDict": OrderedDict,
            "torch._utils _rebuild_tensor_v2": _describe,
            # A text cannot be called.
            **{f"torch {storage}": storage for storage in _STORAGES},
        }
        if f"{module} {name}" in known:
            return known[f"{module} {name}"]
        raise ValueError(
            f"its pickle asks for {module}.{name}, which tensors do not need; it is not run"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        what, kind, key, _, count, _ = pid
        if what != "storage" or kind not in _STORAGES or not isinstance(count, int) or count < 0:
            raise ValueError(f"its pickle refers to {pid!r}; expected a storage of numbers")
        return _Storage(str(key), np.dtype(_STORAGES[kind]), count)


def _describe(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """Stand in for the function that makes a tensor: keep what it is told."""
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(f"a tensor of {storage!r}, offset {offset!r}, shape {shape!r}")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _check_head(magic: Any, version: Any, machine: Any) -> None:
    if magic != _MAGIC or version != _VERSION:
        raise ValueError(
            f"it begins with {magic!r}, version {version!r}; expected a file of torch.save's "
            f"first format, {_MAGIC:#x}, version {_VERSION}"
        )
    if not isinstance(machine, Mapping) or machine.get("little_endian") is not True:
        raise ValueError("its numbers were written by a machine of another byte order")


def _storages_of(saved: Any) -> dict[str, _Storage]:
    if not isinstance(saved, OrderedDict):
        raise ValueError(f"it holds a {type(saved).__name__}; expected tensors by name")
    for key, tensor in saved.items():
        if not isinstance(key, str) or not isinstance(tensor, _Tensor):
            raise ValueError(f"{key!r} is a {type(tensor).__name__}; expected a tensor")
    return {tensor.storage.key: tensor.storage for tensor in saved.values()}


def _read_storages(
    file: io.BytesIO, content: bytes, storages: Mapping[str, _Storage], keys: Any
) -> dict[str, np.ndarray]:
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise ValueError("its list of storages is not that of its tensors")
    arrays = {}
    at = file.tell()
    for key in map(str, keys):
        storage = storages[key]
        count = int.from_bytes(content[at : at + 8], "little")
        size = storage.count * storage.dtype.itemsize
        if count != storage.count or at + 8 + size > len(content):
            raise ValueError(
                f"it is cut off or damaged: {len(content) - at} bytes are left of a storage of "
                f"{storage.count} numbers, which says it has {count}"
            )
        arrays[key] = np.frombuffer(content, storage.dtype, storage.count, at + 8)
        at += 8 + size
    return arrays


def _as_array(tensor: _Tensor, storages: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    # Axes of length 1 may have any stride.
    expected, told = [], []
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.strides, strict=True)):
        if size != 1:
            expected.append(math.prod(tensor.shape[axis + 1 :]))
            told.append(stride)
    count = math.prod(tensor.shape)
    if told != expected or tensor.offset + count > tensor.storage.count:
        raise ValueError(
            f"{key} of shape {tensor.shape} has strides {tensor.strides} from {tensor.offset} in "
            f"{tensor.storage.count} numbers; expected them in a row, within"
        )
    numbers = storages[tensor.storage.key][tensor.offset : tensor.offset + count]
    return numbers.reshape(tensor.shape)
