"""The rows of one gallery in the vector database: two collections, people and frames.

A frame row is written after the people of its frame and deleted before them. It is the mark that
the frame is complete: what a kill leaves half done has people without a frame row, which no search
returns and which the next put of that frame replaces.

The model's fingerprint, the embedding size and the version are kept, as JSON, in the description of
the frames collection, which is created last; a gallery exists once it does. Everything is asked
for by ids, which are hexadecimal, or by literals of `text_literal` and `repr`, never by text as it
came.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from person_search.gallery.approximate import IndexOptions
from person_search.gallery.engine import OPEN_TIMEOUT, Engine, GalleryError
from person_search.gallery.rows import (
    MAX_CAMERA_BYTES,
    MAX_NAME_BYTES,
    StoredFrame,
    StoredPerson,
    any_of,
    text_literal,
    to_frame,
    to_person,
)
from person_search.inference.model_card import ModelCard

VERSION = 1
# The inner product, which is the cosine of vectors of unit norm as all here are. The engine takes
# half the time for it: for COSINE it computes the norm of every row in every search.
METRIC = "IP"
MARK = "person_search_gallery"
# The database returns no more rows to one question.
MAX_ROWS = 16_384
# Above this, the time of a write grows faster than the rows.
WRITE_ROWS = 1_000
# Ids in one filter.
QUESTION_IDS = 4_000

FRAME_FIELDS = ["id", "name", "content_hash", "camera", "timestamp", "num_people"]
PERSON_FIELDS = ["id", "frame", "frame_name", "camera", "timestamp", "score"]
PERSON_FIELDS += ["x1", "y1", "x2", "y2"]


def list_names(engine: Engine) -> list[str]:
    """Return the names of the galleries, sorted."""
    collections = engine.call("list_collections", "listing the galleries")
    names = [c.removesuffix("_frames") for c in collections if c.endswith("_frames")]
    return sorted(name for name in names if _describe(engine, name) is not None)


class Store:
    """The rows of one gallery."""

    def __init__(self, engine: Engine, name: str) -> None:
        """Open a gallery that exists.

        Raises:
            GalleryError: If there is none of this name, or it is of another version.
        """
        found = _describe(engine, name)
        if found is None:
            there = ", ".join(list_names(engine)) or "none"
            raise GalleryError(
                f"there is no gallery named {name!r} in {engine.uri}; there are: {there}"
            )
        if found.get(MARK) != VERSION:
            raise GalleryError(
                f"gallery {name!r} in {engine.uri} has version {found.get(MARK)!r}, this program "
                f"reads version {VERSION}; use the program that made it, or index the footage anew "
                "into another gallery"
            )
        self._engine = engine
        self._people, self._frames = f"{name}_people", f"{name}_frames"
        self.fingerprint = str(found["fingerprint"])
        self.embedding_dim = int(found["embedding_dim"])
        self.card = ModelCard.from_record(found.get("card"))
        self.options = IndexOptions.parse(found.get("approximate"))
        for collection in (self._people, self._frames):
            # Reads all rows from the disk: 5 s for 100,000.
            self._call("load_collection", "opening the gallery", collection, timeout=OPEN_TIMEOUT)

    @classmethod
    def create(
        cls,
        engine: Engine,
        name: str,
        fingerprint: str,
        embedding_dim: int,
        options: IndexOptions,
        card: ModelCard | None = None,
    ) -> "Store":
        """Make an empty gallery.

        Raises:
            GalleryError: If the name is taken or not allowed, or the engine lacks the index.
        """
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", name):
            raise GalleryError(
                f"gallery name {name!r}: expected at most 100 letters, digits and _, no digit first"
            )
        if engine.path and options.index_type != "FLAT":
            raise GalleryError(
                f"a gallery in a file is always searched exactly, without {options.index_type} "
                "(its engine takes IVF_FLAT but does not use it); leave approximate out, or give "
                "the address of a Milvus server"
            )
        if _describe(engine, name) is not None:
            raise GalleryError(
                f"there is a gallery named {name!r} in {engine.uri} already; open it, or choose "
                "another name"
            )
        meta: dict[str, Any] = {
            MARK: VERSION,
            "fingerprint": fingerprint,
            "embedding_dim": embedding_dim,
        }
        meta["approximate"] = options.as_dict()
        if card is not None:
            meta["card"] = card.to_dict()
        for kind in ("people", "frames"):
            collection = f"{name}_{kind}"
            # What is there of a gallery without description is left from a kill while creating.
            engine.call("drop_collection", "clearing what is left of a gallery", collection)
            try:
                _create_collection(engine, collection, kind, embedding_dim, options, meta)
            except GalleryError:
                with suppress(GalleryError):
                    engine.call("drop_collection", "undoing", collection)
                raise
        return cls(engine, name)

    def frames(self, ids: Sequence[str]) -> dict[str, StoredFrame]:
        """Return those of the frames that are there, by id."""
        rows = self._query_ids(self._frames, "id", ids, FRAME_FIELDS)
        return {row["id"]: to_frame(row) for row in rows}

    def present_frames(self, ids: Sequence[str]) -> set[str]:
        """Return those of the frames that are there; much faster than `frames`.

        Of 250,000 frames the engine counts some in 1 ms, but takes 30 ms to return their ids.
        Mostly all are there, and the number says so.

        Args:
            ids: Each once.
        """
        found: set[str] = set()
        for start in range(0, len(ids), QUESTION_IDS):
            some = list(ids[start : start + QUESTION_IDS])
            expression = any_of("id", some)
            rows = self._call("query", "counting", self._frames, expression, ["count(*)"])
            if rows[0]["count(*)"] < len(some):
                rows = self._call("query", "reading", self._frames, expression, ["id"])
                some = [row["id"] for row in rows]
            found.update(some)
        return found

    def all_frames(self, expression: str = "") -> Iterator[StoredFrame]:
        """Yield the frames that fit a filter, in no particular order."""
        for row in self._iterate(self._frames, expression, FRAME_FIELDS):
            yield to_frame(row)

    def people_of(self, frames: Sequence[str]) -> list[StoredPerson]:
        """Return the people of frames with their embeddings, by frame as given, then in order."""
        fields = [*PERSON_FIELDS, "embedding"]
        rows = self._query_ids(self._people, "frame", frames, fields)
        place = {frame: i for i, frame in enumerate(frames)}
        people = [to_person(row, 0.0) for row in rows]
        return sorted(people, key=lambda person: (place[person.frame], person.number))

    def nearest(
        self, embedding: np.ndarray, limit: int, expression: str, without: Sequence[str] = ()
    ) -> list[StoredPerson]:
        """Return the most similar people, best first.

        Args:
            embedding: (D,) float32 of unit norm.
            limit: At most MAX_ROWS.
            expression: A filter, or "".
            without: Ids of frames to leave out.
        """
        parts = [f"({expression})"] if expression else []
        if without:
            parts.append(f"frame not in [{', '.join(map(text_literal, without))}]")
        hits = self._call(
            "search",
            "searching",
            self._people,
            data=[embedding.astype(np.float32)],
            anns_field="embedding",
            filter=" and ".join(parts),
            limit=limit,
            output_fields=PERSON_FIELDS,
            search_params={"metric_type": METRIC, "params": self.options.search_params(limit)},
        )[0]
        return [to_person(hit["entity"], hit["distance"]) for hit in hits]

    def write_people(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store rows of people, whose frames were deleted before."""
        self._write(self._people, rows)

    def write_frames(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store rows of frames, which were deleted before."""
        self._write(self._frames, [{**row, "unused": [0.0, 1.0]} for row in rows])

    def delete(self, frames: Sequence[str]) -> None:
        """Delete frames and their people; the frames first, see above."""
        for collection, field in ((self._frames, "id"), (self._people, "frame")):
            for start in range(0, len(frames), WRITE_ROWS):
                ids = frames[start : start + WRITE_ROWS]
                self._call("delete", "deleting", collection, filter=any_of(field, ids))

    def _call(self, method: str, doing: str, *args: Any, **kwargs: Any) -> Any:
        return self._engine.call(method, doing, *args, **kwargs)

    def _write(self, collection: str, rows: Sequence[dict[str, Any]]) -> None:
        # What is there was deleted, so an insert is enough: six times faster than an upsert where
        # the file holds 100,000 people. On a server another client may store the same frame.
        method = "insert" if self._engine.path else "upsert"
        for start in range(0, len(rows), WRITE_ROWS):
            some = list(rows[start : start + WRITE_ROWS])
            self._call(method, "storing", collection, some)

    def _query_ids(
        self, collection: str, field: str, ids: Sequence[str], fields: list[str]
    ) -> Iterator[dict[str, Any]]:
        for start in range(0, len(ids), QUESTION_IDS):
            expression = any_of(field, ids[start : start + QUESTION_IDS])
            yield from self._iterate(collection, expression, fields)

    def _iterate(
        self, collection: str, expression: str, fields: list[str]
    ) -> Iterator[dict[str, Any]]:
        rows = self._call(
            "query", "reading", collection, filter=expression, output_fields=fields, limit=MAX_ROWS
        )
        if len(rows) < MAX_ROWS:
            yield from rows
            return
        iterator = self._call(
            "query_iterator",
            "reading",
            collection,
            filter=expression,
            output_fields=fields,
            batch_size=WRITE_ROWS,
        )
        try:
            while True:
                with self._engine.explaining("reading"):
                    batch = iterator.next()
                if not batch:
                    return
                yield from batch
        finally:
            iterator.close()


def _describe(engine: Engine, name: str) -> dict[str, Any] | None:
    """Return what is known of a gallery, None if it does not exist or is not one."""
    collection = f"{name}_frames"
    if not engine.call("has_collection", "looking for the gallery", collection):
        return None
    found = engine.call("describe_collection", "looking at the gallery", collection)
    try:
        description = json.loads(found["description"])
    except ValueError:
        return None
    is_ours = isinstance(description, dict) and MARK in description
    return description if is_ours else None


def _create_collection(
    engine: Engine,
    collection: str,
    kind: str,
    embedding_dim: int,
    options: IndexOptions,
    meta: dict[str, Any],
) -> None:
    from pymilvus import DataType

    description = json.dumps(meta) if kind == "frames" else ""
    schema = engine.client.create_schema(
        auto_id=False, enable_dynamic_field=False, description=description
    )
    text: dict[str, int] = {
        "people": {"id": 48, "frame": 32, "frame_name": MAX_NAME_BYTES},
        "frames": {"id": 32, "name": MAX_NAME_BYTES},
    }[kind]
    for field, length in {**text, "content_hash": 64, "camera": MAX_CAMERA_BYTES}.items():
        schema.add_field(field, DataType.VARCHAR, max_length=length, is_primary=field == "id")
    schema.add_field("timestamp", DataType.DOUBLE)
    indexes = engine.client.prepare_index_params()
    if kind == "people":
        for field in ("x1", "y1", "x2", "y2", "score"):
            schema.add_field(field, DataType.FLOAT)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=embedding_dim)
        build: dict[str, Any] = {"index_type": options.index_type, "params": options.build_params()}
        indexes.add_index("embedding", metric_type=METRIC, **build)
    else:
        schema.add_field("num_people", DataType.INT64)
        # The engine wants a vector in every collection.
        schema.add_field("unused", DataType.FLOAT_VECTOR, dim=2)
        indexes.add_index("unused", index_type="FLAT", metric_type=METRIC)
    engine.call(
        "create_collection",
        "making the gallery",
        collection,
        schema=schema,
        index_params=indexes,
        consistency_level="Strong",  # a reader sees what was written before
    )
