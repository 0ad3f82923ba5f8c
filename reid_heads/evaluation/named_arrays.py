"""Read the arrays of a ``.npz`` file by name, with errors that name file and array."""

import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

BROKEN_FILE = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged archive may raise."""

Arrays = TypeVar("Arrays", bound="DataclassInstance")


def load_named_arrays(
    path: str | os.PathLike[str], kind: type[Arrays], title: str, hint: str = ""
) -> Arrays:
    """Read the fields of a dataclass of arrays, which checks them, from a ``.npz`` file.

    Args:
        path: the file; pickled objects in it are refused.
        kind: the dataclass.
        title: what the file holds, for the error messages.
        hint: what else to say of a file that lacks an array.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such archive, lacks an array or an array breaks a rule; names file
            and array.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such {title} file. Write one with "
            "`python -m reid_heads.train_net --eval-only`."
        )
    names = [field.name for field in fields(kind)]
    try:
        return kind(**read_arrays(path, names, hint))
    except BROKEN_FILE as error:
        raise ValueError(f"{path}: {error}") from error


def read_arrays(path: Path, names: Sequence[str], hint: str = "") -> dict[str, np.ndarray]:
    """Read named arrays from a ``.npz`` file.

    Args:
        path: the file; pickled objects in it are refused.
        names: of the arrays; others are passed over.
        hint: what else to say of a file that lacks one.

    Raises:
        ValueError: If it is no such archive or lacks an array; a damaged file raises any of
            ``BROKEN_FILE``. The messages do not name the file.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("no .npz archive of named arrays; broken, or written by another tool?")
    with np.load(path, allow_pickle=False) as archive:
        missing = [name for name in names if name not in archive.files]
        if missing:
            raise ValueError(
                f"no array named {', '.join(missing)}; expected {', '.join(names)}{hint}"
            )
        return {name: _read_array(archive, name) for name in names}


def _read_array(archive: Any, name: str) -> np.ndarray:
    try:
        array: np.ndarray = archive[name]
    except ValueError as error:
        # NumPy's own message, on pickled objects, does not say which array.
        raise ValueError(f"{name}: {error}") from error
    return array
