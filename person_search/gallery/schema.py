"""The tables of a gallery file, and how they came to be.

A file is SQLite in write-ahead mode, marked by `APPLICATION_ID` and the number of migrations that
were applied (``user_version``). A frame's row and the rows of its people are written in one
transaction. What is counted is kept up by triggers, so that nobody can change one without the
other. Every row carries a checksum over what it says, because SQLite itself has none.

The id of a person is that of the frame times `PEOPLE_IDS` plus the place in the frame: those of a
frame lie together in the file, and can be asked for without looking them up. A frame that is
replaced gets a new id; ids are never used twice, so an id and a checksum stand for the same rows
for ever.

Appearances are derived from frames and people by `linking`, stream by stream: a stream is what one
camera saw on one clock. What is not linked yet is listed, with every frame that is put.
"""

import sqlite3
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from person_search.footage.time_text import YEAR
from person_search.gallery.accountability_tables import ACCOUNTABILITY
from person_search.gallery.alert_tables import ALERTS
from person_search.gallery.errors import GalleryError
from person_search.gallery.group_tables import GROUPS
from person_search.gallery.judgement_tables import JUDGEMENTS
from person_search.gallery.nobody_tables import NOBODY
from person_search.gallery.picture_tables import PICTURE_SIZES
from person_search.gallery.rows import StoredFrame
from person_search.gallery.unkept_tables import UNKEPT

APPLICATION_ID = 0x50534741  # "PSGA"
PAGE_BYTES = 16_384
"""A person of 256 numbers takes 1.1 KB of such pages; of SQLite's usual 4 KiB she takes 1.4."""
PEOPLE_IDS = 65_536
LEAST_SQLITE = (3, 37, 0)
"""Has strict tables."""

_PERSON = struct.Struct("<q5d")
_APPEARANCE = struct.Struct("<2q2d2qd")
_MIX = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9], np.uint64)

_FIRST = """
CREATE TABLE galleries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    embedding_dim INTEGER NOT NULL CHECK (embedding_dim > 0),
    card TEXT,
    checksum INTEGER NOT NULL,
    num_frames INTEGER NOT NULL DEFAULT 0,
    num_people INTEGER NOT NULL DEFAULT 0,
    changes INTEGER NOT NULL DEFAULT 0,
    removals INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE cameras (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    gallery INTEGER NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    num_frames INTEGER NOT NULL DEFAULT 0,
    UNIQUE (gallery, name)
) STRICT;
CREATE TABLE frames (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    gallery INTEGER NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    key BLOB NOT NULL,
    name TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    camera INTEGER REFERENCES cameras (id),
    timestamp REAL,
    num_people INTEGER NOT NULL,
    people_sum INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    UNIQUE (gallery, key)
) STRICT;
CREATE INDEX frames_by_time ON frames (gallery, timestamp);
CREATE INDEX frames_by_camera ON frames (camera);
CREATE TABLE people (
    id INTEGER PRIMARY KEY,
    frame INTEGER NOT NULL REFERENCES frames (id) ON DELETE CASCADE,
    x1 REAL NOT NULL,
    y1 REAL NOT NULL,
    x2 REAL NOT NULL,
    y2 REAL NOT NULL,
    score REAL NOT NULL,
    embedding BLOB NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX people_by_frame ON people (frame);
CREATE TRIGGER frame_added AFTER INSERT ON frames BEGIN
    UPDATE galleries SET num_frames = num_frames + 1, num_people = num_people + NEW.num_people,
        changes = changes + 1 WHERE id = NEW.gallery;
    UPDATE cameras SET num_frames = num_frames + 1 WHERE id = NEW.camera;
END;
CREATE TRIGGER frame_removed AFTER DELETE ON frames BEGIN
    UPDATE galleries SET num_frames = num_frames - 1, num_people = num_people - OLD.num_people,
        changes = changes + 1, removals = removals + 1 WHERE id = OLD.gallery;
    UPDATE cameras SET num_frames = num_frames - 1 WHERE id = OLD.camera;
    DELETE FROM cameras WHERE id = OLD.camera AND num_frames = 0;
END;
"""

