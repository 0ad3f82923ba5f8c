"""Gathers a case: looks matches up, cuts their pictures and clips, and notes what is missing."""

import logging
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from person_search.cases.contents import (
    Case,
    CaseMatch,
    CaseQuery,
    CaseRequest,
    CaseSight,
    QueryRecord,
)
from person_search.cases.hiding import ClipHider, boxes_beside, hidden_share, row_of
from person_search.cases.sources import AS_INDEXED, CHANGED, Sources
from person_search.drawing.blurring import blur_others
from person_search.drawing.clips import MOST_SECONDS, cut_clip
from person_search.drawing.people import outline_person
from person_search.drawing.rankings import crop_around
from person_search.footage.frames import read_frame, split_frame_name
from person_search.footage.images import ImageError
from person_search.gallery.errors import GalleryError
from person_search.people import Match

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

logger = logging.getLogger(__name__)

MOST_PICTURES = 4
"""Of a stay: the most similar sight, and others spread evenly from the first to the last."""
PERSON_SIZE = (300, 400)
"""Width and height of the picture of the person alone, pixels."""
JPEG = {"quality": 90, "optimize": True}

DOUBTFUL = (
    "No pictures: this may be somebody else. The model has no threshold that says who is the "
    "person, and nobody has called this match right."
)


def gather(index: "GalleryIndex", request: CaseRequest, folder: Path) -> Case:
    """Write the pictures and clips of a case into a folder; return what it says.

    Args:
        index: The gallery of the matches.
        request: What to hand on.
        folder: To write into.

    Raises:
        GalleryError: The gallery does not hold a match any more, or its footage was linked anew.
        OSError: The disk is full.
        ValueError: There are no matches.
    """
    if not request.matches:
        raise ValueError("there are no matches to hand on; expected at least one")
    stays = [_sights_of(index, match) for match in request.matches]
    frames = [sight.image for sights in stays for sight in sights]
    files = [query.file for query in request.queries if query.file is not None]
    sources = Sources(index, frames, files, request.full_paths)
    for name in ("pictures", "clips") if request.clips else ("pictures",):
        (folder / name).mkdir()
    writer = _Writer(index, request, sources, folder)
    return Case(
        made=time.time() if request.made is None else request.made,
        program=_program(),
        gallery=f"{index.name} in {Path(index.uri).name}",
        fingerprint=index.fingerprint,
        card=index.card,
        queries=[writer.write_query(n, query) for n, query in enumerate(request.queries, 1)],
        threshold=request.threshold,
        min_similarity=request.min_similarity,
        has_others=request.show_others,
        matches=[
            writer.write_match(number, match, sights)
            for number, (match, sights) in enumerate(zip(request.matches, stays, strict=True), 1)
        ],
        sources=sources.all,
    )


def _sights_of(index: "GalleryIndex", match: Match) -> list[Match]:
    """Return the sights of a match's stay, by time; those of one frame without a stay are one."""
    if match.appearance is None:
        return [match]
    sights = index.appearances.sights(match.appearance.id)
    same = [sight for sight in sights if sight.image == match.image]
    if not same:
        raise GalleryError(
            f"{match.image} does not belong to appearance {match.appearance.id} any more: its "
            "footage was linked anew; search again"
        )
    row_of(np.array([sight.box_xyxy for sight in same]), match)
    return sights


def _program() -> str:
    try:
        return f"person-search {version('person-search')}"
    except PackageNotFoundError:
        return "person-search"


