"""What the page and its API do: arrays and dataclasses in and out, no Gradio."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from demo.inputs import check_box
from person_search.footage.images import (
    ImageError,
    ImageSource,
    decode_image,
    read_bytes,
    read_image,
)
from person_search.inference.crops import embed_person, find_filling
from person_search.people import Box, Match, People

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.inference.finder import PersonFinder

MAX_SIDE = 4096
"""Longest side of a picture that the page keeps for a visitor, pixels: far above what the model
sees, and 50 MB at most. Larger ones are reduced."""
MAX_TOP = 100
"""Most matches that one search returns: each becomes two pictures."""
NO_CALIBRATION = 0.5
"""Where the threshold starts for a model that was not calibrated."""


@dataclass(frozen=True)
class Gallery:
    """A gallery that the page offers."""

    label: str
    index: "GalleryIndex"
    footage: Path
    """Folder that keeps what visitors add: matches point to the frames' files."""


@dataclass(frozen=True)
class Service:
    """The model and the galleries, shared by all visitors."""

    finder: "PersonFinder"
    galleries: dict[str, Gallery]
    """By label, in the order shown; at least one."""
    examples: Sequence[Path] = ()

    def gallery(self, label: str | None) -> Gallery:
        """Return a gallery by its label, the first one for None.

        Raises:
            ValueError: there is no such gallery.
        """
        if label is None:
            return next(iter(self.galleries.values()))
        if label not in self.galleries:
            raise ValueError(f"no gallery {label!r}; expected one of {list(self.galleries)}")
        return self.galleries[label]

    @property
    def threshold(self) -> float:
        """The similarity above which a match is probably right: calibrated where that was done."""
        found = self.finder.threshold
        return NO_CALIBRATION if found is None else float(found)


@dataclass(frozen=True)
class SearchSettings:
    """What a visitor asks for."""

    top: int = 12
    cameras: Sequence[str] = ()
    """Empty for all."""
    since: float | None = None
    until: float | None = None
    threshold: float = NO_CALIBRATION
    one_per_frame: bool = True


@dataclass(frozen=True)
class Answer:
    """What a gallery holds of one person."""

    matches: Sequence[Match]
    """Best first, also those below the threshold."""
    threshold: float

    @property
    def num_above(self) -> int:
        """Number of matches that reach the threshold; they come first."""
        return sum(match.similarity >= self.threshold for match in self.matches)

    @property
    def is_probably_absent(self) -> bool:
        """Whether the gallery probably does not show this person."""
        return self.num_above == 0


@dataclass(frozen=True)
class Query:
    """A visitor's picture, who is in it, and who of them is asked for."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    people: People
    """Numbered from 1 in this order: from left to right."""
    box: Box | None = None
    """The person asked for, in pixels of ``image``."""
    embeddings: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(K, D): of the person asked for; more than one where matches were confirmed."""
    answer: Answer | None = None

    def number_of(self, box: Box | None) -> int | None:
        """Return the number of the found person with exactly this box, else None."""
        for number, known in enumerate(self.people.boxes, start=1):
            if box is not None and tuple(float(v) for v in known) == tuple(box):
                return number
        return None


def open_picture(source: ImageSource) -> np.ndarray:
    """Read a picture and reduce it to at most `MAX_SIDE` pixels a side.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageError: it is no picture, or too large.
    """
    image = read_image(source)
    height, width = image.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def read_upload(file: str | Path) -> np.ndarray:
    """Read an uploaded picture and delete the file, readable or not.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageError: it is no picture, or too large; names the file as its sender did.
    """
    name = Path(file).name
    try:
        return decode_image(read_bytes(file), name)
    except ImageError as error:
        raise ImageError(str(error).replace(str(file), name)) from None
    finally:
        Path(file).unlink(missing_ok=True)


