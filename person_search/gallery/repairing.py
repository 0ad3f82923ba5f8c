"""Writing a damaged gallery file anew from the rows that are as they were stored."""

import os
import sqlite3
from contextlib import suppress
from itertools import islice
from pathlib import Path

from person_search.gallery.database import Database
from person_search.gallery.errors import GalleryError
from person_search.gallery.group_copying import copy_groups
from person_search.gallery.matrix_file import remove_matrices
from person_search.gallery.rows import Stored, stream_of
from person_search.gallery.sqlite_accountability import copy_accountability
from person_search.gallery.sqlite_alerts import copy_alerts
from person_search.gallery.sqlite_judgements import copy_judgements
from person_search.gallery.thinned_copying import copy_thinned
from person_search.gallery.verifying import (
    CheckReport,
    GalleryRow,
    IntactFrame,
    intact_frames,
    read_galleries,
)
from reid_heads.unfinished import unfinished

_WRITE_FRAMES = 500


def rewrite_intact(database: Database, report: CheckReport) -> None:
    """Replace a gallery file by one with all frames that are intact, and nothing else.

    Tables, indexes, counts and the matrix are derived anew. The old file stays until the new one
    is whole. Nobody else may have it open; the database is of no use afterwards.

    Args:
        database: The damaged one.
        report: Gets what was done, and what is stored afterwards.

    Raises:
        GalleryError: If other processes have it open, or there is no room for a second copy.
    """
    path, found = database.real_path, CheckReport()
    with (
        unfinished(path, is_gallery=True) as temporary,
        database.alone("repairing it") as source,
    ):
        target = Database(temporary, make=True)
        try:
            for gallery in read_galleries(source, path):
                _copy(source, path, gallery, target, found)
            with target.writing("repairing it") as connection:
                copy_accountability(source, connection)
            report.stored = _count(target)
        finally:
            target.close()
        make_like(temporary, path)
        os.replace(temporary, path)
    remove_matrices(path)
    report.repaired.append(
        f"wrote the file anew with the {report.stored.frames} frames that are as they were stored; "
        "index the footage again to add what is missing"
    )
    report.repaired += found.repaired


def _copy(
    source: sqlite3.Connection,
    path: Path,
    gallery: GalleryRow,
    target: Database,
    report: CheckReport,
) -> None:
    if not gallery.is_intact():
        raise GalleryError(
            f"{path}: what it says of the model of gallery {gallery.name!r} is not what was stored "
            "and cannot be derived; bring back a backup, or index the footage again into another "
            "file"
        )
    with target.writing("repairing it") as connection:
        connection.execute(
            "INSERT INTO galleries (id, name, fingerprint, embedding_dim, card, checksum) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            gallery[:6],
        )
    frames = intact_frames(source, gallery, report)
    while some := list(islice(frames, _WRITE_FRAMES)):
        with target.writing("repairing it") as connection:
            for frame in some:
                _insert(connection, gallery.id, frame)
    with target.writing("repairing it") as connection:
        copied, left_out = copy_judgements(source, gallery.id, connection)
        copy_groups(source, connection, gallery)
        copy_alerts(source, connection, gallery.id)
        _, lost = copy_thinned(source, connection, gallery, path)
    if lost:
        report.repaired.append(
            f"{lost} stays of which not all people were kept are linked anew from those that are "
            "left"
        )
    if left_out:
        report.repaired.append(f"kept {copied} judgements, {left_out} are lost")


def _insert(connection: sqlite3.Connection, gallery: int, frame: IntactFrame) -> None:
    own_id, key, name, content_hash, camera, *rest = frame.row
    # Where the index of keys was damaged, a frame may have been put twice; the later one counts.
    connection.execute("DELETE FROM frames WHERE gallery = ? AND key = ?", (gallery, key))
    stream = stream_of(frame.frame)
    for table, named in (("cameras", camera), ("streams", stream)):
        connection.execute(
            f"INSERT INTO {table} (gallery, name) SELECT ?1, ?2 WHERE ?2 IS NOT NULL "
            "ON CONFLICT DO NOTHING",
            (gallery, named),
        )
    connection.execute(
        "INSERT INTO frames (id, gallery, key, name, content_hash, camera, timestamp, num_people, "
        "width, height, people_sum, checksum, stream) VALUES (?1, ?2, ?3, ?4, ?5, (SELECT id FROM "
        "cameras WHERE gallery = ?2 AND name = ?6), ?7, ?8, ?9, ?10, ?11, ?12, (SELECT id FROM "
        "streams WHERE gallery = ?2 AND name = ?13))",
        (own_id, gallery, key, name, content_hash, camera, *rest, stream),
    )
    connection.executemany(
        "INSERT INTO people (id, frame, x1, y1, x2, y2, score, embedding, checksum) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        frame.people,
    )


def _count(database: Database) -> Stored:
    with database.reading() as connection:
        total = connection.execute(
            "SELECT ifnull(sum(num_frames), 0), ifnull(sum(num_people), 0) FROM galleries"
        )
        return Stored(*total.fetchone())


def make_like(path: Path, other: Path) -> None:
    """Give a file the owner and permissions of another."""
    said = other.stat()
    with suppress(OSError, AttributeError):
        os.chown(path, said.st_uid, said.st_gid)
    path.chmod(said.st_mode & 0o777)
