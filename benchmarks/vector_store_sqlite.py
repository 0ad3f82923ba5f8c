"""The candidates around SQLite and rounded rows: our gallery, sqlite-vec, usearch, simsimd."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from vector_store_baseline import PAYLOAD, Answer, NumpyStore, Store
from vector_store_rows import DIM, PEOPLE_PER_FRAME, TOP, Question, Rows, frame_of

THREADS = 2


class GalleryStore(Store):
    """The gallery of this checkout: an SQLite file, searched through a matrix of 8 bits."""

    def create(self) -> None:
        """Make a gallery."""
        from person_search.gallery.index import GalleryIndex

        path = self.folder / "people.db"
        self.gallery = GalleryIndex.create(path, fingerprint="0" * 64, embedding_dim=DIM)

    def open(self) -> None:
        """Open it."""
        from person_search.gallery.index import GalleryIndex

        self.gallery = GalleryIndex.open(self.folder / "people.db")

    def insert(self, rows: Rows) -> None:
        """Put the frames of a batch in one transaction."""
        from person_search.footage.files import Frame
        from person_search.people import People

        entries = []
        for first in range(0, len(rows.ids), PEOPLE_PER_FRAME):
            part = slice(first, first + PEOPLE_PER_FRAME)
            frame = Frame(
                rows.frames[first], f"{rows.ids[first]:064x}", rows.cameras[first],
                float(rows.timestamps[first]),
            )  # fmt: skip
            entries.append((frame, People(rows.boxes[part], rows.scores[part], rows.vectors[part])))
        self.gallery.put(entries)

    def finish(self) -> None:
        """Derive the matrix, and keep it beside the file."""
        self.gallery.prepare()

    def count(self) -> int:
        """Return the number of people."""
        return self.gallery.info().people

    def search(self, question: Question) -> Answer:
        """Search for people, not for frames."""
        from person_search.gallery.search_options import FrameFilter

        since, until = question.window or (None, None)
        if until is not None:
            # The question's window is open at its end, the gallery's is closed.
            until = float(np.nextafter(until, -np.inf))
        cameras = None if question.camera is None else [question.camera]
        frames = FrameFilter(cameras=cameras, since=since, until=until)
        found = self.gallery.search(question.vector, top=TOP, one_per_frame=False, frames=frames)
        return [(_row_of(m.image, m.person), m.similarity, _payload(m.image, m)) for m in found]

    def fetch(self, ids: list[int]) -> dict[int, tuple[np.ndarray, dict]]:
        """Read the people of frames."""
        stored = {f.name: f for f in self.gallery.frames()} if ids else {}
        found = {}
        for first in sorted({row - row % PEOPLE_PER_FRAME for row in ids}):
            frame = stored.get(frame_of(first))
            people = [] if frame is None else self.gallery.people_of(frame.name)
            for place in range(len(people)):
                values = (frame.name, frame.camera, frame.timestamp, *people.boxes[place])
                payload = dict(zip(PAYLOAD, (*values, people.scores[place]), strict=True))
                found[first + place] = (people.embeddings[place], payload)
        return {row: found[row] for row in ids if row in found}

    def close(self) -> None:
        """Close the file."""
        self.gallery.close()


def _row_of(frame: str, person: str) -> int:
    number = int(Path(frame).stem.rpartition("_")[2])
    return PEOPLE_PER_FRAME * number + int(person.rpartition("_")[2])


def _payload(frame: str, match: Any) -> dict:
    values = (frame, match.camera, match.timestamp, *match.box_xyxy, match.score)
    return dict(zip(PAYLOAD, values, strict=True))


class SqliteVecStore(Store):
    """sqlite-vec: a virtual table of SQLite that scans its vectors."""

    batch = 10_000
    kind = "float"
    value = "?"

    def create(self) -> None:
        """Make a table with the camera as partition; what is beside it only comes along."""
        self._connect()
        beside = ", ".join(f"+{name} FLOAT" for name in PAYLOAD[3:])
        self.connection.execute(
            f"CREATE VIRTUAL TABLE people USING vec0(id INTEGER PRIMARY KEY, embedding {self.kind}"
            f"[{DIM}] distance_metric=cosine, camera TEXT PARTITION KEY, timestamp FLOAT, "
            f"+frame TEXT, {beside})"
        )

    def open(self) -> None:
        """Open the file."""
        self._connect()

    def _connect(self) -> None:
        # Many builds of Python, like this one, have an sqlite3 that loads no extensions.
        import pysqlite3
        import sqlite_vec

        self.connection: sqlite3.Connection = pysqlite3.connect(self.folder / "people.db")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.enable_load_extension(True)
        sqlite_vec.load(self.connection)

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors (N, DIM) as they are stored."""
        return vectors

    def insert(self, rows: Rows) -> None:
        """Insert in one transaction."""
        columns = zip(
            rows.ids.tolist(), map(bytes, self.encode(rows.vectors)), rows.frames, rows.cameras,
            rows.timestamps.tolist(), *rows.boxes.T.tolist(), rows.scores.tolist(), strict=True,
        )  # fmt: skip
        names = ", ".join(("id", "embedding", *PAYLOAD))
        marks = ", ".join(["?", self.value, *["?"] * len(PAYLOAD)])
        with self.connection:
            self.connection.executemany(f"INSERT INTO people ({names}) VALUES ({marks})", columns)

    def count(self) -> int:
        """Return the number of rows."""
        return int(self.connection.execute("SELECT count(*) FROM people").fetchone()[0])

    def search(self, question: Question) -> Answer:
        """Search with conditions beside the match."""
        where, values = [], [bytes(self.encode(question.vector[None])[0])]
        if question.camera is not None:
            where.append("AND camera = ?")
            values.append(question.camera)
        if question.window is not None:
            where.append("AND timestamp >= ? AND timestamp < ?")
            values += question.window
        hits = self.connection.execute(
            f"SELECT id, 1 - distance, {', '.join(PAYLOAD)} FROM people WHERE embedding MATCH "
            f"{self.value} AND k = {TOP} {' '.join(where)}",
            values,
        ).fetchall()
        return [(hit[0], hit[1], dict(zip(PAYLOAD, hit[2:], strict=True))) for hit in hits]

    def fetch(self, ids: list[int]) -> dict[int, tuple[np.ndarray, dict]]:
        """Select rows by key."""
        found = {}
        for row in ids:
            hit = self.connection.execute(
                f"SELECT embedding, {', '.join(PAYLOAD)} FROM people WHERE id = ?", (row,)
            ).fetchone()
            if hit is not None:
                payload = dict(zip(PAYLOAD, hit[1:], strict=True))
                found[row] = (np.frombuffer(hit[0], np.float32), payload)
        return found

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


