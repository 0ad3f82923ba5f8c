"""The table of stays that alerts were told of, as a migration of `schema`.

A stay is told by one of its people, by the key of the frame and the number in it, which outlast the
ids of appearances (`group_tables`).
"""

ALERTS = """
CREATE TABLE told_alerts (
    gallery INTEGER NOT NULL REFERENCES galleries (id) ON DELETE CASCADE,
    query TEXT NOT NULL,
    key BLOB NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (gallery, query, key, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX told_alerts_by_person ON told_alerts (gallery, key);
CREATE TRIGGER told_frame_removed AFTER DELETE ON frames BEGIN
    DELETE FROM told_alerts WHERE gallery = OLD.gallery AND key = OLD.key;
END;
"""