# The stream of a frame is told by `rows.stream_of`; this says the same of frames that are there.
_APPEARANCES = f"""
CREATE TABLE streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    gallery INTEGER NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    UNIQUE (gallery, name)
) STRICT;
CREATE TABLE appearances (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    start REAL NOT NULL,
    "end" REAL NOT NULL,
    num_people INTEGER NOT NULL,
    best INTEGER NOT NULL,
    best_quality REAL NOT NULL,
    total BLOB NOT NULL,
    people_sum INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX appearances_by_end ON appearances (stream, "end");
CREATE INDEX appearances_by_start ON appearances (stream, start);
CREATE TABLE sightings (
    person INTEGER PRIMARY KEY REFERENCES people (id) ON DELETE CASCADE,
    appearance INTEGER NOT NULL REFERENCES appearances (id) ON DELETE CASCADE,
    time REAL NOT NULL,
    quality REAL NOT NULL
) STRICT;
CREATE INDEX sightings_by_appearance ON sightings (appearance, time);
CREATE TABLE unlinked (
    stream INTEGER NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
    timestamp REAL NOT NULL,
    frame INTEGER NOT NULL,
    PRIMARY KEY (stream, timestamp, frame)
) STRICT, WITHOUT ROWID;
ALTER TABLE galleries ADD COLUMN links INTEGER NOT NULL DEFAULT 0;
ALTER TABLE frames ADD COLUMN stream INTEGER REFERENCES streams (id);
CREATE INDEX frames_by_stream ON frames (stream, timestamp);
CREATE TEMPORARY TABLE told (frame INTEGER PRIMARY KEY, gallery INTEGER, name TEXT);
INSERT INTO told SELECT f.id, f.gallery, CASE
    WHEN f.timestamp >= {YEAR} AND c.name IS NOT NULL THEN 'camera:' || c.name
    WHEN rtrim(f.name, '0123456789') GLOB '?*#frame=' AND f.name NOT GLOB '*#frame='
    THEN 'file:' || substr(f.name, 1, length(rtrim(f.name, '0123456789')) - 7) END
    FROM frames f LEFT JOIN cameras c ON c.id = f.camera WHERE f.timestamp IS NOT NULL;
INSERT INTO streams (gallery, name) SELECT DISTINCT gallery, name FROM told WHERE name IS NOT NULL
    ORDER BY gallery, name;
UPDATE frames SET stream = (SELECT s.id FROM told t JOIN streams s
    ON s.gallery = t.gallery AND s.name = t.name WHERE t.frame = frames.id);
DROP TABLE told;
INSERT INTO unlinked SELECT stream, timestamp, id FROM frames
    WHERE stream IS NOT NULL AND num_people > 0;
CREATE TRIGGER stream_frame_added AFTER INSERT ON frames
    WHEN NEW.stream IS NOT NULL AND NEW.num_people > 0 BEGIN
    INSERT INTO unlinked VALUES (NEW.stream, NEW.timestamp, NEW.id);
END;
CREATE TRIGGER stream_frame_removed AFTER DELETE ON frames WHEN OLD.stream IS NOT NULL BEGIN
    DELETE FROM unlinked
        WHERE stream = OLD.stream AND timestamp = OLD.timestamp AND frame = OLD.id;
    DELETE FROM streams
        WHERE id = OLD.stream AND NOT EXISTS (SELECT 1 FROM frames WHERE stream = OLD.stream);
END;
"""

