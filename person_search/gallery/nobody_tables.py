"""The table of groups that are nobody, as a migration of `schema`: what a detector took for people.

A verdict is about a group, like a name: whoever is in the group by then was put into it by the same
action, so that the verdict hangs on people of frames (`group_tables`). The last action counts.
"""

NOBODY = """
CREATE TABLE group_verdicts (
    person_group INTEGER NOT NULL REFERENCES person_groups (id) ON DELETE CASCADE,
    action INTEGER NOT NULL,
    is_nobody INTEGER NOT NULL CHECK (is_nobody IN (0, 1)),
    checksum INTEGER NOT NULL,
    PRIMARY KEY (person_group, action)
) STRICT, WITHOUT ROWID;
"""
