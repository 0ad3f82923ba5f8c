"""What the page and its API do: arrays and dataclasses in and out, no Gradio."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from person_search.cases.blur import shown_as_asked
from person_search.drawing.blurring import blur_around
from person_search.footage.images import (
    ImageError,
    ImageSource,
    decode_image,
    read_bytes,
    read_image,
)
from person_search.gallery.rows import frame_id
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter
from person_search.inference.queries import (
    NobodyFoundError,
    choose_person,
    find_beside,
    find_people,
)
from person_search.people import Box, Match, People

from .service import Gallery, Service

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

MAX_SIDE = 4096
"""Longest side of a picture that the page keeps for a visitor, pixels: far above what the model
sees, and 50 MB at most. Larger ones are reduced."""
MAX_PIXELS = 50_000_000
"""Most pixels of a picture that a visitor sends: 3.6 s of a core and 0.8 GB with the builtin model,
where twice as many take 1.3 GB."""
MAX_TOP = 100
"""Most matches that one search returns: each becomes two pictures."""


RANKED = ("appearance", "frame", "person")
"""What a search may rank: stays before a camera, frames by the best person in each, everybody."""


@dataclass(frozen=True)
class SearchSettings:
    """What a visitor asks for."""

    top: int = 12
    frames: FrameFilter = ALL_FRAMES
    threshold: float | None = None
    """Similarity from which on a match counts as the person; None for the model's."""
    by: str = "appearance"
    """What is ranked, one of `RANKED`."""


@dataclass(frozen=True)
class Answer:
    """What a gallery holds of one person."""

    matches: Sequence[Match]
    """Best first, also those below the threshold."""
    threshold: float
    not_people: int = 0
    """How many would be among the matches, but were called nobody."""
    is_known: bool = True
    """Whether the model's calibration, or whoever asks, gave the threshold; else it is a guess."""
    added: Sequence[Match] = ()
    """Those of the matches that the visitor searches with, too."""
    least_shown: float | None = 0.0
    """No match below is shown where others are blurred: the model's threshold where whoever serves
    wants them blurred, which a visitor cannot lower. None shows the best one alone."""
    gallery: str = ""
    """Its label."""

    def shows(self, match: Match) -> bool:
        """Whether a match is shown as the person asked for where all others are blurred."""
        least = None
        if self.is_known and self.least_shown is not None:
            least = max(self.threshold, self.least_shown)
        shown = shown_as_asked(self.matches, least)
        pairs = zip(self.matches, shown, strict=True)
        return match in self.added or any(is_one for one, is_one in pairs if one == match)

    @property
    def num_above(self) -> int:
        """Number of matches that reach the threshold, or were called right; they come first."""
        return sum(map(self.is_above, self.matches))

    def is_above(self, match: Match) -> bool:
        """Whether a match is probably, or was called, right."""
        if match.judgement is not None:
            return match.judgement
        return match.similarity >= self.threshold

    @property
    def is_probably_absent(self) -> bool:
        """Whether the gallery probably does not show this person."""
        return self.num_above == 0


class Source(NamedTuple):
    """Where a picture comes from that can be had again; an upload has none."""

    kind: str
    """``example``, or ``frame`` of the gallery."""

    name: str
    """File name of the example, or the frame's `frame_id`."""


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
    source: Source | None = None
    also: tuple[str, ...] = ()
    """Confirmed matches: `frame_id` and place among its people, with a dot between."""
    also_stays: frozenset[int] = frozenset()
    """Ids of the stays of confirmed matches, as far as they are known."""

    def has_added(self, match: Match) -> bool:
        """Whether a match is one that this searches with, too, or another sight of its stay."""
        stay = None if match.appearance is None else match.appearance.id
        return stay in self.also_stays or match.person.replace("_", ".") in self.also

    def with_answer(self, answer: Answer) -> "Query":
        """Return this with its answer, in which what was added comes last of the right ones."""
        right, others = answer.matches[: answer.num_above], answer.matches[answer.num_above :]
        added = [match for match in right if self.has_added(match)]
        found = [match for match in right if match not in added]
        matches = [*found, *added, *others]
        return replace(self, answer=replace(answer, matches=matches, added=added))

    @property
    def number(self) -> int | None:
        """Number of the person asked for; None where nobody is, or a box of the visitor's own."""
        return None if self.box is None else self.people.number_of(self.box)

    @property
    def subject(self) -> str:
        """What judgements are kept under: the same for the same person of the same picture."""
        first = np.round(self.embeddings[:1].astype(np.float64), 3) + 0.0
        return f"asked on the page {hashlib.sha256(first.tobytes()).hexdigest()[:12]}"

    def asking_for(self, person: People) -> "Query":
        """Ask for one person of this picture."""
        return Query(self.image, self.people, person.box(0), person.embeddings, source=self.source)

    def picture(self, is_blurred: bool) -> np.ndarray:
        """Return the picture to show: of a gallery's frame, others may have to be blurred."""
        if not is_blurred or self.source is None or self.source.kind != "frame":
            return self.image
        # A box of the visitor's own could be drawn around everybody, and shows nobody.
        if self.box is None or self.number is None:
            return blur_around(self.image, None, self.people.boxes)
        return blur_around(self.image, self.box, find_beside(self.people, self.box).boxes)


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
        if not Path(file).is_file():
            raise ImageError(f"{name} is gone: it was uploaded too long ago; choose it again")
        return decode_image(read_bytes(file), name, MAX_PIXELS)
    except ImageError as error:
        raise ImageError(str(error).replace(str(file), name)) from None
    finally:
        Path(file).unlink(missing_ok=True)