def find_people(finder: "PersonFinder", image: np.ndarray) -> People:
    """Find the people of a picture, from left to right: what their numbers follow.

    Where somebody fills the picture, it is a crop of that one person: what else the detector sees
    in it, without room around it, are parts.
    """
    people = find_filling(finder, image)
    if people is None:
        (people,) = finder.find([image])
    order = np.argsort(people.boxes[:, ::2].sum(axis=1), kind="stable")
    return people.select(order)


def choose_person(finder: "PersonFinder", query: Query, box: Box) -> Query:
    """Ask for the person in a box: one of those found, or anything else in the picture.

    Raises:
        ValueError: the box is outside the picture.
    """
    number = query.number_of(box)
    if number is None:
        embeddings = embed_person(finder, query.image, box)[None]
    else:
        embeddings = query.people.embeddings[number - 1 : number]
    return Query(query.image, query.people, tuple(box), embeddings)


def choose_by_default(
    finder: "PersonFinder",
    image: np.ndarray,
    person: int | None,
    box: Sequence[float] | None,
) -> Query:
    """Ask for the person that a caller means who cannot click.

    A box counts first, then a number. Without both the only person found is meant, or the whole
    picture where nobody is found: then it is a crop.

    Raises:
        ValueError: the number or box does not fit, or several people were found.
    """
    query = Query(image, find_people(finder, image) if box is None else _nobody())
    height, width = image.shape[:2]
    if box is not None:
        return choose_person(finder, query, check_box(box, width, height))
    count = len(query.people.boxes)
    if person is None and count == 0:
        return choose_person(finder, query, (0.0, 0.0, float(width), float(height)))
    if person is None and count > 1:
        raise ValueError(
            f"found {count} people in the picture: give person, a number from 1 to {count} as "
            "find_people lists them, or box"
        )
    return choose_person(finder, query, box_of_number(query, 1 if person is None else person))


def _nobody() -> People:
    return People(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 0)))


def box_of_number(query: Query, number: int) -> Box:
    """Return the box of a found person by its number from 1.

    Raises:
        ValueError: there is no such number.
    """
    count = len(query.people.boxes)
    if not 1 <= number <= count:
        raise ValueError(f"no person {number}; the picture has {count}, numbered from 1")
    x1, y1, x2, y2 = (float(v) for v in query.people.boxes[number - 1])
    return x1, y1, x2, y2


def search_gallery(
    service: Service, gallery: Gallery, embeddings: np.ndarray, settings: SearchSettings
) -> Answer:
    """Rank a gallery's people by their similarity to one person.

    Args:
        service: the model and the galleries.
        gallery: where to search.
        embeddings: (K, D) of one person.
        settings: what to leave out and how many to return.

    Raises:
        ValueError: another model made the gallery, or the settings make no sense.
    """
    if not 1 <= settings.top <= MAX_TOP:
        raise ValueError(f"top must be within 1..{MAX_TOP}, got {settings.top}")
    since, until = settings.since, settings.until
    if since is not None and until is not None and since > until:
        raise ValueError("the time range ends before it begins: swap from and until")
    matches = gallery.index.search(
        embeddings,
        top=settings.top,
        cameras=list(settings.cameras) or None,
        since=settings.since,
        until=settings.until,
        one_per_frame=settings.one_per_frame,
        fingerprint=service.finder.fingerprint,
    )
    return Answer(matches, settings.threshold)


def with_match(gallery: Gallery, query: Query, match: Match) -> Query:
    """Search with a match, too: a visitor has confirmed that it is the same person.

    Raises:
        ValueError: the gallery does not hold this match any more.
    """
    people = gallery.index.people_of(match.image)
    distances = np.abs(people.boxes - np.array(match.box_xyxy, np.float32)).max(axis=1, initial=0)
    if len(distances) == 0 or distances.min() > 1:
        raise ValueError("the gallery does not hold this match any more: search again")
    embedding = people.embeddings[int(distances.argmin())]
    return replace(query, embeddings=np.vstack([query.embeddings, embedding]))
