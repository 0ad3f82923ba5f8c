"""A Milvus server: the connection, and the two collections that make a gallery on it.

The model's fingerprint, the embedding size and the version are kept, as JSON, in the description of
the frames collection, which is created last; a gallery exists once it does.
"""

import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from person_search.gallery.approximate import IndexOptions
from person_search.gallery.entries import MAX_CAMERA_BYTES, MAX_NAME_BYTES
from person_search.gallery.errors import GalleryError
from person_search.gallery.milvus_rows import any_of

CONNECT_TIMEOUT = 5.0
# Writing 1,000 rows takes 0.1 s. The client repeats some failing calls until this is over.
CALL_TIMEOUT = 30.0

MAX_ROWS = 16_384
"""The server returns no more rows to one question."""
WRITE_ROWS = 1_000
SAMPLE_ROWS = 1_000
"""Rows asked for to learn of a camera, or of an earlier time, that is not known yet."""

MARK = "person_search_gallery"
# The inner product, which is the cosine of vectors of unit norm as all here are. For COSINE the
# server would compute the norm of every row in every search.
METRIC = "IP"


class MilvusServer:
    """A client of a server; threads may share it."""

    def __init__(self, uri: str) -> None:
        """Reach a server.

        Args:
            uri: ``http://host:port`` or ``https://host:port``; the server's token is read from the
                environment variable MILVUS_TOKEN.

        Raises:
            GalleryError: If it does not answer or refuses, or the client is not installed.
        """
        self.uri = re.sub(r"//[^/@]*@", "//", uri)
        """The address as it may be shown, without a password."""
        if urlsplit(uri).scheme not in ("http", "https"):
            raise GalleryError(
                f"gallery {self.uri}: expected http://host:port or https://host:port"
            )
        try:
            from pymilvus import MilvusClient, MilvusException
        except ImportError as error:
            raise GalleryError(
                f"the gallery {self.uri} needs the client of Milvus; install it with: "
                "pip install 'person-search[milvus]'"
            ) from error
        # Errors reach the user as exceptions; the client would log each with its traceback too.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
        token = os.environ.get("MILVUS_TOKEN", "")
        try:
            self._client = MilvusClient(uri=uri, token=token, timeout=CONNECT_TIMEOUT)
            self._client.list_collections(timeout=CONNECT_TIMEOUT)
        except MilvusException as error:
            raise GalleryError(
                f"cannot reach a Milvus server at {self.uri} ({_text_of(error)}); check that it "
                "runs, the address, and MILVUS_TOKEN in the environment if it wants a token"
            ) from error
        self._is_open = True

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of `pymilvus.MilvusClient`.

        Raises:
            GalleryError: If it fails.
        """
        if not self._is_open:
            raise GalleryError(f"the gallery {self.uri} is closed; open it again")
        from pymilvus import MilvusException

        try:
            return getattr(self._client, method)(*args, **{"timeout": CALL_TIMEOUT, **kwargs})
        except MilvusException as error:
            text = _text_of(error)
            if re.search("Fail connecting|UNAVAILABLE|DEADLINE", text):
                raise GalleryError(
                    f"the server {self.uri} does not answer (to {method}); check that it runs and "
                    "is reachable, then run the same again"
                ) from error
            raise GalleryError(f"the server {self.uri} refused (to {method}): {text}") from error

    def close(self) -> None:
        """Let go of the connection; again does nothing."""
        if self._is_open:
            self._is_open = False
            self._client.close()

    def names(self) -> list[str]:
        """Return the names of the galleries, sorted."""
        names = [c.removesuffix("_frames") for c in self.call("list_collections") if "_frames" in c]
        return sorted(name for name in names if self.describe(f"{name}_frames") is not None)

    def describe(self, collection: str) -> dict[str, Any] | None:
        """Return what is known of a gallery's collection, None if it is not there or not one."""
        if not self.call("has_collection", collection):
            return None
        with suppress(ValueError):
            found = json.loads(self.call("describe_collection", collection)["description"])
            if isinstance(found, dict) and MARK in found:
                return found
        return None

    def make_gallery(
        self, name: str, embedding_dim: int, options: IndexOptions, description: dict[str, Any]
    ) -> None:
        """Make the collections ``NAME_people`` and ``NAME_frames``.

        Raises:
            GalleryError: If there are such that are no gallery's, or the server lacks the index.
        """
        for collection in (f"{name}_people", f"{name}_frames"):
            if self.describe(collection):  # left from a kill while creating
                self.call("drop_collection", collection)
            elif self.call("has_collection", collection):
                raise GalleryError(
                    f"{self.uri} has a collection {collection} that is not of a gallery; it was "
                    "left as it is, choose another name"
                )
        from pymilvus import DataType

        text = {"frame": 32, "frame_name": MAX_NAME_BYTES}
        numbers = dict.fromkeys(("x1", "y1", "x2", "y2", "score"), DataType.FLOAT)
        index = {"index_type": options.index_type, "params": options.build_params()}
        vector = ("embedding", embedding_dim, index)
        self._make(f"{name}_people", {"id": 48, **text}, numbers, vector, {MARK: description[MARK]})
        # The server wants a vector in every collection.
        text, numbers = {"id": 32, "name": MAX_NAME_BYTES}, {"num_people": DataType.INT64}
        self._make(
            f"{name}_frames", text, numbers, ("unused", 2, {"index_type": "FLAT"}), description
        )

    def _make(
        self,
        collection: str,
        text: dict[str, int],
        numbers: dict[str, Any],
        vector: tuple[str, int, dict[str, Any]],
        description: dict[str, Any],
    ) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, description=json.dumps(description))
        for field, length in {**text, "content_hash": 64, "camera": MAX_CAMERA_BYTES}.items():
            schema.add_field(field, DataType.VARCHAR, max_length=length, is_primary=field == "id")
        for field, kind in {"timestamp": DataType.DOUBLE, **numbers}.items():
            schema.add_field(field, kind)
        field, size, index = vector
        schema.add_field(field, DataType.FLOAT_VECTOR, dim=size)
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index(field, index_name=field, metric_type=METRIC, **index)
        level = "Strong"  # where a question does not say another
        self.call(
            "create_collection",
            collection,
            schema=schema,
            index_params=indexes,
            consistency_level=level,
        )


