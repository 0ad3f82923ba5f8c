"""A search as the part of the page's address behind the ``#``, which opens it again.

Browsers do not send that part to a server: who was searched for is in no log of addresses. Nothing
of a picture is in it: it names an example, or a person of the gallery. An upload cannot be named.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import numpy as np
from PIL import Image

from person_search.cases.blur import Blur
from person_search.footage.frames import read_frame
from person_search.gallery.rows import frame_id
from person_search.people import Box, People

from . import actions
from .actions import Query, Source
from .inputs import Fields, as_picked, parse_box
from .service import Gallery, Service

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

MOST_LETTERS = 8000
"""Of a link that is read."""
MOST_ALSO = 64
"""Confirmed matches that a link names."""


@dataclass(frozen=True)
class Link:
    """What a link says."""

    gallery: str
    fields: Fields
    source: Source | None = None
    """None for an upload."""

    person: int | None = None
    """Number in the picture, from 1."""

    box: Box | None = None
    """Where no number says it, in pixels of the picture."""

    also: tuple[str, ...] = ()
    """As `Query.also`."""

    def to_text(self) -> str:
        """Write it, to be read by `parse_link`."""
        said: list[tuple[str, object]] = [("gallery", self.gallery)]
        if self.source is not None:
            said.append(self.source)
        if self.person is not None:
            said.append(("person", self.person))
        elif self.box is not None:
            said.append(("box", ",".join(f"{side:.1f}" for side in self.box)))
        said += [("also", one) for one in self.also]
        fields = self.fields
        said += [("camera", camera) for camera in fields.cameras or ()]
        said += [
            (name, text)
            for name, text in (("since", fields.since), ("until", fields.until))
            if text
        ]
        said += [
            ("threshold", f"{fields.threshold:g}"),
            ("top", fields.top),
            ("rank", fields.ranked),
        ]
        if fields.blur:
            said.append(("blur", 1))
        return urlencode(said)


def link_to(query: Query, gallery: str, fields: Fields) -> Link:
    """Return the link to a search.

    Args:
        query: Who is asked for. Of an upload only the confirmed matches can be named: the first of
            them stands for it.
        gallery: Label of the gallery.
        fields: The settings.
    """
    if query.source is not None:
        box = query.box if query.number is None else None
        return Link(gallery, fields, query.source, query.number, box, query.also)
    return Link(gallery, fields, also=query.also)


def parse_link(text: str, fields: Fields) -> Link:
    """Read a link.

    Args:
        text: Behind the ``#search?``.
        fields: What holds where it says nothing.

    Raises:
        ValueError: It is none.
    """
    if len(text) > MOST_LETTERS:
        raise ValueError(f"it has {len(text)} letters; expected at most {MOST_LETTERS}")
    said = parse_qsl(text, max_num_fields=200)
    one = dict(said)
    if "gallery" not in one:
        raise ValueError("it names no gallery")
    sources = [Source(kind, one[kind]) for kind in ("example", "frame") if kind in one]
    also = tuple(value for name, value in said if name == "also")
    if len(also) > MOST_ALSO:
        raise ValueError(f"it names {len(also)} confirmed matches; expected at most {MOST_ALSO}")
    top, threshold = int(one.get("top", fields.top)), float(one.get("threshold", fields.threshold))
    ranked = one.get("rank", fields.ranked)
    if not 1 <= top <= actions.MAX_TOP or not 0 <= threshold <= 1 or ranked not in actions.RANKED:
        raise ValueError(f"a setting is out of range: top {top}, threshold {threshold}, {ranked}")
    return Link(
        one["gallery"],
        Fields(
            threshold,
            top,
            [value for name, value in said if name == "camera"],
            as_picked(one.get("since", "")),
            as_picked(one.get("until", ""), end=True),
            ranked,
            fields.blur or one.get("blur") == "1",
        ),
        sources[0] if sources else None,
        int(one["person"]) if "person" in one else None,
        _as_box(parse_box(one["box"])) if "box" in one else None,
        also,
    )


def _as_box(sides: list[float]) -> Box:
    x1, y1, x2, y2 = sides
    return x1, y1, x2, y2


def open_query(service: Service, link: Link) -> Query | None:
    """Return whom a link asks for; None where that was an upload, and nobody was confirmed.

    Raises:
        ValueError: Somebody or something is not there any more.
        OSError: A picture cannot be read.
    """
    gallery = service.gallery(link.gallery)
    blur = service.hiding(link.gallery, link.fields.blur)
    names = _names_of(gallery, link)
    rows = [_person_of(gallery, names, one) for one in link.also]
    if link.source is None:
        if not rows:
            return None
        (name, row), *rows = rows
        query, also = open_person(gallery, name, row, blur), link.also[1:]
    else:
        query, also = _open_source(service, gallery, link, names, blur), link.also
    more = [gallery.index.people_of(name).embeddings[row] for name, row in rows]
    return replace(query, embeddings=np.vstack([query.embeddings, *more]), also=also)


def _open_source(
    service: Service, gallery: Gallery, link: Link, names: Mapping[str, str], blur: Blur | None
) -> Query:
    assert link.source is not None
    if link.source.kind == "example":
        query = _open_example(service, link.source)
    else:
        query = open_frame(gallery, _named(gallery, names, link.source.name), blur)
    if link.box is not None:
        return query.asking_for(_in_box(service.finder, query, link.box))
    return query.asking_for(query.people.numbered(link.person or 1))


def _in_box(finder: "PersonFinder", query: Query, box: Box) -> People:
    return actions.choose_one(finder, query.image, box=box)


def _open_example(service: Service, source: Source) -> Query:
    for path in service.examples:
        if path.name == source.name:
            query = actions.look_at(service.finder, actions.open_picture(path))
            return replace(query, source=source)
    raise ValueError(f"the example picture {source.name} is not offered here any more")


def open_person(gallery: Gallery, name: str, row: int, blur: Blur | None = None) -> Query:
    """Ask for a person of a gallery.

    Args:
        gallery: Theirs.
        name: Of the frame.
        row: Place among the people of the frame as they are stored, from 0.
        blur: Where others are blurred: then the frame has to be the one that was indexed.

    Raises:
        ValueError: They are not there any more.
        OSError: The frame is gone.
    """
    query = open_frame(gallery, name, blur)
    boxes = gallery.index.people_of(name).boxes
    if not 0 <= row < len(boxes):
        raise ValueError("the person is not in the gallery any more: their frame was indexed anew")
    number = int(np.flatnonzero(_left_to_right(boxes) == row)[0]) + 1
    return query.asking_for(query.people.numbered(number))


def open_frame(gallery: Gallery, name: str, blur: Blur | None = None) -> Query:
    """Take a frame of a gallery as the picture, with the people whom the gallery knows in it."""
    if blur is not None:
        blur.check(name)
    people, image = gallery.index.people_of(name), read_frame(name)
    people = people.select(_left_to_right(people.boxes))
    scale = min(1.0, actions.MAX_SIDE / max(image.shape[:2]))
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        boxes = (people.boxes * scale).astype(np.float32)
        people = People(boxes, people.scores, people.embeddings)
    return Query(image, people, source=Source("frame", frame_id(name)))


def _left_to_right(boxes: np.ndarray) -> np.ndarray:
    """Return the rows (N,) of boxes (N, 4) in the order of `People.from_left_to_right`."""
    return np.argsort(boxes[:, ::2].sum(axis=1), kind="stable")


def _names_of(gallery: Gallery, link: Link) -> dict[str, str]:
    """Return the names of the frames that a link speaks of, by their ids, from one pass."""
    wanted = {one.partition(".")[0] for one in link.also}
    if link.source is not None and link.source.kind == "frame":
        wanted.add(link.source.name)
    if not wanted:
        return {}
    found = ((frame_id(frame.name), frame.name) for frame in gallery.index.frames())
    return {number: name for number, name in found if number in wanted}


def _named(gallery: Gallery, names: Mapping[str, str], wanted: str) -> str:
    """Return the name of a frame by its id.

    Raises:
        ValueError: It is not in the gallery.
    """
    if wanted not in names:
        raise ValueError(
            f"the frame it was asked from is not in the gallery “{gallery.label}” any more"
        )
    return names[wanted]


def _person_of(gallery: Gallery, names: Mapping[str, str], text: str) -> tuple[str, int]:
    frame, _, number = text.partition(".")
    name, row = _named(gallery, names, frame), int(number)
    if not 0 <= row < len(gallery.index.people_of(name)):
        raise ValueError("a confirmed match is not in the gallery any more")
    return name, row
