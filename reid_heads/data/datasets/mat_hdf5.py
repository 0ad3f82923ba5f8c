"""MATLAB files of version 7.3, which are HDF5, with what scipy would give for one of version 7.

MATLAB's arrays lie there with their axes in reverse. Texts are arrays of character codes, cells and
the fields of struct arrays are arrays of references to what they hold.
"""

from pathlib import Path
from typing import Any

import numpy as np

HEAD = b"\x89HDF\r\n\x1a\n"
"""With which HDF5 begins; MATLAB puts 512 bytes of its own before it."""
_OFFSETS = (0, 512)


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, by its first bytes."""
    with path.open("rb") as file:
        start = file.read(max(_OFFSETS) + len(HEAD))
    return any(start[offset : offset + len(HEAD)] == HEAD for offset in _OFFSETS)


def load_mat_hdf5(path: Path, keys: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """Read variables of a MATLAB file of version 7.3.

    Args:
        path: the file.
        keys: names of the variables; those that are not there are passed over.

    Returns:
        The variables by name, with singleton dimensions removed, as ``scipy.io.loadmat`` gives them
        with ``squeeze_me``; and the names of all variables.

    Raises:
        ImportError: h5py is not installed.
        Exception: whatever h5py raises for damaged files.
    """
    # Comes with what is for training only.
    import h5py

    with h5py.File(path, "r") as file:
        content = {key: _convert(file[key], file) for key in keys if key in file}
        # Names with # are MATLAB's own.
        return content, sorted(name for name in file if not name.startswith("#"))


def _convert(item: Any, file: Any) -> Any:
    """Return the value of a data set or a group."""
    import h5py

    if isinstance(item, h5py.Group):
        return _convert_struct(item, file)
    kind = _class_of(item)
    if item.attrs.get("MATLAB_empty", 0):
        return "" if kind == "char" else np.array([], dtype=object if kind == "cell" else float)
    values = item[()]
    if h5py.check_ref_dtype(item.dtype) is not None:
        cells = np.empty(values.shape, dtype=object)
        for place, reference in np.ndenumerate(values):
            cells[place] = _convert(file[reference], file)
        return _squeeze(cells.T)
    values = np.asarray(values).T
    if kind == "char":
        lines = ["".join(map(chr, row)) for row in np.atleast_2d(values).astype(int).tolist()]
        # A text is one row; several are a table of characters, lines as long as each other.
        return lines[0] if len(lines) == 1 else np.array(lines)
    return _squeeze(values.astype(bool) if kind == "logical" else values)


def _convert_struct(group: Any, file: Any) -> Any:
    """Return a struct: one row as an array without dimensions, several as an array of rows."""
    import h5py

    names = [name for name in _field_order(group) if name in group]
    dtype = np.dtype([(name, object) for name in names])
    # The fields of a struct array are references, which no MATLAB class names; those of a single
    # struct may be cells, which are references too.
    is_array = bool(names) and all(
        isinstance(group[name], h5py.Dataset)
        and _class_of(group[name]) == ""
        and h5py.check_ref_dtype(group[name].dtype) is not None
        for name in names
    )
    if not is_array:
        row = np.empty((), dtype=dtype)
        for name in names:
            row[name] = _cell(_convert(group[name], file))
        return row
    references = {name: group[name][()].T for name in names}
    rows = np.empty(references[names[0]].shape, dtype=dtype)
    for place in np.ndindex(rows.shape):
        for name in names:
            rows[name][place] = _convert(file[references[name][place]], file)
    return np.squeeze(rows)


def _field_order(group: Any) -> list[str]:
    """Return the names of a struct's fields in MATLAB's order, which HDF5 does not keep."""
    order = group.attrs.get("MATLAB_fields")
    if order is None:
        return list(group)
    return [b"".join(np.ravel(name).tolist()).decode() for name in order]


def _cell(value: Any) -> np.ndarray:
    """Wrap a value, so that numpy takes an array for one item."""
    cell = np.empty((), dtype=object)
    cell[()] = value
    return cell


def _class_of(item: Any) -> str:
    name = item.attrs.get("MATLAB_class", b"")
    return name.decode() if isinstance(name, bytes) else str(name)


def _squeeze(array: np.ndarray) -> Any:
    squeezed = np.squeeze(array)
    return squeezed.item() if squeezed.ndim == 0 else squeezed
