"""Labels of people and images shared by both packages."""

UNLABELED_PID = -1
"""Person id of a person without a known identity. Known ids are 0..P-1."""

UNKNOWN_ATTRIBUTE = -1
"""Class number of an attribute that is not known for a person; known ones count from 0."""

VISIBLE, THERMAL = 0, 1
"""The ``modality`` of an image: an ordinary camera's, or one of infrared or thermal light. Sets
without the key are all visible."""
