"""How search results are written: a table to read, or one JSON object for programs."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from person_search.commands.query_text import ChosenQuery, OpenQuery
from person_search.footage.time_text import format_time
from person_search.people import similarity_text

if TYPE_CHECKING:
    from person_search.people import Appearance, Match


SORTED_BY = {
    "context": "the most similar of all the people in the frame to those beside the query",
    "rerank": "the neighbours shared with the query",
}
"""What ``--context`` and ``--rerank`` sort by, in words."""

_VERDICTS = {None: "", True: "  (right)", False: "  (wrong)"}


@dataclass(frozen=True)
class SearchAnswer:
    """What a search found."""

    gallery: str
    name: str
    queries: Sequence[ChosenQuery]
    """Pictures of one person."""

    matches: Sequence["Match"]
    """Best first."""

    threshold: float | None
    """The finder's calibrated similarity; None without a calibration."""

    min_similarity: float | None = None
    """What ``--min-similarity`` left out."""

    by: str = "frame"
    """What was ranked: ``appearance`` or ``frame``."""

    not_people: int = 0
    """How many would be among the matches, but were called nobody."""

    order: str | None = None
    """What the matches were sorted by in place of their similarity, one of `SORTED_BY`."""

    is_part: bool = False
    """Whether cameras or times were chosen, so that a part of the gallery was searched."""

    @property
    def least(self) -> float | None:
        """The similarity from which on a match counts as the person; None if nobody knows one."""
        return self.threshold if self.min_similarity is None else self.min_similarity

    @property
    def is_in_gallery(self) -> bool | None:
        """Whether the best similarity reaches the threshold; None if that cannot be known.

        It cannot without a threshold, nor where nobody reaches it in a part of the gallery.
        """
        reaches = self.is_in_frames_searched
        return None if self.is_part and not reaches else reaches

    @property
    def is_in_frames_searched(self) -> bool | None:
        """Whether the best similarity reaches the threshold; None if that cannot be known."""
        if self.threshold is None:
            return None
        if self.matches:
            return max(match.similarity for match in self.matches) >= self.threshold
        if self.min_similarity is not None and self.min_similarity > self.threshold:
            return None
        return False


def format_answer(answer: SearchAnswer) -> str:
    """Write a table of the matches, and a note where the person is probably not in the gallery."""
    if not answer.matches:
        least = answer.min_similarity
        limit = "" if least is None else f" with a similarity of at least {least:g}"
        lines = [f"no match{limit} in the frames searched"]
    else:
        lines = _format_matches(answer.matches, answer.threshold)
        similarities = [match.similarity for match in answer.matches]
        if answer.order is not None and similarities != sorted(similarities, reverse=True):
            lines.append(
                f"Sorted by {answer.order}, so that a match may stand before a more similar one."
            )
    if answer.not_people:
        lines.append(f"{count_not_people(answer.not_people)}, hidden")
    # As many digits as JSON has: rounded to fewer, a similarity may seem to reach it.
    threshold = f"{answer.threshold or 0:.6g}, the model's threshold"
    if answer.is_in_gallery is False:
        lines.append(
            f"This person is probably not in this gallery: no similarity reaches {threshold}."
        )
    elif answer.is_in_frames_searched is False:
        lines.append(
            f"This person is probably not in the frames searched: no similarity reaches "
            f"{threshold}. Other cameras and times of the gallery were not looked at."
        )
    return "\n".join(lines)


def count_not_people(count: int) -> str:
    """Say how many are not people, as somebody said."""
    return "1 not a person" if count == 1 else f"{count} not people"


def _format_matches(matches: Sequence["Match"], threshold: float | None) -> list[str]:
    has_stays = any(match.appearance is not None for match in matches)
    times = "from                 until                frames" if has_stays else f"{'time':19s}"
    number = "      id" if has_stays else ""
    lines = [f"rank{number}  similarity  score  camera    {times}  box (x1 y1 x2 y2)  image"]
    for rank, match in enumerate(matches, 1):
        box = " ".join(f"{v:4.0f}" for v in match.box_xyxy)
        lines.append(
            f"{rank:4d}{_format_id(match, has_stays)}  "
            f"{similarity_text(match.similarity, threshold):>10s}  "
            f"{match.score:5.2f}  {match.camera or '-':8s}  {_format_times(match, has_stays)}  "
            f"{box}  {match.image}{_VERDICTS[match.judgement]}"
        )
    return lines


