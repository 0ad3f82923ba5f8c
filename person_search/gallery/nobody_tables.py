"""The tables of what a detector took for people, as a migration of `schema`.

A verdict is about a group, like a name: whoever is in the group by then was put into it by the same
action, so that the verdict hangs on people of frames (`group_tables`). The last action counts.
Where an appearance stands is derived from its people, and measured again when they have changed,
which ``people_sum`` tells.
"""

NOBODY = """
CREATE TABLE group_verdicts (
    person_group INTEGER NOT NULL REFERENCES person_groups (id) ON DELETE CASCADE,
    action INTEGER NOT NULL,
    is_nobody INTEGER NOT NULL CHECK (is_nobody IN (0, 1)),
    checksum INTEGER NOT NULL,
    PRIMARY KEY (person_group, action)
) STRICT, WITHOUT ROWID;
CREATE TABLE appearance_places (
    appearance INTEGER PRIMARY KEY REFERENCES appearances (id) ON DELETE CASCADE,
    people_sum INTEGER NOT NULL,
    x1 REAL NOT NULL,
    y1 REAL NOT NULL,
    x2 REAL NOT NULL,
    y2 REAL NOT NULL,
    share REAL NOT NULL
) STRICT;
"""
