"""What every store of galleries can do: an SQLite file, or a Milvus server by its address."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from person_search.gallery.approximate import IndexOptions
from person_search.gallery.errors import GalleryError
from person_search.gallery.rows import (
    Counts,
    Entry,
    Judgement,
    Linked,
    Stored,
    StoredAppearance,
    StoredFrame,
    StoredPerson,
    Thinned,
)
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter
from person_search.inference.model_card import ModelCard
from person_search.tracking.linker import LinkOptions

if TYPE_CHECKING:
    from person_search.gallery.forgetting import Forgotten
    from person_search.gallery.sqlite_accountability import SqliteAccountability
    from person_search.gallery.sqlite_alerts import SqliteAlerts
    from person_search.gallery.sqlite_groups import SqliteGroups


class Appearances(Protocol):
    """The appearances of one gallery; threads may share it. All methods may raise GalleryError."""

    @property
    def groups(self) -> "SqliteGroups":
        """Which of them may be the same person."""

    @property
    def alerts(self) -> "SqliteAlerts":
        """Which of them alerts were told of."""

    def link_some(self, options: LinkOptions) -> Linked | None:
        """Link the next frames, so that they stay linked whatever follows; None if all are."""

    def boxes_not_kept(self, frame_name: str) -> np.ndarray:
        """Return the boxes (N, 4) of people of a frame who are counted and not kept."""

    def thin_some(self, count: int, max_gap: float, after: int) -> tuple[Thinned, int] | None:
        """Keep the best people alone of the next appearances that have ended.

        Args:
            count: So many, besides the first and the last.
            max_gap: Seconds without a sight after which an appearance has ended.
            after: Only appearances of higher ids.

        Returns:
            What was not kept, and the highest id that was looked at; None if there are no more.
        """

    def count(self) -> int:
        """Return how many appearances there are."""

    def nearest(self, query: np.ndarray, frames: FrameFilter, top: int) -> list[StoredPerson]:
        """Return the most similar person of each appearance, best first; see `Store.nearest`.

        People who belong to none count with the others of their frame.
        """

    def nobodies(self) -> frozenset[int]:
        """Return the ids of those of which somebody said that they are not people."""

    def similarities(
        self, appearances: Sequence[int], query: np.ndarray, frames: FrameFilter
    ) -> dict[int, np.ndarray]:
        """Return the similarities to a query of the people of appearances in frames that fit."""

    def within(self, since: float, until: float) -> Iterator[StoredAppearance]:
        """Yield the appearances that lie in a time, or overlap it, in seconds, by their start."""

    def neighbors(self, appearance: int) -> tuple[StoredAppearance | None, StoredAppearance | None]:
        """Return the appearances of the same stream that begin next before and after this one."""

    def beside(self, appearance: int) -> list[StoredAppearance]:
        """Return the others of the same stream that overlap this one in time, by their start."""

    def by_id(self, appearances: Sequence[int]) -> dict[int, StoredAppearance]:
        """Return those of the appearances that are there, by id."""

    def people_of(self, appearance: int) -> list[StoredPerson]:
        """Return the people of an appearance, with embeddings, by time; none if it is not there."""

    def with_appearances(self, people: Sequence[StoredPerson]) -> list[StoredPerson]:
        """Return people with the appearances that they belong to, marked where that is nobody."""

    def forget(self, appearances: Sequence[int], people: Sequence[tuple[str, int]]) -> "Forgotten":
        """Remove the people of appearances, and others by frame and number."""


class Judgements(Protocol):
    """What people said of matches; threads may share it. All methods may raise GalleryError."""

    def subjects(self) -> dict[str, tuple[int, int]]:
        """Return how many right and wrong ones each subject has, by name."""

    def of(self, subject: str) -> list[Judgement]:
        """Return the judgements of a subject in the order in which they were made."""

    def add(
        self, subject: str, people: Sequence[tuple[str, int]], is_right: bool, maker: str
    ) -> int:
        """Judge people by frame and number; return how many are there when read back."""

    def undo(self, subject: str, count: int | None) -> int:
        """Take the last judgements of a subject back, all of them for None.

        Returns:
            How many are gone when read back.
        """


class Store(Protocol):
    """The rows of one gallery; threads may share it. All methods may raise GalleryError."""

    uri: str
    """Absolute path of the file, or the server's address without a password."""

    name: str
    version: int
    """Of the tables."""

    fingerprint: str
    embedding_dim: int
    card: ModelCard | None
    approximate: Mapping[str, Any] | None
    """See `IndexOptions`; None if searches are exact."""

    @property
    def appearances(self) -> Appearances | None:
        """None for a server, which keeps none."""

    @property
    def judgements(self) -> Judgements | None:
        """Likewise."""

    @property
    def accountability(self) -> "SqliteAccountability | None":
        """Likewise."""

    def frames_named(self, names: Sequence[str]) -> dict[str, StoredFrame]:
        """Return those of the frames that are there, by name."""

    def all_frames(self, frames: FrameFilter = ALL_FRAMES) -> Iterator[StoredFrame]:
        """Yield the frames that fit, in no order; ``without`` need not be looked at."""

    def people_of(self, names: Sequence[str]) -> list[StoredPerson]:
        """Return the people of frames with their embeddings, by frame as given, then in order."""

    def nearest(
        self, query: np.ndarray, frames: FrameFilter, top: int, one_per_frame: bool
    ) -> list[StoredPerson]:
        """Return the most similar people, best first; ties by name of the frame, then by number.

        Args:
            query: (D,) float32 of unit norm.
            frames: Which to look at.
            top: At most so many, besides those that were called nobody: the best of each such
                appearance comes where it stands, marked.
            one_per_frame: Only the best of each frame.
        """

    def put(self, entries: Sequence[Entry]) -> Stored:
        """Store checked entries; what is there of the frames is replaced.

        Returns:
            What was read back after it was committed.
        """

    def delete(self, names: Sequence[str]) -> Stored:
        """Remove those of the frames that are there, with their people."""

    def purge(self) -> None:
        """Leave no byte of what was deleted in any file of the store, as far as it owns them."""

    def prepare(self) -> None:
        """Make the next search as fast as later ones."""

    def counts(self) -> Counts:
        """Count what is there."""

    def close(self) -> None:
        """Let go of files and connections; again does nothing."""


