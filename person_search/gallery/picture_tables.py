"""The sizes of frames, as a migration of `schema`: the linking tells by them who left the picture.

They are unknown of frames that an earlier version stored.
"""

PICTURE_SIZES = """
ALTER TABLE frames ADD COLUMN width INTEGER;
ALTER TABLE frames ADD COLUMN height INTEGER;
"""
