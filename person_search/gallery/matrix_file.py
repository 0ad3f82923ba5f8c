"""The matrix of a gallery in a file beside it, so that a large gallery opens at once.

The file is derived from the database and never the truth: each frame in it carries the checksum of
the frame's rows, and whatever does not fit the database is read from there anew.
"""

import json
import os
import re
import threading
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from person_search.gallery.matrix import Block, FrameTable, Matrix

LEAST_ROWS = 50_000
"""Smaller galleries are read from the database in a fraction of a second."""
_MARK = "person_search matrix 1"


def matrix_path(path: Path, gallery: int) -> Path:
    """Return where the matrix of a gallery lies."""
    return path.with_name(f"{path.name}-matrix{gallery}")


def remove_matrices(path: Path) -> None:
    """Remove what lies beside a gallery file, half-written ones too."""
    # No more than that: g.db-matrix.db may be somebody's gallery.
    ours = re.compile(re.escape(path.name) + r"-matrix\d+(\.\d+\.\d+)?")
    for found in path.parent.iterdir():
        if ours.fullmatch(found.name):
            with suppress(FileNotFoundError):
                found.unlink()


def save_matrix(file: Path, matrix: Matrix, like: Path) -> bool:
    """Write a matrix, whole or not at all.

    Args:
        file: Where.
        matrix: Without frames that are gone.
        like: Whose permissions the file gets.

    Returns:
        Whether it could be written; without it, all is as right, and opening takes longer.
    """
    temporary = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_native_id()}")
    arrays = [*matrix.frames.arrays()]
    arrays += [np.concatenate([getattr(b, n) for b in matrix.blocks]) for n in ("scales", "losses")]
    if matrix.numbers is not None:
        arrays.append(matrix.numbers)
    shape = [len(matrix), matrix.blocks[0].codes.shape[1]]
    parts = [_raw(a) for a in arrays]
    parts += [_raw(b.codes) for b in matrix.blocks]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    head = {"mark": _MARK, "frames": len(matrix.frames), "shape": shape, "checksum": checksum}
    if matrix.numbers is not None:
        head["numbers"] = True
    try:
        with temporary.open("wb") as out:
            os.chmod(temporary, like.stat().st_mode & 0o666)
            out.write((json.dumps(head) + "\n").encode().rjust(256))
            for part in parts:
                out.write(part)
        temporary.replace(file)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        return False
    return True


def load_matrix(file: Path, embedding_dim: int) -> Matrix | None:
    """Map a matrix into memory, None where there is none or it is damaged."""
    try:
        with file.open("rb") as source:
            head = json.loads(source.read(256))
            rows, dim = head["shape"]
            if head["mark"] != _MARK or dim != embedding_dim:
                return None
            kinds: list[type[np.generic]] = (
                [np.int64] * 3 + [np.float64, np.int64] + [np.float32] * 2
            )
            counts = [head["frames"]] * 5 + [rows] * 2
            if head.get("numbers"):
                kinds.append(np.uint16)
                counts.append(rows)
            arrays = [np.fromfile(source, k, n) for k, n in zip(kinds, counts, strict=True)]
            codes = np.memmap(source, np.int8, "r", source.tell(), (rows, dim))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(_raw(array), checksum)
    checksum = zlib.crc32(_raw(codes), checksum)
    frames = FrameTable(*arrays[:5])
    if checksum != head["checksum"] or int(frames.counts.sum()) != rows:
        return None
    block = Block(codes.view(np.ndarray), arrays[5], arrays[6])
    numbers = arrays[7] if len(arrays) > 7 else None
    return Matrix(frames, (block,), -1, -1, np.zeros(len(frames), bool), numbers)


def _raw(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
