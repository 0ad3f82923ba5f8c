"""The table of the sights that a stay was seen in, and whose people are not kept, as a migration.

Of them is left when and where they were: a stay's start, end and count stay true, and whoever
hands a picture on can still blur them. The row of the appearance counts them, its ``people_sum``
too; a stay that has some is *thinned*, and never linked anew. ``person`` is the id that the row of
``people`` had.
"""

UNKEPT = """
CREATE TABLE unkept (
    person INTEGER PRIMARY KEY,
    appearance INTEGER NOT NULL REFERENCES appearances (id) ON DELETE CASCADE,
    time REAL NOT NULL,
    quality REAL NOT NULL,
    x1 REAL NOT NULL,
    y1 REAL NOT NULL,
    x2 REAL NOT NULL,
    y2 REAL NOT NULL
) STRICT;
CREATE INDEX unkept_by_appearance ON unkept (appearance, time);
CREATE TRIGGER unkept_frame_removed AFTER DELETE ON frames BEGIN
    DELETE FROM unkept WHERE person >= OLD.id * 65536 AND person < (OLD.id + 1) * 65536;
END;
"""
