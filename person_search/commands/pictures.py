"""The pictures that ``--save`` writes."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from person_search.cases.blur import Blur, shown_as_asked
from person_search.commands.output import SearchAnswer
from person_search.commands.query_text import OpenQuery
from person_search.commands.written_files import check_can_write
from person_search.drawing.blurring import blur_around
from person_search.drawing.people import draw_people
from person_search.drawing.rankings import BACKGROUND, GAP, Hide, Ranking, draw_rankings
from person_search.footage.frames import read_frame
from person_search.people import Match, People


def draw_answer(answer: SearchAnswer, blur: Blur | None = None) -> Image.Image:
    """Draw the query and its ranked matches; of several pictures of the person the first.

    Args:
        answer: Of a search.
        blur: Hides everybody but the person asked for: also the people of matches that are probably
            others, see `shown_as_asked`. None shows everybody.

    Raises:
        OSError: The query's picture cannot be read.
    """
    query = answer.queries[0]
    more = f" 1 of {len(answer.queries)}" if len(answer.queries) > 1 else ""
    title = f"{len(answer.matches)} matches in {answer.gallery}"
    if answer.is_in_gallery is False:
        title += "; probably not in this gallery"
    ranking = Ranking(query.image, query.box, answer.matches, title="query" + more)
    return draw_rankings([ranking], title, hide=None if blur is None else _hide(answer, blur))


def _hide(answer: SearchAnswer, blur: Blur) -> Hide:
    query = answer.queries[0]
    beside = np.zeros((0, 4)) if query.beside is None else query.beside.boxes
    is_shown = shown_as_asked(answer.matches, answer.least)
    asked = [match for match, is_one in zip(answer.matches, is_shown, strict=True) if is_one]

    def hide(match: Match | None, picture: np.ndarray) -> np.ndarray:
        if match is None:
            return blur_around(picture, query.box, beside)
        return blur.only(match in asked).hidden(match).blur(picture, match.box_xyxy)

    return hide


def draw_choices(queries: Sequence[OpenQuery]) -> Image.Image:
    """Draw query pictures with the people found and their numbers; at least one."""
    return draw_pictures([(query.image, query.people) for query in queries])


def draw_pictures(pictures: Sequence[tuple[str, People]]) -> Image.Image:
    """Draw pictures, one below the other, with their people and the people's numbers.

    Args:
        pictures: file or frame of each, at least one, and who is in it.

    Raises:
        OSError: One cannot be read.
    """
    drawn = [draw_people(read_frame(name), people) for name, people in pictures]
    height = sum(picture.height for picture in drawn) + GAP * (len(drawn) - 1)
    sheet = Image.new("RGB", (max(p.width for p in drawn), height), BACKGROUND)
    top = 0
    for picture in drawn:
        sheet.paste(picture, (0, top))
        top += picture.height + GAP
    return sheet


def check_picture_file(path: Path) -> None:
    """Refuse what ``--save`` cannot write, before anything slow starts.

    Raises:
        OSError: Its folder is not there, or cannot be written to.
        ValueError: Its name ends like that of no picture.
    """
    if path.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"--save {path}: expected a picture file, such as out.png")
    check_can_write("--save", path)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture, and say so.

    Raises:
        OSError: It cannot be written.
    """
    picture.save(path)
    print(f"wrote {path}", file=sys.stderr)
