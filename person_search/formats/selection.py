"""What of a gallery is exported: everything, what filters leave, or what a search found."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from person_search.footage.frames import split_frame_name
from person_search.gallery.rows import StoredFrame, StoredPerson, person_id
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter
from person_search.progress import Progress
from reid_heads.text_files import read_json

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

PAGE_FRAMES = 256
"""Frames whose people, with embeddings, are in memory at once."""

# Search prints hundredths of a pixel; a box is a float32.
_SAME_BOX = 0.02
# Times are printed in full.
_SAME_TIME = 1e-3


@dataclass(frozen=True)
class Selection:
    """Which people are exported: those that fit everything given, all of them by default.

    Those that were called nobody (`GalleryGroups.call_nobody`) are left out, unless they are among
    ``people``.
    """

    frames: FrameFilter = ALL_FRAMES
    """Only people of these frames."""

    people: frozenset[str] | None = None
    """Only people with these ids (`Match.person`), and frames that show one of them; None for all,
    and frames without people too."""

    names: frozenset[str] = frozenset()
    """The frames that show ``people``."""


EVERYTHING = Selection()


@dataclass
class ExportReport:
    """What an export wrote, and what it could not."""

    frames: int = 0
    people: int = 0
    without_id: int = 0
    """Of the people, those who belong to no appearance."""

    not_people: int = 0
    """Sights of what was called nobody, left out."""

    missing: list[str] = field(default_factory=list)
    """Frames whose picture or video is gone or cannot be read."""

    left_out: list[str] = field(default_factory=list)
    """Frames that this format has no place for."""


def identity_of(person: StoredPerson) -> int | None:
    """Return the number that stands for one person in every format, None without one.

    It is that of the appearance, so whoever comes back has another one.
    """
    return None if person.appearance is None else person.appearance.id


def select_frames(index: "GalleryIndex", selection: Selection) -> Iterator[StoredFrame]:
    """Yield the frames that are exported, in no particular order."""
    for frame in index.frames():
        if selection.frames.fits(frame) and (
            selection.people is None or frame.name in selection.names
        ):
            yield frame


def by_file(frame: StoredFrame) -> tuple[str, int]:
    """Return what frames are sorted by: their file, and the number in it."""
    file, number = split_frame_name(frame.name)
    return file, -1 if number is None else number


def iterate_people(
    index: "GalleryIndex",
    selection: Selection,
    frames: Iterable[StoredFrame],
    report: ExportReport,
) -> Iterator[tuple[StoredFrame, list[StoredPerson]]]:
    """Yield frames with the people who are exported, with embeddings, and show how far it is.

    Args:
        index: the gallery.
        selection: whom to export.
        frames: read a page at a time.
        report: counts what was yielded, this frame and its people included.
    """
    waiting = iter(frames)
    total = len(frames) if isinstance(frames, Sequence) else None
    with Progress("exporting", total) as shown:
        while page := list(islice(waiting, PAGE_FRAMES)):
            found = _people_of(index, selection, page, report)
            for frame in page:
                people = found[frame.name]
                report.frames += 1
                report.people += len(people)
                report.without_id += sum(identity_of(person) is None for person in people)
                yield frame, people
            shown.update(report.frames, f"{report.people} people")


def _people_of(
    index: "GalleryIndex",
    selection: Selection,
    frames: Sequence[StoredFrame],
    report: ExportReport,
) -> dict[str, list[StoredPerson]]:
    found: dict[str, list[StoredPerson]] = {frame.name: [] for frame in frames}
    for person in index.stored_people(list(found)):
        if selection.people is None:
            is_chosen = not person.is_nobody
            report.not_people += person.is_nobody
        else:
            is_chosen = person_id(person.frame_name, person.number) in selection.people
        if is_chosen:
            found[person.frame_name].append(person)
    return found


def select_appearances(
    index: "GalleryIndex", appearances: Iterable[int], frames: FrameFilter = ALL_FRAMES
) -> Selection:
    """Select all sights of some appearances.

    Raises:
        GalleryError: There is no such appearance, or the gallery is on a server.
    """
    sights = [sight for own_id in appearances for sight in index.appearances.sights(own_id)]
    return Selection(
        frames, frozenset(s.person for s in sights), frozenset(s.image for s in sights)
    )


def read_matches(
    index: "GalleryIndex", file: str | Path, frames: FrameFilter = ALL_FRAMES
) -> Selection:
    """Select what ``search --json`` or ``appearances --json`` printed.

    Of a match with an appearance every sight is selected, else the one person.

    Args:
        index: the gallery that was searched.
        file: what was printed.
        frames: only sights of these frames.

    Raises:
        ValueError: The file holds nothing of the kind, or nobody; or its gallery has changed since.
        OSError: It cannot be read.
    """
    content = read_json(file)
    entries = _entries(content, file)
    stays: dict[int, Mapping[str, Any]] = {}
    single: dict[str, str] = {}
    for row, entry in enumerate(entries):
        stay = entry["appearance"]
        if isinstance(stay, Mapping) and isinstance(stay.get("id"), int):
            stays[stay["id"]] = stay
        else:
            name, box = _place(entry, f"{file}: match {row + 1}")
            single[_find_person(index, name, box, file)] = name
    for own_id, said in stays.items():
        _check_unchanged(index, own_id, said, file)
    whole = select_appearances(index, stays, frames) if stays else Selection(frames, frozenset())
    return Selection(
        frames,
        (whole.people or frozenset()) | frozenset(single),
        whole.names | frozenset(single.values()),
    )


def _entries(content: Any, file: str | Path) -> list[dict[str, Any]]:
    """Return the matches; those of a list of appearances likewise."""
    found = None
    if isinstance(content, dict):
        if isinstance(content.get("matches"), list):
            found = [{"appearance": None, **m} for m in content["matches"] if isinstance(m, dict)]
        elif isinstance(content.get("appearances"), list):
            found = [{"appearance": stay} for stay in content["appearances"]]
        elif "sights" in content:
            found = [{"appearance": content}]
    if found is None:
        raise ValueError(
            f"{file} has no matches; expected what person-search search --json prints, or "
            "person-search appearances --json"
        )
    if not found:
        raise ValueError(f"{file} has no match, so that nothing would be exported; search again")
    return found


def _place(entry: Mapping[str, Any], where: str) -> tuple[str, list[float]]:
    name, box = entry.get("image"), entry.get("box")
    is_box = isinstance(box, list) and len(box) == 4
    if not isinstance(name, str) or not is_box or not all(_is_number(v) for v in box or []):
        raise ValueError(f"{where} needs 'image' and 'box' [x1, y1, x2, y2], got {dict(entry)}")
    return name, [float(v) for v in box or []]


def _find_person(index: "GalleryIndex", name: str, box: list[float], file: str | Path) -> str:
    for person in index.stored_people([name]):
        if max(abs(a - b) for a, b in zip(person.box_xyxy, box, strict=True)) <= _SAME_BOX:
            return person_id(name, person.number)
    raise ValueError(
        f"{file}: the gallery {index.name!r} of {index.uri} has nobody at {box} of {name}; it is "
        "of another gallery, or has changed since: search again"
    )


def _check_unchanged(
    index: "GalleryIndex", own_id: int, said: Mapping[str, Any], file: str | Path
) -> None:
    """Refuse a number that means another appearance by now."""
    stay = index.appearances.get(own_id).appearance
    now = (stay.camera, stay.start, stay.end, stay.frames)
    then: list[Any] = [said.get(key) for key in ("camera", "start", "end", "frames")]
    same_times = all(
        _is_number(b) and math.isclose(a, b, rel_tol=0, abs_tol=_SAME_TIME)
        for a, b in zip(now[1:3], then[1:3], strict=True)
    )
    if not same_times or (now[0], now[3]) != (then[0], then[3]):
        raise ValueError(
            f"{file}: appearance {own_id} is not what it was when this was written: its footage "
            "was linked anew since; search again"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
