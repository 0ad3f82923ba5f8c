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
from person_search.footage.images import ImageError
from person_search.gallery.rows import to_match
from person_search.people import Box, Match
from reid_heads.listed_files import check_listed
from reid_heads.text_files import read_text

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.gallery.rows import Judgement as StoredJudgement

_LARGE = 1e12
"""Of what a search prints, the largest number is a time, in seconds since 1970."""
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
        ValueError: The file is none that a command printed, or names a query's picture elsewhere.
    """
    if args.group:
        of_groups = [index.appearances.groups.get(group).appearances for group in args.group]
        return make_request(
            args, [_appearance(index, one.id) for some in of_groups for one in some]
        )
    if args.id:
        return make_request(args, [_appearance(index, one) for one in args.id])
    name = "the standard input" if args.file == "-" else args.file
    try:
        text = sys.stdin.read() if args.file == "-" else read_text(args.file)
        # A pipe of Windows puts a byte order mark before it.
        content = json.loads(text.removeprefix("\ufeff"))
        if not isinstance(content, dict):
            raise TypeError("it is no JSON object")
        if "choose" in content:
            raise ValueError("nobody was searched for: the people listed there are to choose from")
        return _from_content(index, args, content)
    except (
        *(KeyError, TypeError, AttributeError, RecursionError),
        *(json.JSONDecodeError, UnicodeDecodeError),
    ) as error:
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
        # As with --subject: what somebody has called wrong is nobody to hand on.
        [_match(index, one) for one in content["matches"] if one.get("judgement") != "wrong"],
        [_query(index, args.file, str(q["image"]), _box(q["box"])) for q in content["queries"]],
        threshold=None if threshold is None else _number(threshold),
    )


def _query(index: "GalleryIndex", said_in: str, image: str, box: Box) -> CaseQuery:
    """Return a query of the file, which the case shows.

    Raises:
        ValueError: Its picture cannot be read; or it is neither a frame of the gallery nor in the
            folder of the file, whose maker would else be handed any picture of this machine.
    """
    frame = absolute_name(image)
    if not index.known_frames([frame]):
        is_piped = said_in == "-"
        check_listed(
            split_frame_name(frame)[0],
            Path.cwd() if is_piped else Path(said_in).parent,
            "a query of the standard input" if is_piped else f"a query of {said_in}",
        )
    try:
        return case_query(image, box, None)
    except (OSError, ImageError) as error:
        raise ValueError(
            f"the picture that was asked with, {image}, cannot be read: {error}; bring it back, "
            'or take it out of "queries": the case then shows no similarities'
        ) from error


def _appearance(index: "GalleryIndex", appearance: int) -> Match:
    return index.appearances.get(appearance).best


def _same_appearance(index: "GalleryIndex", said: dict[str, Any]) -> Match:
    """Return the best sight that was printed, of the appearance that it was printed with."""
    stay = index.appearances.get(_whole(said["id"])).appearance
    return replace(_sight(index, said["best"]), appearance=stay)


def _match(index: "GalleryIndex", said: dict[str, Any]) -> Match:
    match = replace(_sight(index, said), similarity=_number(said["similarity"]))
    if said["appearance"] is None:
        return match
    stay = index.appearances.get(_whole(said["appearance"]["id"])).appearance
    return replace(match, appearance=stay)


def _sight(index: "GalleryIndex", said: dict[str, Any]) -> Match:
    """Return the person of a frame as the gallery has them, camera and time included.

    Numbers in files were rounded, and whoever has a file can write another time into it.
    """
    image, box = str(said["image"]), _box(said["box"])
    people = index.stored_people([image])
    boxes = np.array([one.box_xyxy for one in people], np.float32).reshape(-1, 4)
    found = people[row_of(boxes, Match(image, box, 0.0, 0.0))]
    return replace(to_match(found), appearance=None)


def _box(said: Any) -> Box:
    try:
        x1, y1, x2, y2 = (_number(side) for side in said)
    except ValueError as error:  # fewer, or more
        raise TypeError(f"{said!r} is no box x1, y1, x2, y2") from error
    return x1, y1, x2, y2


def _number(said: Any) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float) or not abs(said) < _LARGE:
        raise TypeError(f"{said!r} is no number, or none that a search prints")
    return float(said)


def _whole(said: Any) -> int:
    if isinstance(said, bool) or not isinstance(said, int):
        raise TypeError(f"{said!r} is not the number of an appearance")
    return said
