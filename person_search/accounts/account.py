"""What a user may do and see."""

from collections.abc import Collection
from dataclasses import dataclass

ROLES = ("viewer", "editor", "admin")
"""Each may do what those before it may: search; add footage, judge and name; remove, export, and
read the log."""


@dataclass(frozen=True)
class Account:
    """Somebody who came in by a password or a token."""

    name: str
    role: str
    """One of `ROLES`."""

    cameras: Collection[str] | None = None
    """Names of the cameras whose footage may be seen, "" for footage of an unknown one; None for
    all."""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"got role {self.role!r}; expected one of {', '.join(ROLES)}")

    def may(self, role: str) -> bool:
        """Say whether it may do what this role may.

        Raises:
            ValueError: there is no such role.
        """
        return ROLES.index(self.role) >= ROLES.index(role)
