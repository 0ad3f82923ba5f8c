"""All that a gallery and its log know of one person, for the person who asks."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from person_search.accountability.activity_log import ActivityLog
from person_search.footage.frames import split_frame_name
from person_search.footage.time_text import YEAR
from person_search.gallery.rows import person_id

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

FILE = "personal_data.json"
"""Its name in a case."""


def personal_data(index: "GalleryIndex", stays: Sequence[int]) -> bytes:
    """Return what is known of a person as JSON; docs/log_and_retention.md describes it.

    It names nobody else: not who judged or searched, and no folder of this machine.

    Args:
        index: The gallery.
        stays: Ids of the person's appearances.

    Raises:
        GalleryError: There is no such appearance.
        LogError: The log cannot be read.
    """
    sights = {one: index.appearances.sights(one) for one in stays}
    hers = {sight.person for some in sights.values() for sight in some}
    groups = {a.id: g for g in index.appearances.groups.all() for a in g.appearances}
    content = {
        "gallery": {"name": index.name, "file": Path(index.uri).name, "model": index.fingerprint},
        "stays": [_stay(index, stay, groups.get(stay)) for stay in stays],
        "judgements": _judgements(index, hers),
        "log": _shown(index, hers),
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode(errors="replace")


def _stay(index: "GalleryIndex", stay: int, group: Any) -> dict[str, Any]:
    one, sights = index.appearances.get(stay).appearance, index.appearances.sights(stay)
    people = {
        person_id(person.frame_name, person.number): person
        for person in index.stored_people([sight.image for sight in sights])
    }
    return {
        "id": one.id,
        "camera": one.camera,
        "start": _time(one.start),
        "end": _time(one.end),
        "frames": one.frames,
        # Of some frames only the time may be kept: `GalleryAppearances.keep_best`.
        "group": None if group is None else group.number,
        "name": None if group is None else group.name or None,
        "sights": [
            {
                "file": Path(split_frame_name(sight.image)[0]).name,
                "frame": split_frame_name(sight.image)[1],
                "time": _time(sight.timestamp),
                "box": [round(float(v), 2) for v in sight.box_xyxy],
                "score": round(float(sight.score), 6),
                "embedding": _numbers(people[sight.person].embedding),
            }
            for sight in sights
        ],
    }


def _judgements(index: "GalleryIndex", hers: set[str]) -> list[dict[str, Any]]:
    return [
        {
            "subject": subject,
            "judgement": "right" if said.is_right else "wrong",
            "made": _time(said.made),
        }
        for subject in index.judgements.subjects()
        for said in index.judgements.of(subject)
        if person_id(said.person.frame_name, said.person.number) in hers
    ]


def _shown(index: "GalleryIndex", hers: set[str]) -> list[dict[str, Any]]:
    """Return when the person was shown to somebody, and how."""
    found = []
    for entry in ActivityLog(index).entries():
        similarities = [
            one["similarity"] for one in entry.get("results", ()) if one["person"] in hers
        ]
        if similarities:
            found.append(
                {
                    "seq": entry["seq"],
                    "action": entry["action"],
                    "start": _time(entry["start"]),
                    "end": _time(entry["end"]),
                    "similarity": max(similarities),
                }
            )
    return found


def _numbers(embedding: Any) -> list[float]:
    return [] if embedding is None else [round(float(v), 7) for v in embedding]


def _time(seconds: float | None) -> str | float | None:
    """Return a date as ISO 8601 in UTC; seconds since the start of a video stay seconds."""
    if seconds is None or seconds < YEAR:
        return seconds
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
