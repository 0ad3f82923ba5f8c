"""A gallery as somebody sees it who may see some cameras: rows of others are not there.

What is asked of a gallery comes from its store, so that the rows are left out there, once for all
answers: searches, appearances, groups, judgements, counts. What is not written here fails.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from person_search.gallery.camera_groups import ALL_CAMERAS, CameraGroups
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
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
from person_search.gallery.store import Appearances, Groups, Judgements, Store
from person_search.tracking.linker import LinkOptions

if TYPE_CHECKING:
    from person_search.gallery.forgetting import Forgotten
    from person_search.gallery.sqlite_accountability import SqliteAccountability
    from person_search.gallery.sqlite_alerts import SqliteAlerts
    from person_search.inference.model_card import ModelCard


def seen_by(index: GalleryIndex, cameras: Collection[str]) -> GalleryIndex:
    """Return a gallery as somebody sees it who may see these cameras.

    Frames of others are not there: in no search, appearance, group, judgement or count. It is open
    as long as the gallery is.

    Args:
        index: with all cameras.
        cameras: names; "" stands for an unknown one.
    """
    return GalleryIndex(CameraView(index._open_store(), cameras))


class CameraView:
    """A `Store` of the frames of some cameras in another one, which stays open when this is closed.

    Args:
        store: with all cameras.
        cameras: names of those that are seen; "" stands for an unknown one.
    """

    def __init__(self, store: Store, cameras: Collection[str]) -> None:
        self._store, self._cameras = store, frozenset(cameras)
        self.uri, self.name, self.version = store.uri, store.name, store.version
        self.fingerprint, self.embedding_dim = store.fingerprint, store.embedding_dim
        self.card: ModelCard | None = store.card
        self.approximate: Mapping[str, Any] | None = store.approximate

    @property
    def appearances(self) -> Appearances | None:
        """Of the cameras that are seen; None for a server."""
        rows = self._store.appearances
        return None if rows is None else CameraAppearances(rows, self._store, self._cameras)

    @property
    def judgements(self) -> Judgements | None:
        """Of people who are seen; None for a server."""
        rows = self._store.judgements
        return None if rows is None else CameraJudgements(rows, self._store, self._cameras)

    @property
    def accountability(self) -> "SqliteAccountability | None":
        """Of the whole gallery: who sees a part of it is logged with the others."""
        return self._store.accountability

    def frames_named(self, names: Sequence[str]) -> dict[str, StoredFrame]:
        """Return those of the frames that are there and seen, by name."""
        found = self._store.frames_named(names)
        return {n: frame for n, frame in found.items() if is_seen(frame, self._cameras)}

    def all_frames(self, frames: FrameFilter = ALL_FRAMES) -> Iterator[StoredFrame]:
        """Yield the frames that fit and are seen."""
        seen = only_seen(frames, self._cameras)
        yield from () if seen is None else self._store.all_frames(seen)

    def people_of(self, names: Sequence[str]) -> list[StoredPerson]:
        """Return the people of frames that are seen."""
        return [p for p in self._store.people_of(names) if is_seen(p, self._cameras)]

    def nearest(
        self, query: np.ndarray, frames: FrameFilter, top: int, one_per_frame: bool
    ) -> list[StoredPerson]:
        """Return the most similar people of frames that are seen."""
        seen = only_seen(frames, self._cameras)
        return [] if seen is None else self._store.nearest(query, seen, top, one_per_frame)

    def put(self, entries: Sequence[Entry]) -> Stored:
        """Store entries of cameras that are seen.

        Raises:
            GalleryError: One is of another camera, or would replace a frame of another.
        """
        hidden = {f.camera or "" for f, _ in entries if not is_seen(f, self._cameras)}
        there = self._store.frames_named([frame.name for frame, _ in entries])
        hidden |= {f.camera or "" for f in there.values() if not is_seen(f, self._cameras)}
        if hidden:
            seen = ", ".join(sorted(self._cameras)) or "none"
            raise GalleryError(
                "footage can be added to cameras that you may see; give one of them as the camera: "
                f"{seen}"
            )
        return self._store.put(entries)

    def delete(self, names: Sequence[str]) -> Stored:
        """Remove those of the frames that are there and seen."""
        return self._store.delete(list(self.frames_named(names)))

    def purge(self) -> None:
        """Leave no byte of what was deleted."""
        self._store.purge()

    def prepare(self) -> None:
        """Make the next search as fast as later ones."""
        self._store.prepare()

    def counts(self) -> Counts:
        """Count what is seen, in a time that grows with the frames."""
        cameras: dict[str, int] = {}
        times: list[float] = []
        frames = people = 0
        for frame in self.all_frames():
            frames, people = frames + 1, people + frame.num_people
            if frame.camera:
                cameras[frame.camera] = cameras.get(frame.camera, 0) + 1
            if frame.timestamp is not None:
                times = [min([frame.timestamp, *times]), max([frame.timestamp, *times])]
        return Counts(
            frames, people, cameras, times[0] if times else None, times[-1] if times else None,
            # Of the file: it tells how much there is of others.
            num_bytes=None,
            appearances=None if self.appearances is None else self.appearances.count(),
        )  # fmt: skip

    def close(self) -> None:
        """Do nothing: the other store is used by others."""


class CameraAppearances:
    """The `Appearances` of some cameras."""

    def __init__(self, rows: Appearances, store: Store, cameras: Collection[str]) -> None:
        """See some cameras of these."""
        self._rows, self._store, self._cameras = rows, store, cameras

    @property
    def groups(self) -> Groups:
        """Which of them may be the same person."""
        return CameraGroups(self._rows.groups, self._cameras)

    @property
    def alerts(self) -> "SqliteAlerts":
        """Refuse: alerts are told by ``watch``, which sees all cameras.

        Raises:
            GalleryError: Always.
        """
        raise GalleryError(ALL_CAMERAS)

    def link_some(self, options: LinkOptions) -> Linked | None:
        """Link the next frames, of all cameras: it tells nothing of them but their number."""
        return self._rows.link_some(options)

    def boxes_not_kept(self, frame_name: str) -> np.ndarray:
        """Return the boxes (N, 4) of people of a frame that is seen, who are not kept."""
        frame = self._store.frames_named([frame_name]).get(frame_name)
        if frame is None or not is_seen(frame, self._cameras):
            return np.zeros((0, 4), np.float32)
        return self._rows.boxes_not_kept(frame_name)

    def thin_some(self, count: int, max_gap: float, after: int) -> tuple[Thinned, int] | None:
        """Refuse to keep less of what is not seen.

        Raises:
            GalleryError: Always.
        """
        raise GalleryError(ALL_CAMERAS)

    def forget(self, appearances: Sequence[int], people: Sequence[tuple[str, int]]) -> "Forgotten":
        """Refuse: whoever is forgotten, is so before all cameras.

        Raises:
            GalleryError: Always.
        """
        raise GalleryError(ALL_CAMERAS)

    def nobodies(self) -> frozenset[int]:
        """Return the ids of those, seen or not, that are not people, as somebody said."""
        return self._rows.nobodies()

    def count(self) -> int:
        """Return how many are seen."""
        return sum(1 for _ in self.within(-np.inf, np.inf))

    def nearest(self, query: np.ndarray, frames: FrameFilter, top: int) -> list[StoredPerson]:
        """Return the most similar person of each that is seen."""
        seen = only_seen(frames, self._cameras)
        return [] if seen is None else self._rows.nearest(query, seen, top)

    def similarities(
        self, appearances: Sequence[int], query: np.ndarray, frames: FrameFilter
    ) -> dict[int, np.ndarray]:
        """Return the similarities to a query of the people of appearances that are seen."""
        seen = only_seen(frames, self._cameras)
        return {} if seen is None else self._rows.similarities(appearances, query, seen)

    def within(self, since: float, until: float) -> Iterator[StoredAppearance]:
        """Yield those that are seen and lie in a time, or overlap it."""
        for one in self._rows.within(since, until):
            if is_seen(one.appearance, self._cameras):
                yield one

    def neighbors(self, appearance: int) -> tuple[StoredAppearance | None, StoredAppearance | None]:
        """Return those that begin next before and after this one."""
        before, after = self._rows.neighbors(appearance)
        return self._one(before), self._one(after)

    def beside(self, appearance: int) -> list[StoredAppearance]:
        """Return the others that are seen and overlap this one in time."""
        return [one for one in self._rows.beside(appearance) if self._one(one) is not None]

    def by_id(self, appearances: Sequence[int]) -> dict[int, StoredAppearance]:
        """Return those that are there and seen, by id."""
        found = self._rows.by_id(appearances)
        return {i: one for i, one in found.items() if is_seen(one.appearance, self._cameras)}

    def people_of(self, appearance: int) -> list[StoredPerson]:
        """Return the people of an appearance that are seen."""
        return [p for p in self._rows.people_of(appearance) if is_seen(p, self._cameras)]

    def with_appearances(self, people: Sequence[StoredPerson]) -> list[StoredPerson]:
        """Return people who are seen with the appearances that they belong to."""
        seen = [person for person in people if is_seen(person, self._cameras)]
        return self._rows.with_appearances(seen)

    def _one(self, one: StoredAppearance | None) -> StoredAppearance | None:
        return one if one is not None and is_seen(one.appearance, self._cameras) else None


class CameraJudgements:
    """The `Judgements` of people before some cameras."""

    def __init__(self, rows: Judgements, store: Store, cameras: Collection[str]) -> None:
        """See those of some cameras."""
        self._rows, self._store, self._cameras = rows, store, cameras

    def subjects(self) -> dict[str, tuple[int, int]]:
        """Return how many right and wrong ones that are seen each subject has, by name."""
        found = {}
        for subject in self._rows.subjects():
            right = [judgement.is_right for judgement in self.of(subject)]
            if right:
                found[subject] = (sum(right), len(right) - sum(right))
        return found

    def of(self, subject: str) -> list[Judgement]:
        """Return the judgements of a subject that are seen."""
        return [j for j in self._rows.of(subject) if is_seen(j.person, self._cameras)]

    def add(
        self, subject: str, people: Sequence[tuple[str, int]], is_right: bool, maker: str
    ) -> int:
        """Judge people who are seen.

        Raises:
            GalleryError: One is not.
        """
        there = self._store.frames_named([name for name, _ in people])
        for name, _ in people:
            if name not in there or not is_seen(there[name], self._cameras):
                raise GalleryError("the gallery does not hold this match any more: search again")
        return self._rows.add(subject, people, is_right, maker)

    def undo(self, subject: str, count: int | None) -> int:
        """Take the last judgements of a subject back.

        Raises:
            GalleryError: Some of them are of people who are not seen.
        """
        if len(self.of(subject)) != len(self._rows.of(subject)):
            raise GalleryError(
                "others judged matches of cameras that you may not see; somebody who sees all "
                "cameras can take the last ones back"
            )
        return self._rows.undo(subject, count)


def is_seen(thing: Any, cameras: Collection[str]) -> bool:
    """Say whether a frame, person or appearance is of one of these cameras."""
    return (thing.camera or "") in cameras


def only_seen(frames: FrameFilter, cameras: Collection[str]) -> FrameFilter | None:
    """Return a filter that lets through what is seen, None where that is nothing."""
    wanted = cameras if frames.cameras is None else [c for c in frames.cameras if c in cameras]
    return replace(frames, cameras=sorted(wanted)) if wanted else None