class SqliteVecInt8Store(SqliteVecStore):
    """The same with whole numbers of -127..127: a cosine does not know the scale of a row."""

    kind = "int8"
    value = "vec_int8(?)"

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Round each vector by its own scale."""
        return round_rows(vectors)[0]


class UsearchStore(NumpyStore):
    """The arrays of the baseline, searched by usearch, exactly."""

    def rank(self, question: Question, allowed: np.ndarray | None) -> list[tuple[int, float]]:
        """Search all rows, or those that the filters let through, copied together."""
        from usearch.index import MetricKind, search

        rows = None if allowed is None else np.flatnonzero(allowed)
        vectors = self.vectors if rows is None else self.vectors.take(rows, axis=0)
        query = self.encode(question.vector[None])[0]
        count = min(TOP, len(vectors))
        found = search(vectors, query, count, MetricKind.Cos, exact=True, threads=THREADS)
        keys = found.keys.astype(np.int64)
        picked = keys if rows is None else rows[keys]
        return list(zip(picked.tolist(), (1 - found.distances).tolist(), strict=True))


class UsearchInt8Store(UsearchStore):
    """The same with whole numbers of -127..127."""

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Round each vector by its own scale."""
        return round_rows(vectors)[0]


class SimsimdStore(NumpyStore):
    """Inner products of rounded rows, and nothing else: what the gallery's scan takes alone."""

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Round each vector by its own scale; the scale lies behind the numbers."""
        codes, scales = round_rows(vectors)
        return np.hstack([codes, scales[:, None].view(np.int8)])

    def open(self) -> None:
        """Split numbers and scales."""
        super().open()
        self.scales = self.vectors[:, DIM:].copy().view(np.float32)[:, 0]
        self.vectors = self.vectors[:, :DIM].copy()
        self.threads = ThreadPoolExecutor(THREADS)

    def rank(self, question: Question, allowed: np.ndarray | None) -> list[tuple[int, float]]:
        """Sort by the inner products of rounded rows."""
        import simsimd

        rows = None if allowed is None else np.flatnonzero(allowed)
        codes = self.vectors if rows is None else self.vectors.take(rows, axis=0)
        query, scale = round_rows(question.vector[None])
        products = np.empty(len(codes), np.float32)
        half = -(-len(codes) // THREADS)

        def work(start: int) -> None:
            part = slice(start, start + half)
            # Given an array as `out`, simsimd 6.5 returns a None that it does not own.
            found = simsimd.cdist(query, codes[part], "dot", out_dtype="float32")
            products[part] = np.asarray(found)[0]

        list(self.threads.map(work, range(0, len(codes), max(half, 1))))
        products *= (self.scales if rows is None else self.scales[rows]) * scale[0]
        best = np.arange(len(products))
        if len(best) > TOP:
            best = np.argpartition(-products, TOP)[:TOP]
        best = best[np.argsort(-products[best], kind="stable")]
        picked = best if rows is None else rows[best]
        return list(zip(picked.tolist(), products[best].tolist(), strict=True))


def round_rows(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whole numbers of -127..127, (N, DIM) int8, and the scale of each row, (N,) float32."""
    scales = (np.abs(vectors).max(axis=1) / 127).astype(np.float32)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales
