"""Putting frames into a gallery, in an order that a kill cannot spoil."""

import math
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from person_search.footage.frames import split_frame_name
from person_search.gallery.engine import GalleryError, free_bytes
from person_search.gallery.ranking import check_embeddings
from person_search.gallery.rows import MAX_CAMERA_BYTES, MAX_NAME_BYTES, NO_TIME, frame_id
from person_search.gallery.store import WRITE_ROWS, Store
from person_search.people import People

# A write is refused where the disk has less room than this many times its size, and this much more:
# SQLite, below the engine, writes each page to its journal too.
_ROOM_FACTOR = 4
_ROOM_SPARE = 2**20
_ROW_BYTES = 1_000  # besides the embedding


class FrameLike(Protocol):
    """What is stored of a frame: `footage.Frame` and `StoredFrame` have it."""

    @property
    def name(self) -> str:
        """Absolute path of the image, or ``FILE#frame=N``."""

    @property
    def content_hash(self) -> str:
        """Tells whether the frame changed."""

    @property
    def camera(self) -> str | None:
        """Name of the camera, None if unknown."""

    @property
    def timestamp(self) -> float | None:
        """Seconds, None if unknown."""


Entry = tuple[FrameLike, People]


def check_entries(entries: Sequence[Entry], embedding_dim: int) -> None:
    """Refuse what cannot be stored, before anything is.

    Raises:
        GalleryError: Naming the frame.
    """
    names = [frame.name for frame, _ in entries]
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise GalleryError(f"{twice} is given twice; expected each frame once")
    for frame, people in entries:
        _check_frame(frame)
        _check_people(frame.name, people, embedding_dim)


def put_entries(store: Store, path: Path | None, entries: Sequence[Entry]) -> None:
    """Store frames: old frame rows go first, new ones come last.

    Args:
        store: Where.
        path: The gallery's file, None for a server.
        entries: Checked ones.

    Raises:
        GalleryError: If the disk is full, or the database refuses.
    """
    for group in _groups(entries):
        if path is not None:
            _check_room(path, group, store.embedding_dim)
        store.delete([frame_id(frame.name) for frame, _ in group])
        store.write_people([row for entry in group for row in _person_rows(*entry)])
        store.write_frames([_frame_row(*entry) for entry in group])


def delete_frames(store: Store, expression: str, names: Iterable[str] | None, missing: bool) -> int:
    """Delete the frames that fit everything that is given, and their people.

    Args:
        store: Where.
        expression: A filter, or "".
        names: Of frames, or of videos for all their frames; None for all.
        missing: Only frames whose file is no longer there.

    Returns:
        How many frames were deleted.
    """
    wanted = None if names is None else set(names)
    ids = []
    for frame in store.all_frames(expression):
        file = split_frame_name(frame.name)[0]
        is_wanted = wanted is None or frame.name in wanted or file in wanted
        if is_wanted and not (missing and os.path.exists(file)):
            ids.append(frame.id)
    store.delete(ids)
    return len(ids)


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Split into groups of few rows, so that little is lost with one."""
    group: list[Entry] = []
    rows = 0
    for entry in entries:
        if group and rows + len(entry[1].boxes) + 1 > WRITE_ROWS:
            yield group
            group, rows = [], 0
        group.append(entry)
        rows += len(entry[1].boxes) + 1
    if group:
        yield group


def _check_room(path: Path, group: Sequence[Entry], embedding_dim: int) -> None:
    rows = sum(len(people.boxes) + 1 for _, people in group)
    needed = _ROOM_FACTOR * rows * (4 * embedding_dim + _ROW_BYTES) + _ROOM_SPARE
    free = free_bytes(path)
    if free < needed:
        raise GalleryError(
            f"the disk of {path} is full: {free / 2**20:.1f} MiB are free, {needed / 2**20:.1f} "
            "needed; what was stored before is intact: free some space and run the same again"
        )


def _check_frame(frame: FrameLike) -> None:
    for text, most, what in (
        (frame.name, MAX_NAME_BYTES, "name of a frame"),
        (frame.content_hash, 64, "content hash"),
        (frame.camera or "", MAX_CAMERA_BYTES, "camera"),
    ):
        try:
            length = len(text.encode())
        except UnicodeEncodeError as error:
            raise GalleryError(f"{what} {text!r} is not Unicode; rename the file") from error
        if length > most or (not length and what != "camera"):
            raise GalleryError(
                f"{what} {text[:60]!r}: got {length} bytes, expected 1 to {most}; shorten it"
            )
    if any(unicodedata.category(c) == "Cc" for c in frame.camera or ""):
        raise GalleryError(
            f"camera {frame.camera!r} of {frame.name} holds control characters; expected printable "
            "text"
        )
    time = frame.timestamp
    if time is not None and not (math.isfinite(time) and time > NO_TIME):
        raise GalleryError(f"timestamp of {frame.name} is {time}; expected seconds, or None")


def _check_people(name: str, people: People, embedding_dim: int) -> None:
    boxes, scores = np.asarray(people.boxes), np.asarray(people.scores)
    count = len(boxes)
    if boxes.shape != (count, 4) or scores.shape != (count,) or len(people.embeddings) != count:
        raise GalleryError(
            f"people of {name}: got boxes {boxes.shape}, scores {scores.shape}, embeddings "
            f"{np.shape(people.embeddings)}; expected (N, 4), (N,) and (N, {embedding_dim})"
        )
    if not count:
        return
    if not np.isfinite(boxes).all() or (boxes[:, 2:] <= boxes[:, :2]).any():
        raise GalleryError(f"people of {name}: expected finite boxes with x1 < x2 and y1 < y2")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise GalleryError(f"people of {name}: expected scores of 0 to 1")
    check_embeddings(people.embeddings, embedding_dim, f"embeddings of {name}")


def _frame_row(frame: FrameLike, people: People) -> dict[str, Any]:
    return {
        "id": frame_id(frame.name),
        "name": frame.name,
        **_shared_fields(frame),
        "num_people": len(people.boxes),
    }


def _person_rows(frame: FrameLike, people: People) -> Iterator[dict[str, Any]]:
    own_id, shared = frame_id(frame.name), _shared_fields(frame)
    boxes = np.asarray(people.boxes, np.float32).tolist()
    scores = np.asarray(people.scores, np.float32).tolist()
    embeddings = np.asarray(people.embeddings, np.float32)
    # Half precision may have left a norm a little off one, which the search takes it to be.
    norms = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    embeddings = np.where(abs(norms - 1) > 1e-6, embeddings / norms, embeddings)
    for number, box in enumerate(boxes):
        yield {
            "id": f"{own_id}_{number}",
            "frame": own_id,
            "frame_name": frame.name,
            **shared,
            **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
            "score": scores[number],
            "embedding": embeddings[number],
        }


def _shared_fields(frame: FrameLike) -> dict[str, Any]:
    return {
        "content_hash": frame.content_hash,
        "camera": frame.camera or "",
        "timestamp": NO_TIME if frame.timestamp is None else float(frame.timestamp),
    }
