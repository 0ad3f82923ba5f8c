"""A case as JSON and CSV, for programs and spreadsheets."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from person_search.cases.contents import Case, CaseMatch, CaseSight, Judgement
from person_search.cases.wording import iso_time, source_of

FORMAT = "person-search case"
VERSION = 1
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def case_json(case: Case) -> str:
    """Write everything that a case says as one JSON object; docs/cases.md describes it."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "made": iso_time(case.made),
        "program": case.program,
        "gallery": case.gallery,
        "model": {
            "fingerprint": case.fingerprint,
            "card": None if case.card is None else case.card.to_dict(),
        },
        "others": "shown" if case.has_others else "blurred",
        "threshold": case.threshold,
        "min_similarity": case.min_similarity,
        "queries": [
            {"picture": q.picture, "box": _rounded(q.box), "source": q.source, "frame": q.frame}
            for q in case.queries
        ],
        "matches": [_match(match) for match in case.matches],
        "sources": [
            {"number": s.number, "name": s.name, "sha256": s.sha256, "state": s.state}
            for s in case.sources
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def _match(match: CaseMatch) -> dict[str, Any]:
    return {
        "number": match.number,
        "camera": match.camera,
        "similarity": None if match.similarity is None else round(match.similarity, 6),
        "from": iso_time(match.start),
        "until": iso_time(match.end),
        "from_seconds": match.start,
        "until_seconds": match.end,
        "person": match.person,
        "clip": match.clip,
        "notes": list(match.notes),
        "judgements": [_judgement(one) for one in match.judgements],
        "best": _sight(match.best),
        "sights": [_sight(sight) for sight in match.sights],
    }


def _judgement(one: Judgement) -> dict[str, Any]:
    return {"verdict": one.verdict, "by": one.by or None, "time": iso_time(one.time)}


def _sight(sight: CaseSight) -> dict[str, Any]:
    return {
        "source": sight.source,
        "frame": sight.frame,
        "time": iso_time(sight.timestamp),
        "seconds": sight.timestamp,
        "box": _rounded(sight.box),
        "score": round(float(sight.score), 6),
        "picture": sight.picture,
    }


def matches_csv(case: Case) -> str:
    """Write the matches, one a line."""
    head = "match camera from until from_seconds until_seconds frames similarity source frame"
    rows = [
        [
            *(match.number, match.camera, iso_time(match.start), iso_time(match.end)),
            *(match.start, match.end, len(match.sights)),
            None if match.similarity is None else round(match.similarity, 6),
            *_place(case, match.best),
            "; ".join(one.verdict for one in match.judgements),
            " ".join(match.notes),
        ]
        for match in case.matches
    ]
    return _csv([*head.split(), *_BOX, "score", "judged", "notes"], rows)


def sights_csv(case: Case) -> str:
    """Write the sights of all matches, one a line."""
    head = ["match", "camera", "time", "seconds", "source", "frame", *_BOX, "score", "picture"]
    rows = [
        [
            *(match.number, match.camera, iso_time(sight.timestamp), sight.timestamp),
            *_place(case, sight),
            sight.picture,
        ]
        for match in case.matches
        for sight in match.sights
    ]
    return _csv(head, rows)


_BOX = ("left", "top", "right", "bottom")


def _place(case: Case, sight: CaseSight) -> list[object]:
    return [source_of(case, sight), sight.frame, *_rounded(sight.box), round(float(sight.score), 6)]


def _rounded(box: Iterable[float]) -> list[float]:
    """Return a box in hundredths of a pixel."""
    return [round(float(side), 2) for side in box]


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue()


def _cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula, and no reader for two lines."""
    if not isinstance(value, str):
        return value
    # `csv` leaves it bare where lines end otherwise.
    text = value.replace("\r", " ")
    return f"'{text}" if value.startswith(_FORMULA) else text
