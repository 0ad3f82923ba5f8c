"""Identity labels shared by both packages."""

UNLABELED_PID = -1
"""Person id of a person without a known identity. Known ids are 0..P-1."""