def _format_id(match: "Match", has_stays: bool) -> str:
    if not has_stays:
        return ""
    return f"  {'-' if match.appearance is None else match.appearance.id!s:>6}"


def _format_times(match: "Match", has_stays: bool) -> str:
    if not has_stays:
        return f"{format_time(match.timestamp):19s}"
    stay = match.appearance
    if stay is None:
        return f"{format_time(match.timestamp):19s}  {'-':19s}  {1:6d}"
    return f"{format_time(stay.start):19s}  {format_time(stay.end):19s}  {stay.frames:6d}"


def answer_to_json(answer: SearchAnswer) -> str:
    """Write the answer as one JSON object; docs/own_footage.md describes it."""
    content = {
        "gallery": answer.gallery,
        "name": answer.name,
        "queries": [{"image": q.image, "box": _round_box(q.box)} for q in answer.queries],
        "threshold": answer.threshold,
        "min_similarity": answer.min_similarity,
        "in_gallery": answer.is_in_gallery,
        "by": answer.by,
        "not_people": answer.not_people,
        "matches": [
            {"rank": rank, **match_to_dict(match)} for rank, match in enumerate(answer.matches, 1)
        ],
    }
    return json.dumps(content, indent=2)


def match_to_dict(match: "Match") -> dict[str, Any]:
    """Return a match for a JSON object; docs/own_footage.md describes it."""
    return {
        "image": match.image,
        "box": _round_box(match.box_xyxy),
        "score": round(float(match.score), 6),
        "similarity": round(float(match.similarity), 6),
        "camera": match.camera,
        "timestamp": match.timestamp,
        "appearance": appearance_to_dict(match.appearance),
        "judgement": None if match.judgement is None else ("wrong", "right")[match.judgement],
    }


def sight_to_dict(sight: "Match") -> dict[str, Any]:
    """Return a sight of somebody whom nobody asked for, so that it is similar to nothing."""
    left_out = ("similarity", "appearance", "judgement")
    return {key: value for key, value in match_to_dict(sight).items() if key not in left_out}


def appearance_to_dict(appearance: "Appearance | None") -> dict[str, Any] | None:
    """Return an appearance for a JSON object; docs/own_footage.md describes it."""
    return None if appearance is None else dataclasses.asdict(appearance)


def _round_box(box: Iterable[float]) -> list[float]:
    """Return a box in hundredths of a pixel."""
    return [round(float(v), 2) for v in box]


def format_chosen(query: ChosenQuery) -> str:
    """Say who is searched for, as a query that means the same."""
    return f"searching for {query.image}:" + ",".join(f"{v:.0f}" for v in query.box)


def format_choice(query: OpenQuery) -> str:
    """List the people of a query picture by number."""
    people = query.people
    lines = [
        f"{query.image} shows {len(people)} people; choose one by its number, for example "
        f"--query '{query.image}#1':",
        "number  score  box (x1 y1 x2 y2)",
    ]
    for number, (box, score) in enumerate(zip(people.boxes, people.scores, strict=True), 1):
        lines.append(f"{number:6d}  {score:5.2f}  " + " ".join(f"{v:4.0f}" for v in box))
    width, height = query.size
    lines.append(
        f"or give a box, --query '{query.image}:x1,y1,x2,y2'; the whole picture is "
        f"0,0,{width},{height}"
    )
    return "\n".join(lines)


def choices_to_json(gallery: str, name: str, queries: Sequence[OpenQuery]) -> str:
    """Write the people to choose from as one JSON object; docs/own_footage.md describes it."""
    content = {
        "gallery": gallery,
        "name": name,
        "choose": [
            {
                "image": query.image,
                "people": [
                    {
                        "number": number,
                        "box": _round_box(box),
                        "score": round(float(score), 6),
                    }
                    for number, (box, score) in enumerate(
                        zip(query.people.boxes, query.people.scores, strict=True), 1
                    )
                ],
            }
            for query in queries
        ],
        "matches": [],
    }
    return json.dumps(content, indent=2)