class Collection:
    """The rows of one collection."""

    def __init__(self, server: MilvusServer, name: str) -> None:
        """Take a collection that exists."""
        self._server, self._name = server, name

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the client that takes the collection's name first; errors as there."""
        return self._server.call(method, self._name, *args, **kwargs)

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write rows of new ids, or over those of the same ids."""
        for start in range(0, len(rows), WRITE_ROWS):
            # Another client may store the same frame: inserted, both rows would stay.
            self.call("upsert", rows[start : start + WRITE_ROWS])

    def delete(self, field: str, names: Sequence[str]) -> None:
        """Delete the rows of frames, whose id is in the field."""
        for expression in any_of(field, names):
            self.call("delete", filter=expression)

    def count(self, expression: str, level: str = "Bounded") -> int:
        """Count the rows that fit a filter, "" for all, as the consistency level sees them."""
        rows = self._query(expression, ["count(*)"], consistency_level=level)
        return int(rows[0]["count(*)"])

    def count_of(self, field: str, names: Sequence[str], level: str = "Bounded") -> int:
        """Count the rows of frames, whose id is in the field."""
        return sum(self.count(expression, level) for expression in any_of(field, names))

    def sample(self, field: str, filters: list[str]) -> list[Any]:
        """Return a field of some rows that fit all filters; none only if there are none."""
        rows = self._query(" and ".join(filters), [field], limit=SAMPLE_ROWS)
        return [row[field] for row in rows]

    def rows_of(
        self, field: str, names: Sequence[str], fields: list[str]
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of frames, whose id is in the field."""
        for expression in any_of(field, names):
            yield from self.rows([expression], fields)

    def rows(
        self, filters: list[str], fields: list[str], start: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows that fit all filters, and whose id begins so.

        All at once, or, where they are too many for an answer, by the next character of the ids,
        which are random.
        """
        begin = [f'id like "{start}%"'] if start else []
        rows = self._query(" and ".join([*filters, *begin]), fields, limit=MAX_ROWS)
        if len(rows) < MAX_ROWS:
            yield from rows
            return
        if start:
            yield from self._query(" and ".join([*filters, f'id == "{start}"']), fields)
        for character in "0123456789abcdef_":
            yield from self.rows(filters, fields, start + character)

    def _query(self, expression: str, fields: list[str], **kwargs: Any) -> list[dict[str, Any]]:
        kwargs = {"consistency_level": "Bounded", **kwargs}
        return list(self.call("query", filter=expression, output_fields=fields, **kwargs))


def _text_of(error: Any) -> str:
    return " ".join(str(error.message).split())