MIGRATIONS: Sequence[str] = (
    *(_FIRST, _APPEARANCES, JUDGEMENTS, GROUPS),
    *(NOBODY, ACCOUNTABILITY, ALERTS),
    *(PICTURE_SIZES, UNKEPT),
)
"""Each takes a file from the version of its place to the next."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file to today's version, in one transaction.

    Raises:
        GalleryError: If it is of a later version.
    """
    if sqlite3.sqlite_version_info < LEAST_SQLITE:
        raise GalleryError(
            f"this Python has SQLite {sqlite3.sqlite_version}, a gallery needs "
            f"{'.'.join(map(str, LEAST_SQLITE))} or later; install a newer Python"
        )
    if check_version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have done it meanwhile.
    for script in MIGRATIONS[check_version(connection) :]:
        for statement in _split(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


def check_version(connection: sqlite3.Connection) -> int:
    """Return how many migrations a file has.

    Raises:
        GalleryError: If it is of a later version.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise GalleryError(
            f"the gallery has version {version}, this program reads versions up to "
            f"{len(MIGRATIONS)}; use the program that made it, or a newer one"
        )
    return version


def gallery_checksum(name: str, fingerprint: str, embedding_dim: int, card: str | None) -> int:
    """Return the checksum of what a gallery's row says of its model."""
    return zlib.crc32(repr((name, fingerprint, embedding_dim, card)).encode())


def person_checksum(person_id: int, numbers: Sequence[float], embedding: bytes) -> int:
    """Return the checksum of a person's row.

    Args:
        person_id: Id of the row.
        numbers: x1, y1, x2, y2, score.
        embedding: The bytes.

    Returns:
        -1, which is none, for a damaged row of other types.
    """
    try:
        return zlib.crc32(embedding, zlib.crc32(_PERSON.pack(person_id, *numbers)))
    except (struct.error, TypeError):
        return -1


def people_checksum(checksums: Sequence[int]) -> int:
    """Return the checksum of all people of a frame, of those of their rows in order."""
    return zlib.crc32(np.asarray(checksums, "<u4").tobytes())


def frame_checksum(frame: int, said: StoredFrame, people_sum: int) -> int:
    """Return the checksum of a frame's row.

    Args:
        frame: Id of the row.
        said: What it says.
        people_sum: See `people_checksum`.
    """
    fields = (frame, said.name, said.content_hash, said.camera, said.timestamp, said.num_people)
    # Without a size nothing of it, as frames were stored before there was one.
    size = said.size or ()
    return zlib.crc32(repr((*fields, *size, people_sum)).encode(errors="surrogatepass"))


def appearance_checksum(appearance: int, said: Sequence[float], total: bytes, people: int) -> int:
    """Return the checksum of an appearance's row.

    Args:
        appearance: Id of the row.
        said: Start, end, number of people, best of them, its quality.
        total: The sum of their embeddings.
        people: See `sightings_sum`.

    Returns:
        -1, which is none, for a damaged row of other types.
    """
    start, end, count, best, quality = said
    try:
        packed = _APPEARANCE.pack(appearance, count, start, end, best, people, quality)
        return zlib.crc32(total, zlib.crc32(packed))
    except (struct.error, TypeError):
        return -1


def sightings_sum(people: np.ndarray, times: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    """Return numbers whose sum, modulo 2**62, tells who belongs to an appearance.

    Args:
        people: (N,) int64 ids.
        times: (N,) float64 seconds.
        qualities: (N,) float64.

    Returns:
        (N,) int64 of 0 to 2**62 - 1.
    """
    mixed = people.astype(np.uint64) * _MIX[0]
    for numbers in (times, qualities):
        mixed = ((mixed ^ (mixed >> np.uint64(29))) ^ (numbers + 0.0).view(np.uint64)) * _MIX[1]
    mixed = (mixed ^ (mixed >> np.uint64(31))) * _MIX[0]
    return np.asarray(mixed >> np.uint64(2)).astype(np.int64)


def _split(script: str) -> list[str]:
    """Split a script into statements; `executescript` would commit before it."""
    statements, text = [], ""
    for part in script.split(";"):
        text += part + ";"
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return [s for s in statements if s.strip(" \n;")]
