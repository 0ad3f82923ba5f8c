"""The log of a gallery: who asked for what, when, what was shown, and who judged it.

It is switched on and off for a gallery file as a whole, for the shell and the page alike, and says
so itself: a gallery is logged if there is a log whose last entry does not end it. Fields are those
that Article 12(3) of the EU's AI Act (Regulation (EU) 2024/1689) asks for: the period of each use,
the database that was searched, the input, and the people who verify the result. See
docs/log_and_retention.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from person_search.accountability.chain_file import ChainFile, Known
from person_search.accountability.entries import Entry
from person_search.accountability.errors import LogError
from person_search.accountability.log_settings import read_settings
from person_search.accountability.pictures import QueryPictures
from person_search.accountability.places import log_file, query_pictures
from person_search.accountability.uses import Use, now
from person_search.accountability.verifying import ChainReport, verify_chain
from person_search.gallery.sqlite_accountability import LogHead

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

ON, OFF = "log on", "log off"
LOGIN = "login"


class ActivityLog:
    """The log of the file or server that a gallery is in; threads and processes may share it.

    Example:
        log = ActivityLog(index)
        with log.use("search", user="anna", via="page") as use:
            matches = index.search(person.embeddings)
            use.asked(picture, person.box(0)).showed(matches)
        # Only now the matches are shown: the entry is on the disk.
    """

    def __init__(self, index: "GalleryIndex") -> None:
        """Touch nothing yet."""
        self._index = index
        self.path = log_file(index.uri)
        self._pictures = QueryPictures(query_pictures(index.uri))
        self._chain = ChainFile(self.path, mode_of(index.uri))

    @property
    def is_on(self) -> bool:
        """Whether uses of the gallery are logged.

        A log that is gone or was cut off, though the gallery knows that it was on, is begun again
        or goes on, and says so.

        Raises:
            GalleryError: The gallery cannot be read.
            LogError: The log cannot be read.
        """
        last = self._chain.last()
        if last is not None and last["action"] != OFF:
            return True
        head = self._head()
        if last is not None:  # was it the end, or were later entries cut off?
            return head is not None and head.is_on and head.seq > last["seq"]
        return self._chain.has_bytes() if head is None else head.is_on

    def use(self, action: str, *, user: str | None = None, via: str = "python") -> Use:
        """Begin a use: an entry is written when it ends, by ``with`` or `Use.end`.

        Args:
            action: What is done, such as ``search``.
            user: By whom; None where nobody was asked who it is.
            via: ``page``, ``api``, ``shell`` or ``python``.

        Raises:
            LogError: The log is on and cannot be written; the use must not begin.
        """
        if not self.is_on:
            return Use(None, {})
        self._chain.check_writable()
        begun = {
            "action": action,
            "start": now(),
            "user": user,
            "via": via,
            "gallery": {
                "file": Path(self._index.uri).name,
                "name": self._index.name,
                "model": self._index.fingerprint,
                "state": self.state(),
            },
        }
        keeps = self._pictures if self.settings().get("pictures") else None
        return Use(self._finish, begun, keeps)

    def record(
        self, action: str, *, user: str | None = None, via: str = "python", **said: Any
    ) -> None:
        """Write an entry of what takes no time; see `use`."""
        self.use(action, user=user, via=via).said(**said).end()

    def login(self, user: str | None, *, succeeded: bool, via: str = "page") -> None:
        """Write that somebody logged in, or tried to.

        Args:
            user: Name of an account; None for a name that none has, which may be a password in the
                wrong field.
            succeeded: Whether they are in.
            via: See `use`.
        """
        self.record(LOGIN, user=user, via=via, succeeded=succeeded)

    def logout(self, user: str | None, *, via: str = "page") -> None:
        """Write that somebody logged out."""
        self.record("logout", user=user, via=via)

    def switch_on(
        self, *, user: str | None = None, via: str = "python", pictures: bool | None = None
    ) -> bool:
        """Log from now on; again changes only what is given.

        Args:
            user: Who switches it on.
            via: See `use`.
            pictures: Keep the pictures of people who are searched for; None as before, at first
                not.

        Returns:
            Whether anything changed.
        """
        before = self.settings()
        settings = {"pictures": before.get("pictures", False) if pictures is None else pictures}
        is_on = self._chain.last() is not None and self.is_on
        if is_on and settings == before:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        moment = {"start": now(), "user": user, "via": via}
        self._finish({**moment, "action": ON, "settings": settings})
        return True

    def switch_off(self, *, user: str | None = None, via: str = "python") -> bool:
        """Log no more, and say so in the log; return whether it was on."""
        if not self.is_on:
            return False
        self._finish({"action": OFF, "start": now(), "user": user, "via": via})
        return True

    def settings(self) -> dict[str, Any]:
        """Return what was said when it was switched on last; empty if it never was."""
        try:
            return read_settings(self.path)
        except OSError as error:
            raise LogError(f"the log {self.path} cannot be read: {error.strerror}") from error

    def entries(self) -> list[Entry]:
        """Return all entries that are as they were written, oldest first; none without a log."""
        return list(self._chain.entries()) if self._chain.exists() else []

    def verify(self, heads: dict[str, tuple[int | None, str]] | None = None) -> ChainReport:
        """Compare the log with itself, with what the gallery knows, and with heads of others.

        Raises:
            LogError: There is no log, or it cannot be read.
        """
        heads = dict(heads or {})
        known = self._head()
        if known is not None:
            heads["the gallery"] = (known.seq, known.hash)
        if not self._chain.exists():
            if known is None:
                raise LogError(f"there is no log {self.path}: it was never on")
            raise LogError(
                f"the log {self.path} is gone: the gallery knows that it had {known.seq + 1} "
                "entries"
            )
        report = verify_chain(self._chain, heads)
        report.problems += self._pictures.check(self._chain.entries())
        return report

    def cut(self, before: float, *, rule: str, user: str | None = None, via: str) -> int:
        """Remove the oldest entries, those that ended before a time, and their pictures.

        The chain stays whole: its last entry says up to where it was cut. Returns how many went.
        """
        if not self._chain.exists():
            return 0
        problems = len(self.verify().problems)
        pictures = self._pictures.kept(self._chain.entries())
        latest = max(now(), before)
        removed = self._chain.cut(
            # Written while the clock was wrong: as old as what follows.
            lambda entry: None if entry["end"] > latest else entry["end"] < before,
            {"start": now(), "end": now(), "user": user, "via": via, "rule": rule,
             "problems_before": problems},
            {"settings": self.settings()},
            self._keep_head,
        )  # fmt: skip
        left = self._pictures.kept(self._chain.entries())
        self._pictures.remove([*(pictures - left), *self._pictures.unknown(left)])
        return removed

    def state(self) -> str | None:
        """Return what tells the state of the gallery; None for a server, which cannot."""
        own = self._index.accountability
        return None if own is None else own.state()

    def _finish(self, content: Entry) -> Entry:
        head = self._head()
        known = None if head is None else Known(head.seq, head.hash)
        return self._chain.append({**content, "end": now()}, known, self._keep_head)

    def _keep_head(self, entry: Entry) -> None:
        own = self._index.accountability
        if own is not None:
            own.keep_log_head(LogHead(entry["seq"], entry["hash"], entry["action"] != OFF))

    def _head(self) -> LogHead | None:
        own = self._index.accountability
        return None if own is None else own.log_head()


def mode_of(uri: str) -> int:
    """Return who may read and write the log: whoever may the gallery."""
    try:
        return Path(uri).stat().st_mode & 0o666
    except OSError:
        return 0o600
