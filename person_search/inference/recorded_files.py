"""What the files of an installed model were when it was made, to see later whether they still are.

``model.files.json`` in a model's folder holds size and SHA-256 of each file beside it. It tells of
decay, and of a file that somebody changed; who changes it, too, is not found out.
"""

import hashlib
from pathlib import Path
from typing import Any

from person_search.inference.json_object import parse_object
from reid_heads.atomic_file import save_json

RECORD_NAME = "model.files.json"
_MADE_LATER = ".threshold.json"
"""End of the file that a calibration writes into the folder."""


def hash_file(file: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def record_files(folder: Path) -> None:
    """Write down what a model's files are now."""
    save_json(folder / RECORD_NAME, {file.name: _describe(file) for file in _files(folder)})


def compare_files(folder: Path) -> list[str] | None:
    """Say how a model's files differ from what they were.

    Args:
        folder: of the model.

    Returns:
        A line for each difference; None if nothing was written down.

    Raises:
        ValueError: if what was written down cannot be read.
    """
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    recorded = parse_object(path.read_bytes(), str(path))
    there = {file.name: file for file in _files(folder)}
    lines = [f"{name} is gone" for name in recorded if name not in there]
    for name, file in there.items():
        if name not in recorded:
            lines.append(f"{name} was not there when the model was made")
        elif (found := _describe(file)) != recorded[name]:
            lines.append(f"{name} was changed: it is {found}, and was {recorded[name]}")
    return lines


def _files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and file.name != RECORD_NAME and not file.name.endswith(_MADE_LATER)
    )


def _describe(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": hash_file(file)}
