"""Refusing what a gallery cannot store, before anything of it is."""

import math
import unicodedata
from collections.abc import Sequence

import numpy as np

from person_search.gallery.errors import GalleryError
from person_search.gallery.ranking import check_embeddings
from person_search.gallery.rows import Entry, FrameLike
from person_search.people import People

MAX_NAME_BYTES = 8_192
MAX_CAMERA_BYTES = 1_024
MAX_FRAME_PEOPLE = 65_536
LEAST_TIME = -1e18
"""Times lie above; a Milvus server keeps no empty fields, and stores this for an unknown one."""


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
    if time is not None and not (math.isfinite(time) and time > LEAST_TIME):
        raise GalleryError(f"timestamp of {frame.name} is {time}; expected seconds, or None")
    if frame.size is not None and not all(0 < pixels < 2**31 for pixels in frame.size):
        raise GalleryError(
            f"size of {frame.name} is {frame.size}; expected width and height in pixels, or None"
        )


def _check_people(name: str, people: People, embedding_dim: int) -> None:
    boxes, scores = np.asarray(people.boxes), np.asarray(people.scores)
    count = len(boxes)
    if boxes.shape != (count, 4) or scores.shape != (count,) or len(people.embeddings) != count:
        raise GalleryError(
            f"people of {name}: got boxes {boxes.shape}, scores {scores.shape}, embeddings "
            f"{np.shape(people.embeddings)}; expected (N, 4), (N,) and (N, {embedding_dim})"
        )
    if count > MAX_FRAME_PEOPLE:
        raise GalleryError(f"{name} has {count} people; expected at most {MAX_FRAME_PEOPLE}")
    if not count:
        return
    if not np.isfinite(boxes).all() or (boxes[:, 2:] <= boxes[:, :2]).any():
        raise GalleryError(f"people of {name}: expected finite boxes with x1 < x2 and y1 < y2")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise GalleryError(f"people of {name}: expected scores of 0 to 1")
    check_embeddings(people.embeddings, embedding_dim, f"embeddings of {name}")
