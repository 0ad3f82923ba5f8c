"""A gallery on a Milvus server: two collections, people and frames.

A frame row is written after the people of its frame and deleted before them. It is the mark that
the frame is complete: what a kill leaves half done has people without a frame row, which no search
returns and which the next put of that frame replaces.

Writes are counted back with Strong consistency, which waits for the server's next time tick (200 ms
by default). Searches and other reads are Bounded, which does not wait: they see what was counted
back before; where the server keeps several replicas, after 5 s at the latest.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import numpy as np

from person_search.gallery.approximate import IndexOptions
from person_search.gallery.errors import GalleryError
from person_search.gallery.milvus_rows import (
    FRAME_FIELDS,
    HAS_TIME,
    PERSON_FIELDS,
    any_of,
    filters_of,
    frame_row,
    literals,
    person_rows,
    to_frame,
    to_person,
)
from person_search.gallery.milvus_server import MARK, MAX_ROWS, METRIC, Collection, MilvusServer
from person_search.gallery.ranking import best_per_frame, sort_by_similarity
from person_search.gallery.rows import Counts, Entry, Stored, StoredFrame, StoredPerson
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter
from person_search.inference.model_card import ModelCard

logger = logging.getLogger(__name__)

LAYOUT = 1
"""Version of the collections: the same as when galleries in files had version 1."""
LOAD_TIMEOUT = 180.0
INDEX_TIMEOUT = 1_800.0
LEAST_INDEXED_ROWS = 1_024
"""The server builds no index of smaller segments, but compares with all of their rows."""

# People asked for at first, for each frame wanted; frames hold several, who look alike.
_FIRST_SHARE = 4
_FIRST_LEAST = 64
# Where everybody counts: for ties with the last one, and people of frames that a kill left half.
_SPARE = 16
_GROWTH = 4


def list_names(uri: str) -> list[str]:
    """Return the names of the galleries of a server, sorted.

    Raises:
        GalleryError: If it does not answer or refuses.
    """
    with closing(MilvusServer(uri)) as server:
        return server.names()


class MilvusStore:
    """The rows of one gallery on a server; a `Store`."""

    version, appearances, judgements, accountability = LAYOUT, None, None, None

    def __init__(self, server: MilvusServer, name: str) -> None:
        """Use `open` or `create` instead."""
        found = server.describe(f"{name}_frames")
        if found is None:
            there = ", ".join(server.names()) or "none"
            raise GalleryError(
                f"there is no gallery named {name!r} in {server.uri}; there are: {there}"
            )
        if found[MARK] != LAYOUT:
            raise GalleryError(
                f"gallery {name!r} in {server.uri} has version {found[MARK]!r}, this program reads "
                f"version {LAYOUT} of a server's; use the program that made it, or index the "
                "footage anew into another gallery"
            )
        self.uri, self.name = server.uri, name
        self.fingerprint = str(found["fingerprint"])
        self.embedding_dim = int(found["embedding_dim"])
        self.card = ModelCard.from_record(found.get("card"))
        self._options = IndexOptions.parse(found.get("approximate"))
        self.approximate: Mapping[str, Any] | None = self._options.as_dict()
        self._server = server
        self._people = Collection(server, f"{name}_people")
        self._frames = Collection(server, f"{name}_frames")
        self._writing = threading.Lock()
        self._must_look_at_index = bool(self.approximate)
        for collection in (self._people, self._frames):
            collection.call("load_collection", timeout=LOAD_TIMEOUT)
            collection.count("", "Strong")  # what was written before is seen from here on

    @classmethod
    def open(cls, uri: str, name: str) -> "MilvusStore":
        """Open a gallery that exists.

        Raises:
            GalleryError: If there is none of this name, it is of another version, or the server
                does not answer.
        """
        server = MilvusServer(uri)
        try:
            return cls(server, name)
        except BaseException:
            server.close()
            raise

    @classmethod
    def create(
        cls,
        uri: str,
        name: str,
        fingerprint: str,
        embedding_dim: int,
        options: IndexOptions,
        card: ModelCard | None,
        *,
        is_new: bool,
    ) -> "MilvusStore":
        """Make an empty gallery, or open the one that is there unless ``is_new``.

        Raises:
            GalleryError: If the name is taken where it must be new, or by other collections, or
                the server does not answer or lacks the index.
        """
        with closing(MilvusServer(uri)) as server:
            if server.describe(f"{name}_frames") is None:
                meta = {MARK: LAYOUT, "fingerprint": fingerprint, "embedding_dim": embedding_dim}
                meta |= {"approximate": options.as_dict()}
                meta |= {} if card is None else {"card": card.to_dict()}
                server.make_gallery(name, embedding_dim, options, meta)
            elif is_new:
                raise GalleryError(
                    f"there is a gallery named {name!r} in {server.uri} already; open it, or "
                    "choose another name"
                )
            return cls.open(uri, name)

    def frames_named(self, names: Sequence[str]) -> dict[str, StoredFrame]:
        """Return those of the frames that are there, by name."""
        rows = self._frames.rows_of("id", names, FRAME_FIELDS)
        return {row["name"]: to_frame(row) for row in rows}

    def all_frames(self, frames: FrameFilter = ALL_FRAMES) -> Iterator[StoredFrame]:
        """Yield the frames that fit, in no particular order; ``without`` is not looked at."""
        return map(to_frame, self._frames.rows(filters_of(frames), FRAME_FIELDS))

    def people_of(self, names: Sequence[str]) -> list[StoredPerson]:
        """Return the people of frames with their embeddings, by frame as given, then in order."""
        rows = self._people.rows_of("frame", names, [*PERSON_FIELDS, "embedding"])
        place = {name: i for i, name in enumerate(names)}
        return sorted(map(to_person, rows), key=lambda p: (place[p.frame_name], p.number))

    def nearest(
        self, query: np.ndarray, frames: FrameFilter, top: int, one_per_frame: bool
    ) -> list[StoredPerson]:
        """Return the most similar people, best first; ties by name of the frame, then by number.

        The server ranks people, not frames. So more are asked for than wanted; while that gives too
        few frames, the next question leaves out the frames already found. It goes on past ``top``
        as long as the last one has the same similarity, so that ties are settled by name. Where an
        approximate index is not built, a warning says so.

        Args:
            query: (D,) float32 of unit norm.
            frames: Which to look at.
            top: At most so many; 16,384 where all people of a frame may be among them.
            one_per_frame: Only the best of each frame.
        """
        self._look_at_index()
        found: list[StoredPerson] = []
        seen = dict.fromkeys(frames.without)
        wanted = max(_FIRST_SHARE * top, _FIRST_LEAST) if one_per_frame else top + _SPARE
        limit = min(MAX_ROWS, wanted)
        while True:
            people = self._search(query, limit, filters_of(frames), list(seen))
            names = dict.fromkeys(p.frame_name for p in people)
            complete = {row["name"] for row in self._frames.rows_of("id", list(names), ["name"])}
            fresh = sort_by_similarity(p for p in people if p.frame_name in complete)
            if one_per_frame:
                found = sort_by_similarity([*found, *best_per_frame(fresh)])
                seen |= names
            else:
                found = fresh
            if len(people) < limit:
                return found[:top]
            has_all = len(found) >= top and people[-1].similarity < found[top - 1].similarity
            if has_all or (limit == MAX_ROWS and (len(found) >= top or not one_per_frame)):
                return found[:top]
            limit = min(MAX_ROWS, _GROWTH * limit)

    def put(self, entries: Sequence[Entry]) -> Stored:
        """Store checked entries; what is there of the frames is replaced.

        Returns:
            What the server counted afterwards.

        Raises:
            GalleryError: Also if that is not what was written; these frames are to be put again.
        """
        names = [frame.name for frame, _ in entries]
        with self._writing:
            self._remove(names)
            people = [row for entry in entries for row in person_rows(*entry)]
            self._people.write(people)
            self._frames.write([frame_row(*entry) for entry in entries])
            stored, written = self._count_of(names, "Strong"), Stored(len(entries), len(people))
            self._must_look_at_index = bool(self.approximate)
            if stored != written:
                with suppress(GalleryError):
                    self._frames.delete("id", names)  # the mark that they are complete
                    self._frames.count("", "Strong")
                raise GalleryError(_explain("writing", written, stored, self.uri))
        return stored

    def delete(self, names: Sequence[str]) -> Stored:
        """Remove those of the frames that are there, with their people.

        Returns:
            How many the server counted before; afterwards it counted none.
        """
        names = list(dict.fromkeys(names))
        with self._writing:
            removed = self._remove(names)
            left = self._count_of(names, "Strong") if any(removed) else Stored()
        if any(left):
            raise GalleryError(_explain("removing", Stored(), left, self.uri))
        return removed

    def purge(self) -> None:
        """Ask the server to rewrite its files without the deleted rows.

        No client can do more: the server does it when it finds the time, and keeps the files of
        before and its log of writes as long as its settings say, hours to days by default.
        """
        for collection in (self._people, self._frames):
            collection.call("flush", timeout=LOAD_TIMEOUT)
            collection.call("compact")

    def prepare(self) -> None:
        """Wait until an approximate index is built and used, for at most INDEX_TIMEOUT seconds.

        Until then the server searches by a makeshift index that finds less; a warning says so where
        it takes longer. An exact gallery is ready when it is open.
        """
        if not self.approximate:
            return
        # Rows that came last are indexed only once they are in a file.
        self._people.call("flush", timeout=LOAD_TIMEOUT)
        deadline = time.monotonic() + INDEX_TIMEOUT
        while self._count_unindexed() >= LEAST_INDEXED_ROWS and time.monotonic() < deadline:
            time.sleep(0.5)
        self._must_look_at_index = True
        self._look_at_index()

    def counts(self) -> Counts:
        """Count what is there.

        The server counts, and is asked for cameras and for ever earlier and later times until it
        knows no more: some ten questions and one for each camera, which look at all frames but
        return few. People whom a kill left without their frame are counted too, until it is put
        again.
        """
        frames, people = (c.count("", "Strong") for c in (self._frames, self._people))
        cameras: dict[str, int] = {}
        while new := self._frames.sample("camera", [f"camera not in {literals(['', *cameras])}"]):
            for camera in set(new):
                cameras[camera] = self._frames.count(f"camera in {literals([camera])}")
        first, last = self._last_time(min, "<"), self._last_time(max, ">")
        return Counts(frames, people, dict(sorted(cameras.items())), first, last, None)

    def close(self) -> None:
        """Let go of the connection; again does nothing."""
        self._server.close()

    def _search(
        self, query: np.ndarray, limit: int, filters: list[str], without: Sequence[str]
    ) -> list[StoredPerson]:
        if without:
            filters = [*filters, *(f"not ({part})" for part in any_of("frame", without))]
        (hits,) = self._people.call(
            "search",
            data=[query.astype(np.float32)],
            anns_field="embedding",
            filter=" and ".join(filters),
            limit=limit,
            output_fields=PERSON_FIELDS,
            search_params={"metric_type": METRIC, "params": self._options.search_params(limit)},
            consistency_level="Bounded",
        )
        return [to_person(hit["entity"], hit["distance"]) for hit in hits]

    def _remove(self, names: Sequence[str]) -> Stored:
        there = self._count_of(names)
        if any(there):
            self._frames.delete("id", names)
            self._people.delete("frame", names)
        return there

    def _count_of(self, names: Sequence[str], level: str = "Bounded") -> Stored:
        """Count frames and their people, both at once: each may wait for the server's tick."""
        parts = ((self._frames, "id"), (self._people, "frame"))
        with ThreadPoolExecutor(2) as pool:
            return Stored(*pool.map(lambda part: part[0].count_of(part[1], names, level), parts))

    def _last_time(self, choose: Callable[[list[float]], float], beyond: str) -> float | None:
        last, filters = None, [HAS_TIME]
        while times := self._frames.sample("timestamp", filters):
            last = choose(times)
            filters = [HAS_TIME, f"timestamp {beyond} {last!r}"]
        return last

    def _count_unindexed(self) -> int:
        """Count the people whom the server searches without the index that was asked for.

        Built is not enough: the server takes an index into use some seconds later.
        """
        index = self._people.call("describe_index", "embedding")
        segments = self._people.call("list_loaded_segments")
        used = (s.num_rows for s in segments if s.index_name or s.num_rows < LEAST_INDEXED_ROWS)
        return max(0, max(int(index["total_rows"]), self._people.count("")) - int(sum(used)))

    def _look_at_index(self) -> None:
        count = self._count_unindexed() if self._must_look_at_index else 0
        self._must_look_at_index = False
        if count >= LEAST_INDEXED_ROWS:
            logger.warning(
                "%s of gallery %r is not built yet for %d people, and a search may miss some",
                self._options.index_type,
                self.name,
                count,
            )


def _explain(doing: str, wanted: Stored, counted: Stored, uri: str) -> str:
    return (
        f"after {doing}, the server {uri} holds {counted.frames} frames with {counted.people} "
        f"people of them, and {wanted.frames} with {wanted.people} were expected; if no other "
        "process writes the same frames, look at the server's logs, and run the same again"
    )
