"""The tables of who was grouped with whom, and what people said about it.

Who is in a group is told by *anchors*: people of frames, by the key of the frame and the number in
it. Appearances get other ids when footage is linked anew; a frame keeps its key and its people as
long as it is there. ``action`` 0 is the grouping's own doing, one anchor an appearance; what
somebody did has the number of a row of ``group_actions``. Of the anchors of an appearance that of
the last action counts, so that an action is undone by deleting its rows.
"""

import zlib

GROUPS = """
CREATE TABLE person_groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    gallery INTEGER NOT NULL REFERENCES galleries (id) ON DELETE CASCADE
) STRICT;
CREATE TABLE group_actions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    gallery INTEGER NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    said TEXT NOT NULL
) STRICT;
CREATE TABLE group_members (
    gallery INTEGER NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    key BLOB NOT NULL,
    number INTEGER NOT NULL,
    action INTEGER NOT NULL,
    person_group INTEGER NOT NULL REFERENCES person_groups (id) ON DELETE CASCADE,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (gallery, key, number, action)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_members_by_group ON group_members (person_group);
CREATE INDEX group_members_by_action ON group_members (action);
CREATE TABLE group_names (
    person_group INTEGER NOT NULL REFERENCES person_groups (id) ON DELETE CASCADE,
    action INTEGER NOT NULL,
    name TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (person_group, action)
) STRICT, WITHOUT ROWID;
CREATE TABLE group_options (
    gallery INTEGER PRIMARY KEY REFERENCES galleries (id) ON DELETE CASCADE,
    threshold REAL NOT NULL,
    across_days INTEGER NOT NULL
) STRICT;
CREATE TRIGGER grouped_frame_removed AFTER DELETE ON frames BEGIN
    DELETE FROM group_members WHERE gallery = OLD.gallery AND key = OLD.key;
END;
CREATE TRIGGER group_member_removed AFTER DELETE ON group_members BEGIN
    DELETE FROM person_groups WHERE id = OLD.person_group
        AND NOT EXISTS (SELECT 1 FROM group_members WHERE person_group = OLD.person_group);
END;
"""


def group_checksum(*said: object) -> int:
    """Return the checksum of a row of these tables, over everything else that it says."""
    return zlib.crc32(repr(said).encode(errors="surrogatepass"))
