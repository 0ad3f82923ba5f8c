"""Pictures of search results: the query on the left, its ranked matches on the right."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from person_search.drawing.people import draw_people
from person_search.footage.frames import read_frame
from person_search.footage.time_text import format_time
from person_search.people import Box, Match, similarity_text

__all__ = ["Ranking", "crop_around", "draw_people", "draw_rankings"]

logger = logging.getLogger(__name__)

Color = tuple[int, int, int]

BACKGROUND: Color = (255, 255, 255)
INK: Color = (38, 43, 51)
OUTSIDE: Color = (226, 230, 234)
FAINT_INK: Color = (120, 128, 138)
QUERY_COLOR: Color = (34, 102, 204)
MATCH_COLOR: Color = (240, 170, 20)
RIGHT_COLOR: Color = (26, 152, 80)
WRONG_COLOR: Color = (205, 46, 46)

CROP_SIZE = (150, 216)
"""Width and height of the picture of a person."""
FRAME_WIDTH = 150
"""Width of the small picture of the whole frame below it."""
GAP = 12
LINE_HEIGHT = 14
"""Of the small text below the caption."""
HEADER_HEIGHT = 34
COLUMNS = 8
"""Matches side by side before the next row begins."""
QUERY_GAP = 22


Hide = Callable[[Match | None, np.ndarray], np.ndarray]
"""Takes a match, None for the query, and its frame's pixels (H, W, 3) uint8 RGB; returns what is
shown, or raises ValueError or OSError, where nothing can be."""


@dataclass(frozen=True)
class Ranking:
    """A query and what was found for it."""

    query_image: str
    """File of the frame that the query was taken from."""

    query_box: Box
    """The person asked for, (x1, y1, x2, y2) in original pixels."""

    matches: Sequence[Match]
    """Best first."""

    is_right: Sequence[bool] | None = None
    """Whether each match is the person asked for, where that is known: green and red instead of
    amber."""

    title: str = ""


def draw_rankings(
    rankings: Sequence[Ranking],
    title: str = "",
    *,
    columns: int = COLUMNS,
    hide: Hide | None = None,
) -> Image.Image:
    """Draw a sheet with each query on the left and its matches beside it.

    Each cell shows the person, below it the whole frame with the person's box and the frame's name;
    for matches also the rank, the cosine similarity, and where known the camera and the time: local
    date and time, or hours, minutes and seconds since the start of the video. In place of a match's
    frame that can no longer be read stands a note.

    Args:
        rankings: at least one; they may differ in length.
        title: a line above the sheet.
        columns: matches side by side; more go into further rows.
        hide: changes each frame before it is drawn, to blur others; a match of which it raises an
            error is not drawn.

    Returns:
        An RGB picture.

    Raises:
        ValueError: without rankings, with fewer than one column, or if a query's frame is broken.
        OSError: if a query's frame cannot be read; the message names it.
    """
    if not rankings:
        raise ValueError("no rankings to draw; expected at least one")
    if columns < 1:
        raise ValueError(f"columns is {columns}; expected at least 1")
    rows = [_draw_row(ranking, columns, hide) for ranking in rankings]
    header = HEADER_HEIGHT if title else GAP
    title = shorten(title, _font(16), float("inf"))
    width = max([*(row.width for row in rows), round(_font(16).getlength(title))]) + 2 * GAP
    sheet = Image.new("RGB", (width, header + sum(r.height + GAP for r in rows)), BACKGROUND)
    if title:
        ImageDraw.Draw(sheet).text((GAP, 9), title, INK, font=_font(16))
    top = header
    for row in rows:
        sheet.paste(row, (GAP, top))
        top += row.height + GAP
    return sheet


def _draw_row(ranking: Ranking, columns: int, hide: Hide | None) -> Image.Image:
    query = _draw_query(ranking, hide)
    cells = [_draw_match(ranking, place, hide) for place in range(len(ranking.matches))]
    grid = _arrange(cells, columns)
    left = query.width + GAP + QUERY_GAP
    height = max(query.height, grid.height)
    row = Image.new("RGB", (left + grid.width, height), BACKGROUND)
    row.paste(query, (0, 0))
    row.paste(grid, (left, 0))
    middle = query.width + (GAP + QUERY_GAP) // 2
    ImageDraw.Draw(row).line([(middle, 0), (middle, height)], (222, 226, 230), 1)
    return row


def _arrange(cells: Sequence[Image.Image], columns: int) -> Image.Image:
    """Put pictures of one width into a grid, row by row; (0, 0) pixels without any."""
    lines = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in line) for line in lines]
    count = min(columns, len(cells))
    width = max(0, count * (CROP_SIZE[0] + GAP) - GAP)
    grid = Image.new("RGB", (width, sum(heights) + GAP * max(0, len(lines) - 1)), BACKGROUND)
    top = 0
    for line, height in zip(lines, heights, strict=True):
        for place, cell in enumerate(line):
            grid.paste(cell, (place * (CROP_SIZE[0] + GAP), top))
        top += height + GAP
    return grid


def _draw_query(ranking: Ranking, hide: Hide | None) -> Image.Image:
    try:
        frame = _read(ranking.query_image, None, hide)
    except OSError as error:
        raise OSError(f"cannot read the frame {ranking.query_image}: {error}") from error
    name = Path(ranking.query_image).name
    return _draw_cell(frame, ranking.query_box, QUERY_COLOR, ranking.title or "query", [name])


def _read(image: str, match: Match | None, hide: Hide | None) -> Image.Image:
    pixels = read_frame(image)
    return Image.fromarray(pixels if hide is None else hide(match, pixels))


def _draw_match(ranking: Ranking, place: int, hide: Hide | None) -> Image.Image:
    match = ranking.matches[place]
    color = MATCH_COLOR
    if ranking.is_right is not None:
        color = RIGHT_COLOR if ranking.is_right[place] else WRONG_COLOR
    frame = None
    try:
        frame = _read(match.image, match, hide)
    except (OSError, ValueError) as error:
        logger.warning("cannot draw match %d: %s", place + 1, error)
    caption = f"{place + 1}.  similarity {similarity_text(match.similarity)}"
    # One line more for everybody or nobody, so that cells without a camera keep their names level.
    details = []
    if any(other.camera for other in ranking.matches):
        details.append(f"camera {match.camera}" if match.camera else "camera unknown")
    if any(other.timestamp is not None for other in ranking.matches):
        is_known = match.timestamp is not None
        details.append(format_time(match.timestamp) if is_known else "time unknown")
    return _draw_cell(frame, match.box_xyxy, color, caption, [*details, Path(match.image).name])


def _draw_cell(
    frame: Image.Image | None, box: Box, color: Color, caption: str, details: Sequence[str]
) -> Image.Image:
    if frame is None:
        person = _draw_note(CROP_SIZE)
        whole = Image.new("RGB", (FRAME_WIDTH, FRAME_WIDTH * 9 // 16), OUTSIDE)
    else:
        person, whole = crop_around(frame, box, CROP_SIZE), _draw_whole_frame(frame, box, color)
    caption_height = 26 + LINE_HEIGHT * len(details)
    cell = Image.new(
        "RGB", (CROP_SIZE[0], CROP_SIZE[1] + 4 + whole.height + caption_height), BACKGROUND
    )
    cell.paste(person, (0, 0))
    draw = ImageDraw.Draw(cell)
    draw.rectangle([0, 0, CROP_SIZE[0] - 1, CROP_SIZE[1] - 1], outline=color, width=4)
    cell.paste(whole, (0, CROP_SIZE[1] + 4))
    top = CROP_SIZE[1] + 4 + whole.height + 4
    draw.text((0, top), shorten(caption, _font(13), cell.width), INK, font=_font(13))
    for number, detail in enumerate(details):
        text = shorten(detail, _font(11), cell.width)
        draw.text((0, top + 17 + LINE_HEIGHT * number), text, FAINT_INK, font=_font(11))
    return cell


def _draw_note(size: tuple[int, int]) -> Image.Image:
    note = Image.new("RGB", size, OUTSIDE)
    draw = ImageDraw.Draw(note)
    draw.text((size[0] / 2, size[1] / 2), "cannot be shown", INK, font=_font(13), anchor="mm")
    return note


def crop_around(frame: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Cut a window of the aspect ratio of ``size`` around a box, with some margin, and scale it.

    What lies outside the frame is plain.

    Args:
        frame: RGB picture.
        box: (x1, y1, x2, y2) in its pixels.
        size: width and height of the result.
    """
    x1, y1, x2, y2 = box
    # A box without area still gives a window.
    scale = 1.15 * max((x2 - x1) / size[0], (y2 - y1) / size[1], 1 / min(size))
    half_width, half_height = size[0] * scale / 2, size[1] * scale / 2
    center_x, center_y = (x1 + x2) / 2, (y1 + y2) / 2
    window = np.array(
        [
            center_x - half_width,
            center_y - half_height,
            center_x + half_width,
            center_y + half_height,
        ]
    )
    margin = int(max(0, np.ceil(max(-window[:2].min(), *(window[2:] - frame.size))))) + 1
    padded = Image.new("RGB", (frame.width + 2 * margin, frame.height + 2 * margin), OUTSIDE)
    padded.paste(frame, (margin, margin))
    return padded.resize(size, Image.Resampling.BICUBIC, box=tuple(window + margin))


def _draw_whole_frame(frame: Image.Image, box: Box, color: Color) -> Image.Image:
    scale = FRAME_WIDTH / frame.width
    small = frame.resize(
        (FRAME_WIDTH, max(1, round(frame.height * scale))), Image.Resampling.LANCZOS
    )
    x1, y1, x2, y2 = (v * scale for v in box)
    ImageDraw.Draw(small).rectangle([x1 - 1, y1 - 1, x2 + 1, y2 + 1], outline=color, width=2)
    return small


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font: the same on every machine, no font file needed."""
    return ImageFont.load_default(size)


def shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Make one line of a text, with as little taken out of its middle as fits it into a width.

    File names differ at their end, folders at their beginning.

    Args:
        text: line breaks become spaces.
        font: what it is drawn with.
        width: in pixels.
    """
    text = re.sub(r"\s", " ", text)
    # The font's kerning all but closes a space after a digit.
    text = re.sub(r"(?<=\d) (?! )", "  ", text)
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        short = f"{text[: kept // 2]}…{text[len(text) - (kept + 1) // 2 :]}"
        if font.getlength(short) <= width:
            return short
    return "…"
