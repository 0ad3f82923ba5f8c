"""Fields and boxes of what ``reid_heads.data.datasets.mat_files`` read; errors name them.

MATLAB wraps everything: a struct array of one row, a cell of cells, a string in a 1x1 cell. The
functions here take any number of such wrappers off, so that a list of one item is read like a list
of thousands.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from reid_heads.data.datasets.mat_files import read_strings


def read_field(table: Any, name: str, position: int, path: Path) -> list[Any]:
    """Read one field of every row of a struct array, or of a cell array of structs.

    Args:
        table: what `read_mat` returned, or a field of it.
        name: the field.
        position: where the field stands when the struct names it otherwise; the official CUHK-SYSU
            code reads some structs by position only.
        path: the file, for the error message.

    Returns:
        One value a row, in order; empty when the table has no rows.

    Raises:
        ValueError: the table is no struct, or has fewer fields.
    """
    table = np.asarray(table)
    if table.size == 0:
        return []
    fields = table.dtype.names
    if fields is None and table.dtype == object:
        return [value for row in table.ravel() for value in read_field(row, name, position, path)]
    if fields is None:
        raise ValueError(
            f"{path}: expected a struct with the field {name!r}, got an array of type {table.dtype}"
        )
    if name not in fields and position >= len(fields):
        raise ValueError(f"{path}: a struct has the fields {list(fields)}, but no field {name!r}")
    values = np.atleast_1d(table)[name if name in fields else fields[position]]
    return list(values.ravel())


def read_string(value: Any, path: Path) -> str:
    """Read one string, in any number of cells.

    Args:
        value: a field of what `read_mat` returned.
        path: the file, for the error message.

    Raises:
        ValueError: it is not exactly one text.
    """
    if isinstance(value, str):  # nearly always; the largest protocol has 12 million names
        return value
    strings = read_strings(value, path)
    if len(strings) != 1:
        raise ValueError(f"{path}: expected one name, got {value!r}")
    return strings[0]


def read_boxes(values: Iterable[Any], path: Path) -> np.ndarray:
    """Read boxes (x, y, w, h), one a value, widened to int64.

    The official CUHK-SYSU files hold uint8 and uint16, in which x + w overflows. Fractions are cut
    off, as the official code does.

    Args:
        values: arrays of four numbers.
        path: the file, for the error message.

    Returns:
        (N, 4) int64 array of (x, y, w, h) in original pixels.

    Raises:
        ValueError: a box has not four finite numbers.
    """
    rows = [np.asarray(value).ravel() for value in values]
    for row in rows:
        if row.size != 4 or row.dtype.kind not in "iuf" or not np.isfinite(row).all():
            raise ValueError(f"{path}: expected a box of four numbers x, y, w, h, got {row!r}")
    return np.array([row.astype(np.int64) for row in rows], dtype=np.int64).reshape(-1, 4)
