"""Read MATLAB files of versions 4 to 7.3, with errors that name the file.

MATLAB wraps everything: a struct of one row, a cell of cells, a string in a 1x1 cell. The functions
here take any number of such wrappers off.
"""

from pathlib import Path
from typing import Any

import numpy as np

from reid_heads.data.datasets.mat_hdf5 import is_hdf5, load_mat_hdf5
from reid_heads.file_kinds import name_kind

_LARGEST_FLOAT = 2**53


def read_mat(path: Path, *keys: str) -> Any:
    """Read one variable of a MATLAB file.

    Args:
        path: the .mat file.
        *keys: names that the variable may have, the preferred one first.

    Returns:
        The variable under the first of the keys that the file has, with singleton dimensions
        removed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read or has none of the keys.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: is the data set unpacked completely?")
    try:
        content, names = (load_mat_hdf5 if is_hdf5(path) else _load_mat)(path, keys)
    except ImportError as error:
        raise ValueError(
            f"{path} is a MATLAB file of version 7.3, which needs the package h5py: pip install "
            "h5py, or save it in MATLAB with -v7"
        ) from error
    except Exception as error:  # scipy and h5py raise whatever the broken bytes happen to lead to
        with path.open("rb") as file:
            kind = name_kind(file.read(1024))
        if kind is not None:
            raise ValueError(f"{path} is no MATLAB file but {kind}") from error
        raise ValueError(
            f"{path} cannot be read as a MATLAB file of version 4 to 7.3 "
            f"({type(error).__name__}: {error}); download or unpack it again"
        ) from error
    found = [key for key in keys if key in content]
    if not found:
        raise ValueError(
            f"{path} has the keys {sorted(names)}, but none of the expected {list(keys)}"
        )
    return content[found[0]]


def _load_mat(path: Path, keys: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """Read variables of a file of version 4 to 7.2, as `load_mat_hdf5` does of 7.3."""
    # Slow to import, which whoever only lists the data sets is spared.
    from scipy.io import loadmat, whosmat

    content = loadmat(str(path), appendmat=False, squeeze_me=True, variable_names=list(keys))
    if any(key in content for key in keys):
        return content, []
    # Only for the message: listing the keys takes as long as reading a small file.
    return content, [name for name, _, _ in whosmat(str(path), appendmat=False)]


def read_strings(value: Any, path: Path) -> list[str]:
    """Read a cell array of strings, or a table of characters; a single string is a list of one.

    Args:
        value: what `read_mat` returned, or a field of it.
        path: the file, for the error message.

    Raises:
        ValueError: there is something else than text in it.
    """
    if isinstance(value, str):
        return [value]
    array = np.asarray(value)
    if array.size == 0:
        return []
    if array.dtype.kind not in "OU" or (array.dtype.kind == "O" and array.ndim == 0):
        raise ValueError(f"{path}: expected text, got {value!r}")
    if array.dtype.kind == "U":
        # A table of characters: its lines are filled up with blanks.
        return [str(text).rstrip(" ") for text in array.ravel()]
    return [text for item in array.ravel() for text in read_strings(item, path)]


def read_struct(value: Any, path: Path) -> dict[str, Any]:
    """Read a struct of one row as a dict.

    Args:
        value: what `read_mat` returned, or a field of it.
        path: the file, for the error message.

    Returns:
        Field name to value, wrappers of one item removed from it.

    Raises:
        ValueError: it is no struct, or one of several rows.
    """
    value = _unwrap(value)
    names = getattr(getattr(value, "dtype", None), "names", None)
    if names is None or np.size(value) != 1:
        kind = getattr(value, "dtype", type(value).__name__)
        raise ValueError(f"{path}: expected a struct of one row, got {np.size(value)} of {kind}")
    row = np.asarray(value).ravel()[0]
    return {name: _unwrap(row[name]) for name in names}


def read_whole_numbers(value: Any, path: Path, name: str) -> np.ndarray:
    """Read a list of whole numbers, widened to int64 (MATLAB stores them as small integers).

    Args:
        value: what `read_mat` returned, or a field of it.
        path: the file, for the error message.
        name: the variable or field, for the error message.

    Returns:
        (N,) int64 array.

    Raises:
        ValueError: there is something else in it, or numbers so large that floats, in which MATLAB
            keeps them, stand for several each.
    """
    array = np.ravel(_unwrap(value))
    if array.size and (array.dtype.kind not in "biuf" or not (array == np.round(array)).all()):
        raise ValueError(f"{path}: expected whole numbers in {name!r}, got type {array.dtype}")
    if array.size and float(np.abs(array.astype(np.float64)).max()) >= _LARGEST_FLOAT:
        raise ValueError(
            f"{path}: expected whole numbers below 2^53 in {name!r}, got {array.max():g}"
        )
    return array.astype(np.int64)


def _unwrap(value: Any) -> Any:
    while isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.item()
    return value
