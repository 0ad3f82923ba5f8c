"""The appearances of one gallery in an SQLite file."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from person_search.gallery.appearance_rows import AppearanceRow, AppearanceRows, Links
from person_search.gallery.database import Database
from person_search.gallery.errors import GalleryError
from person_search.gallery.forgetting import Forgotten, forget, people_to_forget
from person_search.gallery.group_rows import GroupRows
from person_search.gallery.keeping_best import KeepingBest
from person_search.gallery.linking import Linking
from person_search.gallery.matrix import Matrix
from person_search.gallery.matrix_search import KeysOf
from person_search.gallery.ranking import cut_besides
from person_search.gallery.rows import Linked, StoredAppearance, StoredPerson, Thinned, to_match
from person_search.gallery.schema import PEOPLE_IDS
from person_search.gallery.search_options import FrameFilter
from person_search.gallery.sqlite_alerts import SqliteAlerts
from person_search.gallery.sqlite_groups import SqliteGroups
from person_search.gallery.sqlite_rows import PersonRow, Rows
from person_search.gallery.sqlite_search import Keys, Searching, similarities
from person_search.tracking.linker import LinkOptions

_PAGE = 500


class SqliteAppearances:
    """The appearances of one gallery; threads may share it. See `Appearances`."""

    def __init__(
        self, database: Database, gallery: int, embedding_dim: int, searching: Searching
    ) -> None:
        """Keep the appearances of the gallery of an id."""
        self._database, self._gallery, self._dim = database, gallery, embedding_dim
        self._searching = searching
        self.groups = SqliteGroups(database, gallery)
        self.alerts = SqliteAlerts(database, gallery)
        self._lock = threading.Lock()
        self._links: tuple[int, Links] | None = None
        self._nobodies: tuple[tuple[int, ...], frozenset[int]] | None = None

    def link_some(self, options: LinkOptions) -> Linked | None:
        """Link the next frames, in one transaction; None if all are linked."""
        with self._database.reading("linking") as connection:
            if self._linking(connection, options).next_place() is None:
                return None
        with self._database.writing("linking") as connection:
            linking = self._linking(connection, options)
            place = linking.next_place()
            # Another process may have done it meanwhile.
            return None if place is None else linking.link_some(place)

    def boxes_not_kept(self, frame_name: str) -> np.ndarray:
        """Return the boxes (N, 4) of people of a frame who are counted and not kept."""
        with self._database.reading() as connection:
            frame = self._people_rows(connection).frames_named([frame_name]).get(frame_name)
            found = [] if frame is None else self._rows(connection).boxes_not_kept(frame.id)
        return np.array(found, np.float32).reshape(-1, 4)

    def thin_some(self, count: int, max_gap: float, after: int) -> tuple[Thinned, int] | None:
        """Keep the best people alone of the next appearances, in one transaction; see the store."""
        with self._database.writing("leaving out people") as connection:
            keeping = KeepingBest(connection, self._gallery, self._database.path)
            return keeping.thin_some(count, max_gap, after)

    def count(self) -> int:
        """Return how many appearances there are."""
        with self._database.reading() as connection:
            return self._rows(connection).count()

    def nearest(self, query: np.ndarray, frames: FrameFilter, top: int) -> list[StoredPerson]:
        """Return the most similar person of each appearance, best first, exactly."""
        found = self._searching.nearest(query, frames, top + len(self.nobodies()), self._keys)
        return cut_besides(self.with_appearances(found), top)

    def nearest_people(
        self, query: np.ndarray, frames: FrameFilter, top: int, keys: Keys
    ) -> list[StoredPerson]:
        """Return the most similar people; see `Store.nearest`.

        Nobody stands before a person of the same frame: an appearance of nobody counts by itself.
        """
        nobodies = self.nobodies()
        if not nobodies:
            return self._searching.nearest(query, frames, top, keys)
        hidden = np.array(sorted(nobodies), np.int64)

        def apart(connection: sqlite3.Connection, matrix: Matrix) -> KeysOf:
            links, others = self._current(connection), keys(connection, matrix)

            def keys_of(rows: np.ndarray) -> np.ndarray:
                found = links.of(matrix.ids_of(rows))
                return np.where(np.isin(found, hidden), -1 - found, others(rows))

            return keys_of

        people = self.with_appearances(
            self._searching.nearest(query, frames, top + len(hidden), apart)
        )
        return cut_besides([replace(person, appearance=None) for person in people], top)

    def nobodies(self) -> frozenset[int]:
        """Return the ids of the appearances of which somebody said that they are not people."""
        with self._database.reading() as connection:
            rows = GroupRows(connection, self._gallery, self._database.path)
            version = rows.said_version()
            with self._lock:
                if self._nobodies is None or self._nobodies[0] != version:
                    self._nobodies = version, rows.nobody_appearances()
                return self._nobodies[1]

    def similarities(
        self, appearances: Sequence[int], query: np.ndarray, frames: FrameFilter
    ) -> dict[int, np.ndarray]:
        """Return the similarities to a query of the people of appearances in frames that fit."""
        with self._database.reading("searching") as connection:
            rows, found = self._people_rows(connection), {}
            for own_id in appearances:
                members = self._rows(connection).people_of(own_id)
                people = rows.people_by_id([person for person, *_ in members])
                said = rows.frames_by_id(sorted({p.id // PEOPLE_IDS for p in people}))
                fit = [p for p in people if frames.fits(said[p.id // PEOPLE_IDS])]
                found[own_id] = similarities(fit, query)
        return found

    def within(self, since: float, until: float) -> Iterator[StoredAppearance]:
        """Yield the appearances of a time, by their start."""
        with self._database.reading() as connection:
            rows = list(self._rows(connection).within(since, until))
        for first in range(0, len(rows), _PAGE):
            with self._database.reading() as connection:
                yield from self._stored(connection, rows[first : first + _PAGE])

    def neighbors(self, appearance: int) -> tuple[StoredAppearance | None, StoredAppearance | None]:
        """Return the appearances of the same stream that begin next before and after this one."""
        with self._database.reading() as connection:
            before, after = self._rows(connection).neighbors(appearance)
            return (
                self._stored(connection, [before])[0] if before else None,
                self._stored(connection, [after])[0] if after else None,
            )

    def beside(self, appearance: int) -> list[StoredAppearance]:
        """Return the others of the same stream that overlap this one in time, by their start."""
        with self._database.reading() as connection:
            return self._stored(connection, self._rows(connection).beside(appearance))

    def by_id(self, appearances: Sequence[int]) -> dict[int, StoredAppearance]:
        """Return those of the appearances that are there, by id."""
        with self._database.reading() as connection:
            rows = self._rows(connection).by_id(appearances)
            stored = self._stored(connection, list(rows.values()))
            return {one.appearance.id: one for one in stored}

    def people_of(self, appearance: int) -> list[StoredPerson]:
        """Return the people of an appearance, with embeddings, by time."""
        with self._database.reading() as connection:
            # A number that no column holds is nobody's, too.
            row = self._rows(connection).by_id([appearance]).get(appearance)
            if row is None:
                return []
            members = self._rows(connection).people_of(appearance)
            found = self._in_frames(connection, [person for person, *_ in members])
        return [replace(person, appearance=row.said(person.camera)) for person in found]

    def with_appearances(self, people: Sequence[StoredPerson]) -> list[StoredPerson]:
        """Return people with the appearances that they belong to, marked where that is nobody."""
        nobodies = self.nobodies()
        with self._database.reading() as connection:
            rows = self._rows(connection)
            links = self._current(connection)
            frames = self._people_rows(connection).frames_named([p.frame_name for p in people])
            ids = np.array(
                [
                    frames[p.frame_name].id * PEOPLE_IDS + p.number if p.frame_name in frames else 0
                    for p in people
                ],
                np.int64,
            )
            of_people = links.of(ids).tolist()
            found = rows.by_id([i for i in of_people if i >= 0])
        return [
            replace(p, appearance=found[i].said(p.camera), is_nobody=i in nobodies)
            if i in found
            else p
            for p, i in zip(people, of_people, strict=True)
        ]

    def forget(self, appearances: Sequence[int], people: Sequence[tuple[str, int]]) -> Forgotten:
        """Remove the people of appearances, and others by frame and number, in one transaction."""
        with self._database.writing("removing a person") as connection:
            there = self._rows(connection).by_id(appearances)
            missing = [f"appearance {i}" for i in appearances if i not in there]
            rows = self._people_rows(connection)
            frames = rows.frames_named([name for name, _ in people])
            missing += [
                f"person {number + 1} of {name}"
                for name, number in people
                if not 0 <= number < PEOPLE_IDS
                or name not in frames
                or not rows.has_person(frames[name].id * PEOPLE_IDS + number)
            ]
            if missing:
                raise GalleryError(
                    f"the gallery does not hold {missing[0]}; nothing was removed: list or search "
                    "again, as footage may have been linked anew"
                )
            others = [frames[name].id * PEOPLE_IDS + number for name, number in people]
            gone = people_to_forget(connection, appearances, others)
            done = forget(connection, self._gallery, self._database.path, gone)
        with self._database.afresh("reading back") as connection:
            question = "SELECT count(*) FROM people WHERE id IN (SELECT value FROM json_each(?))"
            left = connection.execute(question, (json.dumps(sorted(gone)),)).fetchone()[0]
        if left:
            raise GalleryError(
                f"{self._database.path}: {left} people are still there after their removal was "
                "committed; check the disk, then run the same again"
            )
        return done

    def _keys(self, connection: sqlite3.Connection, matrix: Matrix) -> KeysOf:
        links = self._current(connection)

        def keys_of(rows: np.ndarray) -> np.ndarray:
            found = links.of(matrix.ids_of(rows))
            # Whoever belongs to none counts with the others of the frame, as in still pictures.
            return np.where(found < 0, -1 - matrix.locate(rows)[0], found)

        return keys_of

    def _current(self, connection: sqlite3.Connection) -> Links:
        version = connection.execute(
            "SELECT links FROM galleries WHERE id = ?", (self._gallery,)
        ).fetchone()[0]
        with self._lock:
            if self._links is None or self._links[0] != version:
                self._links = version, self._rows(connection).links()
            return self._links[1]

    def _stored(
        self, connection: sqlite3.Connection, rows: list[AppearanceRow]
    ) -> list[StoredAppearance]:
        people = self._in_frames(connection, [row.best for row in rows])
        found = []
        for row, person in zip(rows, people, strict=True):
            said = row.said(person.camera)
            mean = (row.total / max(np.linalg.norm(row.total), 1e-12)).astype(np.float32)
            best = to_match(replace(person, appearance=said))
            found.append(StoredAppearance(said, best, mean))
        return found

    def _in_frames(self, connection: sqlite3.Connection, ids: list[int]) -> list[StoredPerson]:
        rows = self._people_rows(connection)
        people: list[PersonRow] = rows.people_by_id(ids)
        frames = rows.frames_by_id(sorted({p.id // PEOPLE_IDS for p in people}))
        return [p.in_frame(frames[p.id // PEOPLE_IDS]) for p in people]

    def _rows(self, connection: sqlite3.Connection) -> AppearanceRows:
        return AppearanceRows(connection, self._gallery, self._database.path)

    def _people_rows(self, connection: sqlite3.Connection) -> Rows:
        return Rows(connection, self._gallery, self._database.path)

    def _linking(self, connection: sqlite3.Connection, options: LinkOptions) -> Linking:
        return Linking(connection, self._gallery, self._database.path, self._dim, options)
