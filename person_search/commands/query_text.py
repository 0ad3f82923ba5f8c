"""Queries as they are written in the shell: IMG, IMG:x1,y1,x2,y2 or IMG#NUMBER.

Whom each means is decided in `person_search.inference.queries`.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from person_search.footage.frames import read_frame, split_frame_name
from person_search.inference.queries import (
    NobodyFoundError,
    choose_person,
    find_beside,
    find_people,
)
from person_search.people import Box, People, check_box

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

FORMS = "IMG, IMG:x1,y1,x2,y2 or IMG#NUMBER"

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
    """As written, (x1, y1, x2, y2) in original pixels."""

    number: int | None = None
    """Of a person found in the picture."""


@dataclass(frozen=True)
class ChosenQuery:
    """Somebody to search for."""

    image: str
    person: People
    """One."""

    beside: People | None = None
    """Others of the picture, by falling score; None if not asked for."""

    @property
    def box(self) -> Box:
        """Where the person stands, in original pixels; the whole picture if that is a crop."""
        return self.person.box(0)


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
        ValueError: If it is empty.
    """
    if not text.strip():
        raise ValueError(f"the query is empty; expected {FORMS}")
    found = _ENDING.fullmatch(text)
    if found is None or Path(text).exists():
        return QueryText(text)
    if found["person"] is not None:
        return QueryText(found["image"], number=int(found["person"]))
    x1, y1, x2, y2 = (float(number) for number in found["box"].split(","))
    return QueryText(found["image"], box=(x1, y1, x2, y2))


def read_query_image(query: QueryText) -> np.ndarray:
    """Read a query's picture, (H, W, 3) uint8 RGB.

    Raises:
        FileNotFoundError: There is no such file; the message says how queries are written.
        ImageError, OSError: It cannot be read.
        ValueError: A box is given that is none of this picture.
    """
    if not Path(split_frame_name(query.image)[0]).exists():
        raise FileNotFoundError(f"there is no picture {query.image}; expected {FORMS}")
    image = read_frame(query.image)
    if query.box is not None:
        height, width = image.shape[:2]
        try:
            check_box(query.box, width, height)
        except ValueError as error:
            raise ValueError(f"query {query.image}: {error}") from error
    return image


def resolve_query(
    finder: "PersonFinder", query: QueryText, *, want_context: bool = False
) -> ChosenQuery | OpenQuery:
    """Find out who is meant, and embed them.

    Args:
        finder: the model.
        query: what was written.
        want_context: whether to embed the other people of the picture, too.

    Raises:
        OSError, ValueError: If the picture cannot be read, the box is outside of it, there is no
            person of this number, or nobody to choose from; names the picture.
    """
    image = read_query_image(query)
    people = find_people(finder, image) if want_context else None
    try:
        found = choose_person(finder, image, box=query.box, number=query.number, people=people)
    except NobodyFoundError as error:
        raise ValueError(f"query {query.image}: {error}, {query.image}:x1,y1,x2,y2") from error
    except ValueError as error:
        raise ValueError(f"query {query.image}: {error}") from error
    if len(found) > 1:
        return OpenQuery(query.image, found, (image.shape[1], image.shape[0]))
    beside = None if people is None else find_beside(people, found.box(0))
    return ChosenQuery(query.image, found, beside)


def absolute_name(image: str) -> str:
    """Return the name that a picture or video frame has in a gallery."""
    file, number = split_frame_name(image)
    return os.path.abspath(file) + ("" if number is None else f"#frame={number}")
