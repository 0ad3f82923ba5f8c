"""The pictures that ``person-search search --save`` writes."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from person_search.commands.output import SearchAnswer
from person_search.commands.query import OpenQuery
from person_search.gallery.drawing import (
    BACKGROUND,
    GAP,
    QUERY_COLOR,
    Ranking,
    draw_rankings,
)
from person_search.gallery.images import read_frame

WIDTH = 1200
"""Largest width of a numbered picture, pixels."""
FONT_SIZE = 20


def draw_answer(answer: SearchAnswer) -> Image.Image:
    """Draw the query and its ranked matches; of several pictures of the person the first.

    Raises:
        OSError: A frame cannot be read.
    """
    query = answer.queries[0]
    more = f", and {len(answer.queries) - 1} more" if len(answer.queries) > 1 else ""
    title = f"{len(answer.matches)} matches in {answer.gallery}"
    if answer.is_in_gallery is False:
        title += "; probably not in this gallery"
    return draw_rankings(
        [Ranking(query.image, query.box, answer.matches, title="query" + more)], title
    )


def draw_choices(queries: Sequence[OpenQuery]) -> Image.Image:
    """Draw query pictures, one below the other, with the people found and their numbers.

    Args:
        queries: at least one.
    """
    pictures = [_draw_numbers(query) for query in queries]
    height = sum(picture.height for picture in pictures) + GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (max(p.width for p in pictures), height), BACKGROUND)
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height + GAP
    return sheet


def _draw_numbers(query: OpenQuery) -> Image.Image:
    picture = Image.fromarray(read_frame(query.image))
    scale = min(1.0, WIDTH / picture.width)
    size = (round(picture.width * scale), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(FONT_SIZE)
    for number, box in enumerate(query.people.boxes, 1):
        x1, y1, x2, y2 = (float(v) * scale for v in box)
        draw.rectangle([x1 - 2, y1 - 2, x2 + 2, y2 + 2], outline=QUERY_COLOR, width=3)
        # Above the box where there is room, else inside it.
        place = (x1, y1 - 4 - FONT_SIZE if y1 > FONT_SIZE + 6 else y1 + 2)
        left, top, right, bottom = draw.textbbox(place, str(number), font=font)
        draw.rectangle([left - 4, top - 3, right + 4, bottom + 3], fill=QUERY_COLOR)
        draw.text(place, str(number), BACKGROUND, font=font)
    return picture
