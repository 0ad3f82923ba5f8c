"""Files that are written whole or not at all."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file to write that takes the place of ``path`` when the context ends well.

    After an error, a full disk for one, whatever stood at ``path`` is still there. The folder is
    made if missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(suffix=f"{path.suffix}.part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        # mkstemp's files are for their owner alone.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as ``.npz``, whole or not at all."""
    with atomic_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # read as allow_pickle by mypy


def save_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    with atomic_file(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
