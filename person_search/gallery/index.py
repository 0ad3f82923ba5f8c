"""The gallery: people found in indexed frames, kept in a database and searched by embedding.

Letters: N people of a frame, K embeddings of one person, D embedding size.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from person_search.gallery.appearances import GalleryAppearances
from person_search.gallery.approximate import IndexOptions
from person_search.gallery.entries import check_entries
from person_search.gallery.errors import GalleryError
from person_search.gallery.judgements import GalleryJudgements
from person_search.gallery.ranking import best_per_frame, check_embeddings, fuse_embeddings
from person_search.gallery.rows import Entry, Stored, StoredFrame, StoredPerson, by_frame
from person_search.gallery.search_options import ALL_FRAMES, ByContext, FrameFilter, Refinement
from person_search.gallery.searching import (
    check_copied,
    check_model,
    check_range,
    check_removal,
    choose_frames,
    find_refined,
    to_matches,
)
from person_search.gallery.sqlite_accountability import SqliteAccountability
from person_search.gallery.store import Store, create_store, list_names, open_store
from person_search.gallery.summary import GalleryInfo, summarize
from person_search.inference.model_card import ModelCard
from person_search.people import Match, People

__all__ = ["GalleryError", "GalleryIndex", "GalleryInfo", "StoredFrame", "list_galleries"]

MERGE_FRAMES = 64

list_galleries = list_names


class GalleryIndex:
    """A gallery that frames are put into and people searched in; threads may share it.

    Make one with `create`, `open` or `open_or_create`; `close` it, or use it in a ``with``.
    """

    def __init__(self, store: Store) -> None:
        """Use `create`, `open` or `open_or_create` instead."""
        self.name, self._store = store.name, store
        self._is_open = True

    @classmethod
    def create(
        cls,
        uri: str | Path,
        name: str = "gallery",
        *,
        fingerprint: str,
        embedding_dim: int,
        approximate: Mapping[str, Any] | None = None,
        card: ModelCard | None = None,
    ) -> "GalleryIndex":
        """Make an empty gallery and open it.

        Args:
            uri: A file ending in ``.db``, made if needed, or a server's ``http://host:port``.
            name: Letters, digits and _; one file or server holds many galleries.
            fingerprint: Of the model whose embeddings it will hold.
            embedding_dim: D.
            approximate: None for exact search; else see `IndexOptions.parse`.
            card: Of the model; the gallery keeps it, to show whom it knows.

        Raises:
            GalleryError: If there is such a gallery, or the database cannot be opened.
        """
        options = IndexOptions.parse(approximate)
        return cls(create_store(uri, name, fingerprint, embedding_dim, options, card, is_new=True))

    @classmethod
    def open(cls, uri: str | Path, name: str = "gallery") -> "GalleryIndex":
        """Open a gallery.

        Raises:
            GalleryError: If there is none, it is of another version, or the database cannot be
                opened.
        """
        return cls(open_store(uri, name))

    @classmethod
    def open_or_create(
        cls,
        uri: str | Path,
        name: str = "gallery",
        *,
        fingerprint: str,
        embedding_dim: int,
        approximate: Mapping[str, Any] | None = None,
        card: ModelCard | None = None,
    ) -> "GalleryIndex":
        """Open a gallery of this model, or make it; arguments and errors as of `create`.

        Raises:
            GalleryError: Also if it is of another model. A gallery keeps its kind of index.
        """
        options = IndexOptions.parse(approximate)
        store = create_store(uri, name, fingerprint, embedding_dim, options, card, is_new=False)
        try:
            check_model(store, fingerprint)
            if embedding_dim != store.embedding_dim:
                raise GalleryError(
                    f"the gallery holds embeddings of {store.embedding_dim} numbers, the model "
                    f"makes {embedding_dim}; make another gallery"
                )
        except BaseException:
            store.close()
            raise
        return cls(store)

    @property
    def card(self) -> ModelCard | None:
        """Of the model, where it had one when the gallery was made."""
        return self._store.card

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model that made the embeddings."""
        return self._store.fingerprint

    @property
    def embedding_dim(self) -> int:
        """D."""
        return self._store.embedding_dim

    @property
    def uri(self) -> str:
        """Absolute path of the file, or the server's address without a password."""
        return self._store.uri

    def close(self) -> None:
        """Close the gallery; again does nothing."""
        if self._is_open:
            self._is_open = False
            self._store.close()

    def __enter__(self) -> "GalleryIndex":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def known_frames(self, names: Sequence[str]) -> dict[str, str]:
        """Return the content hashes of those of the frames that are in the gallery, by name."""
        found = self._open_store().frames_named(names)
        return {name: frame.content_hash for name, frame in found.items()}

    def put(self, entries: Sequence[Entry], *, fingerprint: str | None = None) -> Stored:
        """Add frames with their people; a frame that is there already is replaced.

        A frame is there whole or not at all, whenever the process or the power ends; in a file, so
        are the frames of one call.

        Args:
            entries: Frames, of different names, and their people; frames without people are kept
                too, so that they are not looked at again.
            fingerprint: Of the model that made the embeddings, to be checked.

        Returns:
            What was found in the database when it was read back.

        Raises:
            GalleryError: On embeddings of another model or size, values out of range, a full disk,
                a gallery file that was moved, deleted or replaced.
        """
        store = self._open_store()
        check_model(store, fingerprint)
        check_entries(entries, store.embedding_dim)
        return store.put(entries) if entries else Stored()

    def prepare(self) -> None:
        """Make the next search as fast as later ones; a large gallery is read once for that."""
        self._open_store().prepare()

    def search(
        self,
        embeddings: np.ndarray,
        *,
        top: int = 10,
        frames: FrameFilter = ALL_FRAMES,
        min_similarity: float | None = None,
        one_per_frame: bool = True,
        refine: Refinement | None = None,
        fingerprint: str | None = None,
        with_nobody: bool = False,
    ) -> list[Match]:
        """Find the people most similar to one person.

        Args:
            embeddings: (D,), or (K, D) of several pictures of the same person, which are fused:
                their mean, normalised.
            top: At most so many matches, 1 to 16,384.
            frames: Which to look at.
            min_similarity: Only people at least this similar, -1..1.
            one_per_frame: Return the best person of each frame, as the protocols rank, rather than
                everybody.
            refine: How to sort the best frames anew; None leaves them by similarity.
            fingerprint: Of the model that made the embeddings, to be checked.
            with_nobody: Also return, marked and besides ``top``, those that somebody called nobody
                (`GalleryGroups.call_nobody`): each such appearance once; not with ``refine``.

        Returns:
            Best first; ties by name of the frame, then by place in it. Exact, unless the gallery
            was made with an approximate index.

        Raises:
            GalleryError: On another model's fingerprint or size, embeddings that are not of unit
                norm, values out of range, an unreachable database.
        """
        store = self._open_store()
        check_model(store, fingerprint)
        rows = check_embeddings(embeddings, store.embedding_dim, "query embeddings")
        query = fuse_embeddings(rows)
        check_range(top, min_similarity)
        if refine is None:
            people = store.nearest(query, frames, top, one_per_frame)
        else:
            if isinstance(refine, ByContext):
                size = store.embedding_dim
                refine = ByContext(check_embeddings(refine.embeddings, size, "context"))
            people = find_refined(store, query, frames, top, refine)
            people = best_per_frame(people) if one_per_frame else people
        return to_matches(people, top, min_similarity, with_nobody)

    @property
    def has_appearances(self) -> bool:
        """Whether it can keep appearances; those on a server cannot."""
        return self._store.appearances is not None

    @property
    def appearances(self) -> GalleryAppearances:
        """Who stayed how long, and where; a GalleryError if the gallery is on a server."""
        return GalleryAppearances(self._open_store())

    @property
    def judgements(self) -> GalleryJudgements:
        """What people said of matches; a GalleryError if the gallery is on a server."""
        return GalleryJudgements(self._open_store())

    @property
    def accountability(self) -> SqliteAccountability | None:
        """What tells its state, where its log ended, how long it is kept; None for a server."""
        return self._open_store().accountability

    def purge(self) -> None:
        """Leave no byte of what was removed in the gallery's files; see `remove`."""
        self._open_store().purge()

    def remove(
        self,
        *,
        names: Iterable[str] | None = None,
        camera: str | None = None,
        until: float | None = None,
        missing: bool = False,
        purge: bool = True,
    ) -> Stored:
        """Remove frames and their people: those that fit everything that is given.

        Args:
            names: Names of frames; the name of a video stands for all its frames.
            camera: Frames of this camera; "" stands for an unknown one.
            until: Frames of a known time, at or before this one, in seconds.
            missing: Frames whose file is no longer there. A disk that is not mounted misses all.
            purge: Leave no byte of them in the gallery's files, which are written anew for that: a
                minute for some millions of people.

        Returns:
            What was removed.

        Raises:
            GalleryError: If nothing is given, rather than remove everything.
        """
        check_removal(names, camera, until, missing)
        store = self._open_store()
        wanted = FrameFilter(cameras=None if camera is None else [camera], until=until)
        removed = store.delete(choose_frames(store.all_frames(wanted), names, missing))
        if purge and removed.frames:
            store.purge()
        return removed

    def merge(self, other: "GalleryIndex") -> int:
        """Copy the frames of another gallery of the same model that this one lacks or has changed.

        Returns:
            How many frames were copied; 0 the second time.

        Raises:
            GalleryError: If the models differ, or the other one keeps not all people of its stays.
        """
        check_copied(self._open_store(), other._open_store())
        copied, frames = 0, other.frames()
        while batch := list(islice(frames, MERGE_FRAMES)):
            known = self.known_frames([frame.name for frame in batch])
            new = [frame for frame in batch if known.get(frame.name) != frame.content_hash]
            people = other._people_of_all(new)
            copied += self.put([(frame, people[frame.name]) for frame in new]).frames
        if self.has_appearances and other.has_appearances:
            self.appearances.groups.add_said(other.appearances.groups)
        return copied

    def frames(self) -> Iterator[StoredFrame]:
        """Yield the frames, in no particular order."""
        yield from self._open_store().all_frames()

    def people_of(self, frame_name: str) -> People:
        """Return the people of a frame, in the order they were put in.

        Raises:
            GalleryError: If the frame is not in the gallery.
        """
        found = self._open_store().frames_named([frame_name])
        if not found:
            raise GalleryError(f"{frame_name} is not in the gallery {self.name!r} of {self.uri}")
        return self._people_of_all(list(found.values()))[frame_name]

    def stored_people(self, frames: Sequence[str]) -> list[StoredPerson]:
        """Return the people of frames with embeddings and appearances, by frame as given."""
        store = self._open_store()
        people, known = store.people_of(frames), store.appearances
        return people if known is None else known.with_appearances(people)

    def info(self) -> GalleryInfo:
        """Return what the gallery holds; of a file in a time that does not grow with it."""
        return summarize(self._open_store())

    def _open_store(self) -> Store:
        if not self._is_open:
            raise GalleryError(f"the gallery {self.name!r} of {self.uri} is closed; open it again")
        return self._store

    def _people_of_all(self, frames: Sequence[StoredFrame]) -> dict[str, People]:
        names = [frame.name for frame in frames]
        return by_frame(self._open_store().people_of(names), names, self.embedding_dim)
