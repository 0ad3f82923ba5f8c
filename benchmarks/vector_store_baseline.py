"""What is asked of a vector store, and the baseline: arrays in memory."""

from pathlib import Path

import numpy as np
from vector_store_rows import TOP, Question, Rows

PAYLOAD = ("frame", "camera", "timestamp", "x1", "y1", "x2", "y2", "score")
Answer = list[tuple[int, float, dict]]


class Store:
    """What is asked of a store.

    `batch` is the number of rows of one insert. `create` and `open` leave the store usable,
    `insert` returns when the rows are acknowledged, `finish` builds indexes or tidies up after a
    large load, `search` returns the TOP rows by cosine similarity with what is stored beside them,
    best first, and `fetch` returns vector and payload of the rows that exist among some.
    """

    batch = 1000

    def __init__(self, folder: Path) -> None:
        """Remember where the data lies."""
        self.folder = folder

    def finish(self) -> None:
        """Do nothing where nothing is to be done."""

    def close(self) -> None:
        """Do nothing where nothing is to be done."""

    def engine_pids(self) -> list[int]:
        """Return processes of the engine that are no descendants of this one."""
        return []


class NumpyStore(Store):
    """The baseline: arrays in memory, saved as a whole."""

    batch = 10_000

    def create(self) -> None:
        """Start with nothing."""
        self.parts: list[Rows] = []

    def insert(self, rows: Rows) -> None:
        """Keep the rows; they are saved by `finish` only."""
        self.parts.append(rows)

    def finish(self) -> None:
        """Save all rows."""
        encoded = [self.encode(p.vectors) for p in self.parts]
        np.save(self.folder / "vectors.npy", np.concatenate(encoded))
        np.savez(
            self.folder / "columns.npz",
            frame=np.array([frame for p in self.parts for frame in p.frames], "S64"),
            camera=np.array([camera for p in self.parts for camera in p.cameras], "S16"),
            timestamp=np.concatenate([p.timestamps for p in self.parts]),
            box=np.concatenate([p.boxes for p in self.parts]),
            score=np.concatenate([p.scores for p in self.parts]),
        )

    def open(self) -> None:
        """Read all rows."""
        self.vectors = np.load(self.folder / "vectors.npy")
        with np.load(self.folder / "columns.npz") as columns:
            self.columns = dict(columns)

    def count(self) -> int:
        """Return the number of rows."""
        return len(self.vectors)

    def search(self, question: Question) -> Answer:
        """Rank what the filters let through."""
        allowed = choose_rows(question, self.columns["camera"], self.columns["timestamp"])
        ranked = self.rank(question, allowed)
        return [(row, similarity, self._payload(row)) for row, similarity in ranked]

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors (N, DIM) as they are kept."""
        return vectors

    def rank(self, question: Question, allowed: np.ndarray | None) -> list[tuple[int, float]]:
        """Return the best of the rows that are allowed, and their similarities."""
        return rank_rows(self.vectors, question.vector, allowed, TOP)

    def _payload(self, row: int) -> dict:
        values = {key: self.columns[key][row] for key in ("frame", "camera", "timestamp", "score")}
        values["frame"], values["camera"] = values["frame"].decode(), values["camera"].decode()
        return values | dict(zip(PAYLOAD[3:7], self.columns["box"][row], strict=True))


def choose_rows(
    question: Question, cameras: np.ndarray, timestamps: np.ndarray
) -> np.ndarray | None:
    """Return which rows (N,) the filters let through; None for all."""
    allowed = None
    if question.camera is not None:
        allowed = cameras == question.camera.encode()
    if question.window is not None:
        inside = (timestamps >= question.window[0]) & (timestamps < question.window[1])
        allowed = inside if allowed is None else allowed & inside
    return allowed


def rank_rows(
    vectors: np.ndarray, query: np.ndarray, allowed: np.ndarray | None, top: int
) -> list[tuple[int, float]]:
    """Return the best rows of (N, D) and their similarities: a product, and a partial sort.

    Few rows are gathered before the product; of many it is faster to compute all.
    """
    if allowed is None:
        rows, similarities = None, vectors @ query
    else:
        rows = np.flatnonzero(allowed)
        is_few = len(rows) < len(allowed) / 10
        similarities = vectors[rows] @ query if is_few else (vectors @ query)[rows]
    best = np.arange(len(similarities))
    if len(best) > top:
        best = np.argpartition(-similarities, top)[:top]
    best = best[np.argsort(-similarities[best], kind="stable")]
    picked = best if rows is None else rows[best]
    return list(zip(picked.tolist(), similarities[best].tolist(), strict=True))
