"""Queries as a user writes them: a picture, and who in it is meant.

Letters: N people found in a picture, D embedding size.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from person_search.footage.frames import read_frame, split_frame_name
from person_search.inference.crops import embed_person, find_filling
from person_search.people import Box, People, paired_iou

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

FORMS = "IMG, IMG:x1,y1,x2,y2 or IMG#NUMBER"
SAME_PERSON_IOU = 0.5
"""Overlap from which on a person found in the picture is the one asked for."""

_NUMBER = r"\s*[-+]?\d+(?:\.\d+)?\s*"
_ENDING = re.compile(
    rf"(?P<image>.+?)(?::(?P<box>{_NUMBER}(?:,{_NUMBER}){{3}})|#(?P<person>\d+))", re.DOTALL
)


@dataclass(frozen=True)
class QueryText:
    """What was written."""

    image: str
    """Picture file, or ``FILE#frame=N`` of a video."""

    box: Box | None = None
    """(x1, y1, x2, y2) in original pixels."""

    person: int | None = None
    """Number of a person found in the picture, from 1."""


@dataclass(frozen=True)
class ChosenQuery:
    """Somebody to search for."""

    image: str
    box: Box
    """In original pixels; the whole picture if that is a crop."""

    embedding: np.ndarray
    """(D,) of unit norm."""

    beside: np.ndarray
    """(N, D) other people of the picture, by falling score; none if not asked for."""


@dataclass(frozen=True)
class OpenQuery:
    """A picture with people of whom one must be chosen."""

    image: str
    people: People
    """Numbered from 1 in this order: from left to right."""

    size: tuple[int, int]
    """Width and height of the picture, original pixels."""


def parse_query(text: str) -> QueryText:
    """Read ``IMG``, ``IMG:x1,y1,x2,y2`` or ``IMG#NUMBER``.

    A file of exactly this name is meant as a whole, whatever colons and # it has. ``IMG`` may be a
    video's frame, ``clip.mp4#frame=N``.

    Raises:
        ValueError: If it is empty, the box has no area, or the number is 0.
    """
    if not text.strip():
        raise ValueError(f"the query is empty; expected {FORMS}")
    found = _ENDING.fullmatch(text)
    if found is None or Path(text).exists():
        return QueryText(text)
    if found["person"] is not None:
        if int(found["person"]) == 0:
            raise ValueError(f"query {text!r}: people are numbered from 1")
        return QueryText(found["image"], person=int(found["person"]))
    x1, y1, x2, y2 = (float(number) for number in found["box"].split(","))
    if not (x1 < x2 and y1 < y2):
        raise ValueError(
            f"query {text!r}: the box has no area; expected x1,y1,x2,y2 in pixels with x1 < x2 and "
            "y1 < y2, the left, top, right and bottom edge"
        )
    return QueryText(found["image"], box=(x1, y1, x2, y2))


def choose_person(
    finder: "PersonFinder", query: QueryText, *, want_context: bool = False
) -> ChosenQuery | OpenQuery:
    """Find out who is meant, and embed them.

    Without a box or number the person who fills the picture is meant (`find_filling`), or all of it
    where nobody is found and it is taller than wide; else the people found must be chosen from.

    Args:
        finder: the model.
        query: what was written.
        want_context: whether to embed the other people of the picture, too.

    Raises:
        OSError, ValueError: If the picture cannot be read, the box is outside of it, there is no
            person of this number, or nobody to choose from.
    """
    image = read_query_image(query.image)
    if query.box is not None and not want_context:
        return _embed_box(finder, query.image, image, query.box)
    if query.box is None and query.person is None:
        return _choose_alone(finder, query.image, image)
    (people,) = finder.find([image])
    people = _from_left_to_right(people)
    if query.box is not None:
        return _embed_box(finder, query.image, image, query.box, people)
    return _take_number(query, people, want_context)


def _choose_alone(finder: "PersonFinder", name: str, image: np.ndarray) -> ChosenQuery | OpenQuery:
    """Decide what a picture without a box or number means."""
    height, width = image.shape[:2]
    alone = find_filling(finder, image)
    if alone is not None:
        x1, y1, x2, y2 = (float(v) for v in alone.boxes[0])
        return ChosenQuery(name, (x1, y1, x2, y2), alone.embeddings[0], alone.embeddings[:0])
    (people,) = finder.find([image])
    if len(people) == 0 and height > width:
        return _embed_box(finder, name, image, (0.0, 0.0, float(width), float(height)))
    if len(people) == 0:
        raise ValueError(
            f"nobody was found in {name} ({width} x {height} pixels); give a box: "
            f"{name}:x1,y1,x2,y2"
        )
    return OpenQuery(name, _from_left_to_right(people), (width, height))


def absolute_name(image: str) -> str:
    """Return the name that a picture or video frame has in a gallery."""
    file, number = split_frame_name(image)
    return os.path.abspath(file) + ("" if number is None else f"#frame={number}")


def _from_left_to_right(people: People) -> People:
    return people.select(np.argsort(people.boxes[:, ::2].sum(axis=1), kind="stable"))


def read_query_image(name: str) -> np.ndarray:
    """Read a query's picture, (H, W, 3) uint8 RGB.

    Raises:
        FileNotFoundError: There is no such file; the message says how queries are written.
        ImageError, OSError: It cannot be read.
    """
    if not Path(split_frame_name(name)[0]).exists():
        raise FileNotFoundError(f"there is no picture {name}; expected {FORMS}")
    return read_frame(name)


def _embed_box(
    finder: "PersonFinder",
    name: str,
    image: np.ndarray,
    box: Box,
    people: People | None = None,
) -> ChosenQuery:
    embedding = embed_person(finder, image, box)
    beside = np.zeros((0, finder.embedding_dim), np.float32)
    if people is not None:
        beside = _by_score(people, paired_iou(np.array(box), people.boxes) < SAME_PERSON_IOU)
    return ChosenQuery(name, box, embedding, beside)


def _take_number(query: QueryText, people: People, want_context: bool) -> ChosenQuery:
    count, number = len(people.boxes), query.person or 0
    if number > count:
        raise ValueError(
            f"there is no person {number} in {query.image}: {count} found, numbered from left to "
            "right"
        )
    x1, y1, x2, y2 = (float(v) for v in people.boxes[number - 1])
    others = np.full(count, want_context)
    others[number - 1] = False
    embedding = people.embeddings[number - 1]
    return ChosenQuery(query.image, (x1, y1, x2, y2), embedding, _by_score(people, others))


def _by_score(people: People, mask: np.ndarray) -> np.ndarray:
    """Return the embeddings of the people of a mask (N,), by falling score."""
    rows = np.flatnonzero(mask)
    order = rows[np.argsort(-people.scores[rows], kind="stable")]
    return np.asarray(people.embeddings[order])