def look_at(finder: "PersonFinder", image: np.ndarray) -> Query:
    """Find the people of a picture, and ask for whoever is meant where that needs no choice."""
    query = Query(image, find_people(finder, image))
    try:
        found = choose_person(finder, image, people=query.people)
    except NobodyFoundError:
        return query
    return query if len(found) > 1 else query.asking_for(found)


def choose_one(
    finder: "PersonFinder",
    image: np.ndarray,
    *,
    box: Sequence[float] | None = None,
    number: int | None = None,
) -> People:
    """Return the one person that a caller means who cannot click, by `choose_person`'s rule.

    Raises:
        ValueError: the number or box does not fit, nobody was found, or several people were.
    """
    found = choose_person(finder, image, box=box, number=number)
    if len(found) > 1:
        raise ValueError(
            f"found {len(found)} people in the picture: give person, a number from 1 to "
            f"{len(found)} as find_people lists them, or box"
        )
    return found


def search_gallery(
    service: Service,
    gallery: Gallery,
    embeddings: np.ndarray,
    settings: SearchSettings,
    subject: str = "",
) -> Answer:
    """Rank a gallery's people by their similarity to one person.

    Args:
        service: the model and the galleries.
        gallery: where to search.
        embeddings: (K, D) of one person.
        settings: what to leave out and how many to return.
        subject: whose judgements count; none without a name.

    Raises:
        ValueError: another model made the gallery, or the settings make no sense.
    """
    if not 1 <= settings.top <= MAX_TOP:
        raise ValueError(f"top must be within 1..{MAX_TOP}, got {settings.top}")
    if settings.by not in RANKED:
        raise ValueError(f"got by {settings.by!r}; expected one of {', '.join(RANKED)}")
    asked = {
        "top": settings.top,
        "frames": settings.frames,
        "fingerprint": service.finder.fingerprint,
        "with_nobody": True,
    }
    is_judged = bool(subject) and settings.by != "person" and gallery.index.has_appearances
    if is_judged and subject in gallery.index.judgements.subjects():
        matches = gallery.index.judgements.search(subject, embeddings, by=settings.by, **asked)
    elif settings.by == "appearance" and gallery.index.has_appearances:
        matches = gallery.index.appearances.search(embeddings, **asked)
    else:
        one = settings.by != "person"
        matches = gallery.index.search(embeddings, one_per_frame=one, **asked)
    people = [match for match in matches if not match.is_nobody]
    known = service.finder.threshold if settings.threshold is None else settings.threshold
    threshold = service.threshold if known is None else float(known)
    return Answer(
        people,
        threshold,
        len(matches) - len(people),
        is_known=known is not None,
        least_shown=service.finder.threshold if service.blur else 0.0,
        gallery=gallery.label,
    )


def row_of(gallery: Gallery, match: Match) -> int:
    """Return a match's place among the people of its frame, from 0.

    Raises:
        ValueError: the gallery does not hold this match any more.
    """
    boxes = gallery.index.people_of(match.image).boxes
    distances = np.abs(boxes - np.array(match.box_xyxy, np.float32)).max(axis=1, initial=0)
    if len(distances) == 0 or distances.min() > 1:
        raise ValueError("the gallery does not hold this match any more: search again")
    return int(distances.argmin())


def with_match(gallery: Gallery, query: Query, match: Match) -> Query:
    """Search with a match, too: a visitor has confirmed that it is the same person.

    Raises:
        ValueError: the gallery does not hold this match any more.
    """
    row = row_of(gallery, match)
    embedding = gallery.index.people_of(match.image).embeddings[row]
    return replace(
        query,
        embeddings=np.vstack([query.embeddings, embedding]),
        also=(*query.also, f"{frame_id(match.image)}.{row}"),
        also_stays=query.also_stays.union(
            [] if match.appearance is None else [match.appearance.id]
        ),
    )
