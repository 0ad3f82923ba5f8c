"""Writes a case as a folder or a zip: whole or not at all, and the same twice.

Example:
    with GalleryIndex.open("town.db") as index:
        matches = index.appearances.search(person.embeddings, min_similarity=finder.threshold)
        export_case(index, CaseRequest(matches, [CaseQuery(picture, box)]), "case.zip")
"""

import hashlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from person_search.cases.contents import Case, CaseRequest
from person_search.cases.gathering import gather
from person_search.cases.html_report import html_report
from person_search.cases.pdf_report import pdf_report
from person_search.cases.tables import case_json, matches_csv, sights_csv
from person_search.cases.wording import SUMS
from reid_heads.atomic_file import atomic_file, naming_full_disk, new_folder
from reid_heads.unfinished import unfinished

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

ZIP_FOLDER = "case"
"""In which the files of a zip lie, so that unpacking it makes one folder."""
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every file in a zip: the earliest that it knows."""
_STORED = {".jpg", ".webm"}
"""Compressed already."""


@dataclass(frozen=True)
class CaseReport:
    """What was written."""

    files: int
    bytes: int
    matches: int
    pictures: int
    clips: int
    notes: list[str]
    """What is missing, by match, and why."""


def check_target(target: str | os.PathLike[str]) -> Path:
    """Return where a case is to be written, if nothing is there yet.

    Raises:
        FileExistsError: If something is, but for an empty folder.
        FileNotFoundError: If the folder above it is not there.
        ValueError: If its name is that of another file than a zip.
    """
    path = Path(target)
    is_empty = path.is_dir() and not any(path.iterdir()) and not _is_zip(path)
    if os.path.lexists(path) and not is_empty:
        raise FileExistsError(f"{path} is there already; choose another name, or remove it first")
    if not path.resolve().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}; make it, or name another one")
    return path


def export_case(
    index: "GalleryIndex", request: CaseRequest, target: str | os.PathLike[str]
) -> CaseReport:
    """Write a case.

    Args:
        index: The gallery of the matches.
        request: What to hand on, and how.
        target: A file ending in ``.zip``, or a folder to be made; its parent must be there.

    Returns:
        What was written. Whatever cannot be shown, as its source is gone or has changed, is left
        out and noted; the matches themselves are all listed.

    Raises:
        FileExistsError: Something is there.
        GalleryError: The gallery does not hold a match any more, so that nobody can tell who else
            is to be blurred.
        OSError: The disk is full. Nothing half-written stays.
        ValueError: There are no matches.
    """
    path = check_target(target)
    with naming_full_disk(path):
        return _write(index, request, path)


def zip_case(index: "GalleryIndex", request: CaseRequest) -> tuple[bytes, CaseReport]:
    """Return a case as the bytes of a zip; nothing stays on the disk.

    Raises:
        GalleryError, OSError, ValueError: See `export_case`.
    """
    target = io.BytesIO()
    with unfinished(Path(tempfile.gettempdir(), "case"), is_folder=True) as folder:
        report = _fill(index, request, folder)
        _pack(folder, target)
    return target.getvalue(), report


def _write(index: "GalleryIndex", request: CaseRequest, path: Path) -> CaseReport:
    if not _is_zip(path):
        with new_folder(path) as folder:
            return _fill(index, request, folder)
    with unfinished(path, is_folder=True) as folder:
        report = _fill(index, request, folder)
        with atomic_file(path) as file:
            _pack(folder, file)
    return report


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _fill(index: "GalleryIndex", request: CaseRequest, folder: Path) -> CaseReport:
    """Write all files of a case into an empty folder."""
    case = gather(index, request, folder)
    texts = {
        "case.json": case_json(case),
        "matches.csv": matches_csv(case),
        "report.html": html_report(case),
        "sights.csv": sights_csv(case),
    }
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    for name, data in request.files.items():
        (folder / name).write_bytes(data)
    (folder / "report.pdf").write_bytes(pdf_report(case, folder))
    for empty in (path for path in folder.iterdir() if path.is_dir() and not any(path.iterdir())):
        empty.rmdir()
    files = _files(folder)
    sums = "".join(f"{_sha256(folder / name)}  {name}\n" for name in files)
    (folder / SUMS).write_text(sums, encoding="ascii")
    return _report(case, folder, [*files, SUMS])


def _report(case: Case, folder: Path, files: list[str]) -> CaseReport:
    shown = [sight for match in case.matches for sight in match.pictures]
    return CaseReport(
        files=len(files),
        bytes=sum((folder / name).stat().st_size for name in files),
        matches=len(case.matches),
        pictures=len(shown),
        clips=sum(match.clip is not None for match in case.matches),
        notes=[f"match {match.number}: {note}" for match in case.matches for note in match.notes],
    )


def _files(folder: Path) -> list[str]:
    """Return the names of all files below a folder, sorted."""
    paths: Iterable[Path] = folder.rglob("*")
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(folder: Path, target: BinaryIO) -> None:
    """Write the files of a folder as a zip, always in the same order and with the same times."""
    with zipfile.ZipFile(target, "w") as packed:
        for name in _files(folder):
            entry = zipfile.ZipInfo(f"{ZIP_FOLDER}/{name}", _ZIP_TIME)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            is_packed = Path(name).suffix in _STORED
            entry.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            with (folder / name).open("rb") as source, packed.open(entry, "w") as opened:
                shutil.copyfileobj(source, opened, 1 << 20)
