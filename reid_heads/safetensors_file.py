"""Weights as safetensors: a file of numbers and names, in which nothing can run."""

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reid_heads.atomic_file import atomic_file

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
"""By which such a file is told from a checkpoint."""


def write_safetensors(
    path: str | os.PathLike[str], state: Mapping[str, "Tensor"], metadata: Mapping[str, str]
) -> None:
    """Write tensors, whole or not at all.

    Args:
        path: of the file.
        state: tensors by name, of any device.
        metadata: what the file says of itself.

    Raises:
        ModuleNotFoundError: without the package ``safetensors``.
    """
    torch_files = importlib.import_module("safetensors.torch")
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with atomic_file(path) as file:
        file.write(torch_files.save(tensors, {"format": "pt", **metadata}))


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, "Tensor"]:
    """Read the tensors of a file, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without the package ``safetensors``.
        ValueError: if it is no such file, or only a part of one.
    """
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read what a file says of itself; raises as `read_safetensors` does."""
    with _open(path) as file:
        return dict(file.metadata() or {})


def _open(path: str | os.PathLike[str]) -> Any:
    package = importlib.import_module("safetensors")
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return package.safe_open(path, framework="pt", device="cpu")
    except package.SafetensorError as error:
        raise ValueError(
            f"{path} is no safetensors file, or only a part of one "
            f"({os.path.getsize(path)} bytes; {error}); copy or fetch it again"
        ) from error
