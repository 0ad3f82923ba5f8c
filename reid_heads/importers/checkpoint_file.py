"""Checkpoints of unknown origin, read without running code that may be in them."""

import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reid_heads.importers.first_bytes import check_checkpoint
from reid_heads.safetensors_file import SUFFIX, read_safetensors
from reid_heads.torch_file import DamagedFileError, advise_trust, load_torch_file

WRAPPERS = ("model", "state_dict", "model_state_dict")
"""Where checkpoints keep the weights, beside what only training needs."""

BROKEN = (
    OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, AttributeError,
    AssertionError, ArithmeticError, MemoryError, struct.error, pickle.UnpicklingError,
)  # fmt: skip
"""What PyTorch raises of a damaged file, which differs with the place of the damage."""

_PARALLEL = "module."
_OPTIMIZER = {"state", "param_groups"}


@dataclass(frozen=True)
class CheckpointFile:
    """The weights in a checkpoint."""

    path: str
    """Of the file."""

    state: dict[str, Tensor]
    """On the CPU, floating point in float32, finite; without the prefix of DataParallel."""

    passed_over: dict[str, str]
    """What the file holds besides, by name, and what it is taken for."""


def read_checkpoint(path: str | os.PathLike[str]) -> CheckpointFile:
    """Read the weights of a PyTorch checkpoint or a safetensors file, and nothing that could run.

    Weights may lie in the file as they are or under "model" or "state_dict", and may carry the
    prefix "module." that DataParallel gives them.

    Args:
        path: of a file that ``torch.save`` wrote, or one that ends in ``.safetensors``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no checkpoint, only a part of one, holds code, holds no weights,
            or weights that are NaN or infinite.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no checkpoint {path}; check its name")
    if path.endswith(SUFFIX):
        content: Any = read_safetensors(path)
    else:
        check_checkpoint(path)
        content = _load(path)
    state, passed_over = find_weights(path, content)
    state = {name.removeprefix(_PARALLEL): _as_tensor(value) for name, value in state.items()}
    check_finite(path, state)
    return CheckpointFile(path, state, passed_over)


def check_finite(path: str, state: Mapping[str, Tensor]) -> None:
    """Raise a ValueError that names weights which are NaN or infinite."""
    broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(
            f"{path} holds weights that are NaN or infinite: {listed(broken)}; the training that "
            "wrote it had diverged, take an earlier checkpoint of it"
        )


def listed(names: list[str], limit: int = 5) -> str:
    """Return names for a message, the first of them and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _load(path: str) -> Any:
    try:
        # torchreid keeps the rank-1 rate beside the weights, a number of numpy's.
        with torch.serialization.safe_globals(_numpy_numbers()):
            return load_torch_file(path)
    except pickle.UnpicklingError as error:
        if unsafe := _foreign_classes(path, error):
            raise ValueError(
                f"{path} holds more than weights: reading it would run code of {unsafe}. Write the "
                "weights alone where that code is at home: torch.save(model.state_dict(), FILE); "
                f"or, {advise_trust('the file')}"
            ) from error
        raise _no_checkpoint(path) from error
    except (PermissionError, DamagedFileError):
        raise
    except BROKEN as error:
        raise _no_checkpoint(path) from error


def _no_checkpoint(path: str) -> ValueError:
    size = os.path.getsize(path)
    return ValueError(
        f"{path} is not a checkpoint of PyTorch, or only a part of one ({size} bytes); expected a "
        "file that torch.save wrote: copy it again and compare its size"
    )


def _numpy_numbers() -> list[Any]:
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64)]
    # Under numpy's name of the module before version 2, too.
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *kinds]


def _foreign_classes(path: str, error: Exception) -> str:
    """Return the names of what a file would import, "" where that is not why it was refused."""
    message = str(error)
    if zipfile.is_zipfile(path):
        try:
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except (*BROKEN, zipfile.BadZipFile):
            names = []
        if names:
            return listed(sorted(names))
    # Files of before PyTorch 1.6 cannot be asked.
    marker = "GLOBAL "
    return message.split(marker, 1)[1].split()[0] if marker in message else ""


def find_weights(path: str, content: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Find the weights in what a file holds.

    Args:
        path: of the file, for messages.
        content: what ``torch.load`` gave.

    Returns:
        Tensors or arrays by their names; names of all else, and what it is taken for.

    Raises:
        ValueError: if there are no weights in it.
    """
    passed_over: dict[str, str] = {}
    around: list[Mapping[Any, Any]] = []
    for _ in range(3):
        if not isinstance(content, Mapping):
            raise ValueError(
                f"{path} holds a {type(content).__name__}; expected weights by their names, or a "
                f"dictionary with them under one of {', '.join(map(repr, WRAPPERS))}"
            )
        inner = next((w for w in WRAPPERS if isinstance(content.get(w), Mapping)), None)
        if inner is None:
            break
        others = [str(name) for name in content if name != inner]
        passed_over.update({name: "no weights of the network" for name in others})
        around.append(content)
        content = content[inner]
    weights = {str(k): v for k, v in content.items() if isinstance(v, (Tensor, np.ndarray))}
    if not weights:
        raise ValueError(
            f"{path} holds no weights of a network, {_what_instead([*around, content])}; expected "
            "tensors by their names, or a dictionary with them under one of "
            f"{', '.join(map(repr, WRAPPERS))}"
        )
    passed_over.update(
        {str(name): "no weights of the network" for name in content if str(name) not in weights}
    )
    return weights, passed_over


def _what_instead(levels: list[Mapping[Any, Any]]) -> str:
    """Say what a file without weights holds, of dictionaries in each other, outermost first."""
    if any(map(_holds_optimizer, levels)):
        return "only the state of an optimizer, which a training needs to go on"
    if levels[-1]:
        return f"only {listed([str(name) for name in levels[-1]])}"
    return "only an empty dictionary" + (" in their place" if len(levels) > 1 else "")


def _holds_optimizer(content: Mapping[Any, Any]) -> bool:
    return any(
        isinstance(part, Mapping) and set(part) >= _OPTIMIZER
        for part in (content, *content.values())
    )


def _as_tensor(value: Tensor | np.ndarray) -> Tensor:
    tensor = torch.as_tensor(value).detach()
    return tensor.float() if tensor.is_floating_point() else tensor