def is_address(uri: str) -> bool:
    """Say whether this is a server's address rather than a file."""
    return re.match(r"[a-z]+://", uri) is not None


def refuse_address(uri: str) -> None:
    """Refuse the address of a server where only a file will do.

    Raises:
        GalleryError: Saying so.
    """
    if is_address(uri):
        raise GalleryError(
            f"{uri} is a server's; expected a gallery file. A server's data are checked and "
            "copied with its own tools"
        )


def list_names(uri: str | Path) -> list[str]:
    """Return the names of the galleries in a file or on a server, sorted.

    Raises:
        GalleryError: If it cannot be opened.
    """
    if is_address(str(uri)):
        from person_search.gallery import milvus_store

        return milvus_store.list_names(str(uri))
    from person_search.gallery import sqlite_store

    return sqlite_store.list_names(Path(uri))


def open_store(uri: str | Path, name: str) -> Store:
    """Open a gallery that exists.

    Raises:
        GalleryError: If there is none, it is of another version, or cannot be opened.
    """
    if is_address(str(uri)):
        from person_search.gallery.milvus_store import MilvusStore

        return MilvusStore.open(str(uri), name)
    from person_search.gallery.sqlite_store import SqliteStore

    return SqliteStore.open(Path(uri), name)


def create_store(
    uri: str | Path,
    name: str,
    fingerprint: str,
    embedding_dim: int,
    options: IndexOptions,
    card: ModelCard | None,
    is_new: bool,
) -> Store:
    """Make an empty gallery, or open the one that is there unless ``is_new``.

    Raises:
        GalleryError: If the name is not allowed, or taken where it must be new, or the store lacks
            the index.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", name):
        raise GalleryError(
            f"gallery name {name!r}: expected at most 100 letters, digits and _, no digit first"
        )
    if is_address(str(uri)):
        from person_search.gallery.milvus_store import MilvusStore

        return MilvusStore.create(
            str(uri), name, fingerprint, embedding_dim, options, card, is_new=is_new
        )
    from person_search.gallery.sqlite_store import SqliteStore

    if options.index_type != "FLAT":
        raise GalleryError(
            f"a gallery in a file is always searched exactly, without {options.index_type}; leave "
            "approximate out, or give the address of a Milvus server"
        )
    return SqliteStore.create(Path(uri), name, fingerprint, embedding_dim, card, is_new=is_new)
