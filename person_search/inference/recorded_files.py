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
_PAGE = "README.md"
"""For people to read, and to improve."""


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
    new = [file.name for file in _files(folder) if file.name not in recorded]
    lines = [f"{name} was not there when the model was made" for name in new]
    return [*_changes(folder, recorded), *lines]


def _changes(folder: Path, recorded: dict[str, Any]) -> list[str]:
    """Say which of the files that were written down are gone or were changed."""
    there = {file.name: file for file in _files(folder)}
    lines = []
    for name, was in recorded.items():
        if name not in there:
            lines.append(f"{name} is gone")
        elif (found := _describe(there[name])) != was:
            lines.append(f"{name} was changed: it is {found}, and was {was}")
    return lines


def check_unchanged(folder: Path) -> list[str]:
    """Refuse a model whose files are not what they were.

    Args:
        folder: of the model; files besides those that were written down do not matter.

    Returns:
        The names that were written down; none where nothing was.

    Raises:
        ValueError: names the folder, and each file that was changed or is gone.
    """
    path = folder / RECORD_NAME
    if not path.is_file():
        return []
    recorded = parse_object(path.read_bytes(), str(path))
    if differences := _changes(folder, recorded):
        raise ValueError(
            f"{folder} is not the model that was made: {'; '.join(differences)}. Get it again, or "
            "pack it anew"
        )
    return list(recorded)


def recorded_names(folder: Path) -> list[str]:
    """Return the names of a model's files: those written down, the record, page and threshold.

    Raises:
        FileNotFoundError: if nothing was written down.
        ValueError: if a file is not what it was.
    """
    recorded = check_unchanged(folder)
    if not recorded:
        raise FileNotFoundError(
            f"{folder} has no {RECORD_NAME}, so it is no packed model; expected a folder of "
            "`person-search models pack`"
        )
    later = [_PAGE, *(file.name for file in folder.glob(f"*{_MADE_LATER}"))]
    return [*recorded, *(name for name in later if (folder / name).is_file()), RECORD_NAME]


def _files(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file()
        and file.name not in (RECORD_NAME, _PAGE)
        and not file.name.endswith(_MADE_LATER)
        # Such as .gitattributes of a folder that is kept in git.
        and not file.name.startswith(".")
    )


def _describe(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": hash_file(file)}
