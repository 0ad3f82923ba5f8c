"""Verifying a gallery file row by row, repairing what can be derived, copying it while in use."""

import math
import os
import sqlite3
from pathlib import Path

from person_search.gallery.appearance_rows import AppearanceRows
from person_search.gallery.appearances import GalleryAppearances
from person_search.gallery.database import Database
from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import check_line, explain
from person_search.gallery.group_copying import check_groups
from person_search.gallery.matrix_file import load_matrix, matrix_path, remove_matrices
from person_search.gallery.repairing import make_like, rewrite_intact
from person_search.gallery.rows import Stored
from person_search.gallery.sqlite_accountability import check_accountability
from person_search.gallery.sqlite_judgements import check_judgements
from person_search.gallery.sqlite_store import SqliteStore, list_names
from person_search.gallery.verifying import (
    UNREADABLE,
    CheckReport,
    GalleryRow,
    check_tables,
    intact_frames,
    note_missing,
    read_galleries,
)
from reid_heads.unfinished import unfinished


def check_gallery_file(path: Path, repair: bool = False) -> CheckReport:
    """Read every row of a gallery file and compare it with its checksum.

    Args:
        path: The file; others may use it meanwhile, unless there is something to repair.
        repair: Write the file anew from the frames that are intact, where anything is wrong, so
            that indexing adds the others again; else leave no byte of what was removed in it.

    Raises:
        GalleryError: If it cannot be opened at all, or not be repaired.
    """
    report, known_files = CheckReport(), dict[str, bool]()
    database = Database(path)
    try:
        with database.reading("checking it") as connection:
            report.problems += check_tables(connection)
            report.problems += check_accountability(connection)
            galleries = read_galleries(connection, database.path)
            for gallery in galleries:
                for frame in intact_frames(connection, gallery, report):
                    note_missing(frame.frame, known_files, report)
                report.problems += _check_appearances(connection, gallery, database.path)
                report.problems += check_judgements(connection, gallery.id)
                report.problems += check_groups(connection, gallery)
        report.problems += _check_matrices(database.real_path, galleries)
        if repair and report.problems:
            rewrite_intact(database, report)
            _link_again(database.real_path, report)
        elif repair:
            remove_matrices(database.real_path)
            database.compact()
    finally:
        database.close()
    return report


def back_up(path: Path, target: Path) -> Stored:
    """Copy a gallery file, as it is at one moment, while others may use it.

    Returns:
        The frames and people that were read back from the copy.

    Raises:
        GalleryError: If there is a file at the target, or it cannot be written whole.
    """
    target = target.expanduser()
    if target.suffix != ".db":
        raise GalleryError(f"{target}: expected a file ending in .db")
    if target.exists():
        raise GalleryError(f"{target} is there already; give another name, or remove it")
    if not target.absolute().parent.is_dir():
        raise GalleryError(
            f"{target}: there is no folder {target.absolute().parent}; make it first"
        )
    database = Database(path)
    try:
        # Not for others to read before it has the gallery's permissions.
        with unfinished(target, is_gallery=True) as temporary:
            with database.outside(f"copying it to {target}") as source:
                _copy(source, temporary, target)
            found = check_gallery_file(temporary)
            if found.problems:
                raise GalleryError(
                    f"the copy of {path} has {len(found.problems)} faults, the first: "
                    f"{found.problems[0]}; see {check_line(path)}"
                )
            make_like(temporary, database.path)
            os.replace(temporary, target)
    except OSError as error:
        raise GalleryError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        database.close()
    return found.stored


def _copy(source: sqlite3.Connection, temporary: Path, target: Path) -> None:
    try:
        copy = sqlite3.connect(temporary)
        try:
            source.backup(copy)
        finally:
            copy.close()
    except sqlite3.Error as error:
        # Else it is not the gallery's disk that is full.
        if error.sqlite_errorname.startswith(("SQLITE_CORRUPT", "SQLITE_IOERR_READ")):
            raise
        raise GalleryError(explain(error, target, "copying the gallery to it")) from error


def _check_appearances(
    connection: sqlite3.Connection, gallery: GalleryRow, path: Path
) -> list[str]:
    rows = AppearanceRows(connection, gallery.id, path)
    try:
        rows.links()
        for _ in rows.within(-math.inf, math.inf):
            pass  # each is compared as it is read
    except (GalleryError, *UNREADABLE, TypeError, ValueError, OverflowError) as error:
        return [f"appearances of gallery {gallery.name!r}: {error}"]
    return []


def _link_again(path: Path, report: CheckReport) -> None:
    """Derive the appearances of a file that was written anew."""
    for name in list_names(path):
        store = SqliteStore.open(path, name)
        try:
            linked = GalleryAppearances(store).link()
        finally:
            store.close()
        if linked.frames:
            report.repaired.append(
                f"linked the people of gallery {name!r} into {linked.appearances} appearances"
            )


def _check_matrices(path: Path, galleries: list[GalleryRow]) -> list[str]:
    files = {matrix_path(path, g.id): g.embedding_dim for g in galleries}
    return [
        f"{file.name}, from which the gallery is searched, is damaged"
        for file, dim in files.items()
        if file.exists() and load_matrix(file, dim) is None
    ]
