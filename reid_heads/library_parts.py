"""Parts of other libraries that their makers do not promise to keep.

Each library has one adapter, the only file that touches such parts of it; it looks them up here, so
that a version without one is refused by a message that says what to install.
"""

import importlib
from importlib import metadata
from typing import Any, NamedTuple


class MissingPartError(ImportError):
    """The installed version of a library lacks a part that an adapter leans on."""


class Library(NamedTuple):
    """A library of which one file of ours uses more than the public interface."""

    name: str
    """As pip calls it."""

    known: str
    """The version that the adapter is known to work with."""

    adapter: str
    """Path of the file that leans on it."""

    install: str
    """What brings the known version."""

    def part(self, owner: Any, name: str) -> Any:
        """Return an attribute that the library may drop without a word.

        Args:
            owner: object, class or module; a module may be given by its name.
            name: of the attribute.

        Raises:
            MissingPartError: the module or the attribute is not there.
        """
        try:
            place = importlib.import_module(owner) if isinstance(owner, str) else owner
            return getattr(place, name)
        except (ModuleNotFoundError, AttributeError) as error:
            kind = owner if isinstance(owner, type) else type(owner)
            where = owner if isinstance(owner, str) else f"{kind.__module__}.{kind.__qualname__}"
            raise MissingPartError(self.complaint(f"{where}.{name}")) from error

    def complaint(self, what: str) -> str:
        """Return the message about a part that the installed version lacks."""
        return (
            f"{self.adapter} leans on {what}, which {self.name} {self.installed()} does not have; "
            f"it is known to work with {self.known}: {self.install}"
        )

    def installed(self) -> str:
        """Return the installed version, or a word that says there is none."""
        try:
            return metadata.version(self.name)
        except metadata.PackageNotFoundError:
            return "(not installed)"