class _Writer:
    """Writes what a case shows, in one folder."""

    def __init__(
        self, index: "GalleryIndex", request: CaseRequest, sources: Sources, folder: Path
    ) -> None:
        self._index, self._request = index, request
        self._sources, self._folder = sources, folder

    def write_query(self, number: int, query: CaseQuery) -> QueryRecord:
        """Write the picture of a query."""
        picture = query.picture
        if not self._request.show_others:
            # Outside the box unless somebody looked: nobody may be told by a picture of another.
            picture = blur_others(picture, query.box, query.others)
        name = f"query-{number}.jpg"
        self._save(outline_person(Image.fromarray(picture), query.box), name)
        source = None if query.file is None else self._sources.of_file(query.file).number
        return QueryRecord(name, query.box, source, query.frame)

    def write_match(self, number: int, match: Match, sights: Sequence[Match]) -> CaseMatch:
        """Write the pictures and the clip of a match."""
        notes = self._note_sources(sights)
        good = [s for s in sights if self._sources.of(s.image).state == AS_INDEXED]
        if number in self._request.doubtful and not self._request.show_others:
            notes, good = [DOUBTFUL], []
        pictures: dict[str, str] = {}
        person = None
        for place, sight in enumerate(_choose(match, good), 1):
            shown = self._read(sight, notes)
            if shown is None:
                continue
            name = f"pictures/{number:03d}-{place}.jpg"
            self._save(outline_person(shown, sight.box_xyxy), name)
            pictures[sight.image] = name
            if person is None:
                person = f"pictures/{number:03d}-person.jpg"
                self._save(crop_around(shown, sight.box_xyxy, PERSON_SIZE), person)
        clip = self._write_clip(number, good, notes) if self._request.clips else None
        records = {sight.image: self._record(sight, pictures) for sight in sights}
        stay = match.appearance
        return CaseMatch(
            number=number,
            camera=match.camera,
            similarity=float(match.similarity) if self._request.queries else None,
            start=match.timestamp if stay is None else stay.start,
            end=match.timestamp if stay is None else stay.end,
            best=records[match.image],
            sights=list(records.values()),
            person=person,
            clip=clip,
            notes=notes,
            judgements=list(self._request.judgements.get(number, ())),
        )

    def _note_sources(self, sights: Sequence[Match]) -> list[str]:
        """Say which sources are not as they were indexed; nothing of them is shown."""
        notes = []
        for source in dict.fromkeys(self._sources.of(sight.image) for sight in sights):
            if source.state != AS_INDEXED:
                what = (
                    "has changed since it was indexed: where people are in it is not known"
                    if source.state == CHANGED
                    else "is gone, or cannot be read"
                )
                notes.append(f"No pictures of source {source.number}, {source.name}: it {what}.")
        return notes

    def _read(self, sight: Match, notes: list[str]) -> Image.Image | None:
        """Return a sight's frame, with others blurred; None, with a note, where it cannot be."""
        try:
            picture = read_frame(sight.image)
        except (OSError, ImageError) as error:
            logger.warning("left out a picture: %s", error)
            notes.append(f"No picture of {self._name(sight)}: it cannot be read.")
            return None
        if self._request.show_others:
            return Image.fromarray(picture)
        others = boxes_beside(self._index, sight)
        if hidden_share(sight.box_xyxy, others) > 0.5:
            notes.append(
                f"In {self._name(sight)} others, who are blurred, hide most of the person."
            )
        return Image.fromarray(blur_others(picture, sight.box_xyxy, others))

    def _write_clip(self, number: int, sights: Sequence[Match], notes: list[str]) -> str | None:
        """Cut a stay of more than one sight; None where there is nothing to cut."""
        if len(sights) < 2:
            return None
        hide = None if self._request.show_others else ClipHider(self._index, sights)
        try:
            clip = cut_clip(sights, hide=hide)
        except (OSError, ImageError) as error:
            logger.warning("left out a clip: %s", error)
            notes.append("No clip: its footage cannot be read.")
            return None
        if not clip.is_whole:
            notes.append(f"The clip shows the first {MOST_SECONDS:.0f} seconds of the stay.")
        name = f"clips/{number:03d}.webm"
        (self._folder / name).write_bytes(clip.content)
        return name

    def _record(self, sight: Match, pictures: dict[str, str]) -> CaseSight:
        return CaseSight(
            source=self._sources.of(sight.image).number,
            frame=split_frame_name(sight.image)[1],
            timestamp=sight.timestamp,
            box=sight.box_xyxy,
            score=sight.score,
            picture=pictures.get(sight.image),
        )

    def _name(self, sight: Match) -> str:
        frame = split_frame_name(sight.image)[1]
        source = self._sources.of(sight.image).name
        return source if frame is None else f"{source}, frame {frame}"

    def _save(self, picture: Image.Image, name: str) -> None:
        picture.save(self._folder / name, "JPEG", **JPEG)


def _choose(match: Match, sights: Sequence[Match]) -> list[Match]:
    """Return the sights to show: the match first, then others by time, spread evenly."""
    best = [sight for sight in sights if sight.image == match.image]
    others = [sight for sight in sights if sight.image != match.image]
    count = min(len(others), MOST_PICTURES - 1)
    places = np.linspace(0, max(0, len(others) - 1), count).round().astype(int)
    return best + [others[place] for place in places.tolist()]
