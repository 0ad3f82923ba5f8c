"""The pictures that ``person-search search --save`` writes."""

from collections.abc import Sequence

from PIL import Image

from person_search.commands.output import SearchAnswer
from person_search.commands.query_text import OpenQuery
from person_search.drawing.people import draw_people
from person_search.drawing.rankings import BACKGROUND, GAP, Ranking, draw_rankings
from person_search.footage.frames import read_frame


def draw_answer(answer: SearchAnswer) -> Image.Image:
    """Draw the query and its ranked matches; of several pictures of the person the first.

    Raises:
        OSError: The query's picture cannot be read.
    """
    query = answer.queries[0]
    more = f" 1 of {len(answer.queries)}" if len(answer.queries) > 1 else ""
    title = f"{len(answer.matches)} matches in {answer.gallery}"
    if answer.is_in_gallery is False:
        title += "; probably not in this gallery"
    ranking = Ranking(query.image, query.box, answer.matches, title="query" + more)
    return draw_rankings([ranking], title)


def draw_choices(queries: Sequence[OpenQuery]) -> Image.Image:
    """Draw query pictures, one below the other, with the people found and their numbers.

    Args:
        queries: at least one.
    """
    pictures = [draw_people(read_frame(query.image), query.people) for query in queries]
    height = sum(picture.height for picture in pictures) + GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (max(p.width for p in pictures), height), BACKGROUND)
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height + GAP
    return sheet
