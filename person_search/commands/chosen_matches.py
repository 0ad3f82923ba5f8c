"""Matches that were chosen before: by numbers of appearances, or in what a command printed."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from person_search.cases.contents import CaseQuery, CaseRequest, Judgement
from person_search.cases.hiding import row_of
from person_search.commands.query_text import absolute_name
from person_search.footage.frames import read_frame, split_frame_name
from person_search.people import Box, Match

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.gallery.rows import Judgement as StoredJudgement

EXPECTED = "expected what search --json or appearances --json prints"


def make_request(
    args: argparse.Namespace,
    matches: Sequence[Match],
    queries: Sequence[CaseQuery] = (),
    *,
    threshold: float | None = None,
    min_similarity: float | None = None,
    judgements: "Sequence[Sequence[StoredJudgement]] | None" = None,
) -> CaseRequest:
    """Return what is to be handed on, with the switches of ``person-search export-case``."""
    said = {
        number: [Judgement("right" if j.is_right else "wrong", j.maker, j.made) for j in some]
        for number, some in enumerate(judgements or (), 1)
    }
    return CaseRequest(
        matches,
        queries,
        threshold=threshold,
        min_similarity=min_similarity,
        show_others=args.show_others,
        clips=not args.no_clips,
        full_paths=args.full_paths,
        judgements=said,
    )


def case_query(image: str, box: Box, others: np.ndarray | None) -> CaseQuery:
    """Return a query as a case shows it.

    Args:
        image: Picture file, or ``FILE#frame=N``.
        box: Of the person.
        others: (N, 4) boxes of everybody else; None where nobody looked.

    Raises:
        ImageError, OSError: It cannot be read.
    """
    file, number = split_frame_name(absolute_name(image))
    return CaseQuery(read_frame(image), box, others, file, number)


def read_chosen(index: "GalleryIndex", args: argparse.Namespace) -> CaseRequest:
    """Return the matches that ``--id``, ``--group`` or ``--from`` name, as the gallery has them.

    Raises:
        GalleryError: It does not hold one of them any more, or there is no such group.
        OSError: The file, or a query's picture, cannot be read.
        ValueError: The file is none that a command printed.
    """
    if args.group:
        of_groups = [index.appearances.groups.get(group).appearances for group in args.group]
        return make_request(
            args, [_appearance(index, one.id) for some in of_groups for one in some]
        )
    if args.id:
        return make_request(args, [_appearance(index, one) for one in args.id])
    name = "the standard input" if args.file == "-" else args.file
    text = sys.stdin.read() if args.file == "-" else Path(args.file).read_text(encoding="utf-8")
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError("it is no JSON object")
        if "choose" in content:
            raise ValueError("nobody was searched for: the people listed there are to choose from")
        return _from_content(index, args, content)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{name}: {EXPECTED}; {type(error).__name__}: {error}") from error


def _from_content(
    index: "GalleryIndex", args: argparse.Namespace, content: dict[str, Any]
) -> CaseRequest:
    if "matches" not in content:
        listed = content.get("appearances", [content])
        return make_request(args, [_same_appearance(index, one) for one in listed])
    threshold = content["threshold"]
    return make_request(
        args,
        [_match(index, one) for one in content["matches"]],
        [case_query(q["image"], _box(q["box"]), None) for q in content["queries"]],
        threshold=None if threshold is None else float(threshold),
    )


def _appearance(index: "GalleryIndex", appearance: int) -> Match:
    return index.appearances.get(appearance).best


def _same_appearance(index: "GalleryIndex", said: dict[str, Any]) -> Match:
    """Return the best sight that was printed, of the appearance that it was printed with."""
    stay = index.appearances.get(int(said["id"])).appearance
    return replace(_sight(index, said["best"]), appearance=stay)


def _match(index: "GalleryIndex", said: dict[str, Any]) -> Match:
    match = replace(_sight(index, said), similarity=float(said["similarity"]))
    if said["appearance"] is None:
        return match
    stay = index.appearances.get(int(said["appearance"]["id"])).appearance
    return replace(match, appearance=stay)


def _sight(index: "GalleryIndex", said: dict[str, Any]) -> Match:
    """Return the person of a frame as the gallery has them; numbers in files were rounded."""
    image, box = str(said["image"]), _box(said["box"])
    people = index.people_of(image)
    row = row_of(people.boxes, Match(image, box, 0.0, 0.0))
    time = said["timestamp"]
    return Match(
        image,
        people.box(row),
        float(people.scores[row]),
        0.0,
        camera=None if said["camera"] is None else str(said["camera"]),
        timestamp=None if time is None else float(time),
    )


def _box(said: Any) -> Box:
    x1, y1, x2, y2 = (float(side) for side in said)
    return x1, y1, x2, y2
