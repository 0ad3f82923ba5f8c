"""The tables of judgements, as a migration of `schema`; what a person says of a match stays."""

import zlib

JUDGEMENTS = """
CREATE TABLE subjects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    gallery INTEGER NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    UNIQUE (gallery, name)
) STRICT;
CREATE TABLE judgements (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subject INTEGER NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    is_right INTEGER NOT NULL CHECK (is_right IN (0, 1)),
    made REAL NOT NULL,
    maker TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    UNIQUE (subject, person)
) STRICT;
CREATE INDEX judgements_by_person ON judgements (person);
CREATE TRIGGER judgement_removed AFTER DELETE ON judgements BEGIN
    DELETE FROM subjects WHERE id = OLD.subject
        AND NOT EXISTS (SELECT 1 FROM judgements WHERE subject = OLD.subject);
END;
"""


def judgement_checksum(subject: str, person: int, is_right: int, made: float, maker: str) -> int:
    """Return the checksum of a judgement's row, with the name of its subject."""
    said = (subject, person, is_right, made, maker)
    return zlib.crc32(repr(said).encode(errors="surrogatepass"))
