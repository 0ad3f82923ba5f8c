"""The tables of the log and of retention, as a migration of `schema`.

``galleries.content`` is the sum of the checksums of a gallery's frames, kept by triggers: each of
them covers what a frame's row and the rows of its people say, so that the sum tells one state of
the gallery from another in no time.
"""

import zlib

ACCOUNTABILITY = """
ALTER TABLE galleries ADD COLUMN content INTEGER NOT NULL DEFAULT 0;
UPDATE galleries SET content =
    (SELECT ifnull(sum(checksum), 0) FROM frames WHERE gallery = galleries.id);
CREATE TRIGGER content_added AFTER INSERT ON frames BEGIN
    UPDATE galleries SET content = content + NEW.checksum WHERE id = NEW.gallery;
END;
CREATE TRIGGER content_changed AFTER UPDATE OF checksum ON frames BEGIN
    UPDATE galleries SET content = content - OLD.checksum + NEW.checksum WHERE id = NEW.gallery;
END;
CREATE TRIGGER content_removed AFTER DELETE ON frames BEGIN
    UPDATE galleries SET content = content - OLD.checksum WHERE id = OLD.gallery;
END;
CREATE TABLE log_head (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL,
    is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)),
    checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE retention (
    gallery INTEGER PRIMARY KEY REFERENCES galleries (id) ON DELETE CASCADE,
    rules TEXT NOT NULL,
    is_purge_pending INTEGER NOT NULL CHECK (is_purge_pending IN (0, 1)),
    checksum INTEGER NOT NULL
) STRICT;
"""


def accountability_checksum(*said: object) -> int:
    """Return the checksum of a row of these tables, over everything else that it says."""
    return zlib.crc32(repr(said).encode(errors="surrogatepass"))
