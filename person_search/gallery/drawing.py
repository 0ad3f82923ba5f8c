"""Pictures of search results: the query on the left, its ranked matches on the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from person_search.gallery.match import Match

Box = tuple[float, float, float, float]
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
CAPTION_HEIGHT = 40
HEADER_HEIGHT = 34
QUERY_GAP = 22


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


def draw_rankings(rankings: Sequence[Ranking], title: str = "") -> Image.Image:
    """Draw a sheet with one row a query.

    Each cell shows the person, below it the whole frame with the person's box, and for matches the
    rank, the cosine similarity and the frame's name.

    Args:
        rankings: at least one; rows may differ in length.
        title: a line above the sheet.

    Returns:
        An RGB picture.

    Raises:
        ValueError: without rankings.
        OSError: if a frame cannot be read; the message names it.
    """
    if not rankings:
        raise ValueError("no rankings to draw; expected at least one")
    rows = [_draw_row(ranking) for ranking in rankings]
    width = max(row.width for row in rows) + 2 * GAP
    header = HEADER_HEIGHT if title else GAP
    sheet = Image.new("RGB", (width, header + sum(r.height + GAP for r in rows)), BACKGROUND)
    if title:
        ImageDraw.Draw(sheet).text((GAP, 9), title, INK, font=_font(16))
    top = header
    for row in rows:
        sheet.paste(row, (GAP, top))
        top += row.height + GAP
    return sheet


def _draw_row(ranking: Ranking) -> Image.Image:
    cells = [_draw_cell(ranking.query_image, ranking.query_box, QUERY_COLOR, *_query_text(ranking))]
    for i, match in enumerate(ranking.matches):
        color = MATCH_COLOR
        if ranking.is_right is not None:
            color = RIGHT_COLOR if ranking.is_right[i] else WRONG_COLOR
        caption = f"{i + 1}.  similarity {match.similarity:.2f}"
        cells.append(
            _draw_cell(match.image, match.box_xyxy, color, caption, Path(match.image).name)
        )
    height = max(cell.height for cell in cells)
    width = sum(cell.width for cell in cells) + GAP * (len(cells) - 1) + QUERY_GAP
    row = Image.new("RGB", (width, height), BACKGROUND)
    left = 0
    for i, cell in enumerate(cells):
        row.paste(cell, (left, 0))
        left += cell.width + GAP + (QUERY_GAP if i == 0 else 0)
    middle = CROP_SIZE[0] + (GAP + QUERY_GAP) // 2
    ImageDraw.Draw(row).line([(middle, 0), (middle, height)], (222, 226, 230), 1)
    return row


def _query_text(ranking: Ranking) -> tuple[str, str]:
    return ranking.title or "query", Path(ranking.query_image).name


def _draw_cell(image_file: str, box: Box, color: Color, caption: str, detail: str) -> Image.Image:
    frame = _read(image_file)
    person = crop_around(frame, box, CROP_SIZE)
    whole = _draw_whole_frame(frame, box, color)
    cell = Image.new(
        "RGB", (CROP_SIZE[0], CROP_SIZE[1] + 4 + whole.height + CAPTION_HEIGHT), BACKGROUND
    )
    cell.paste(person, (0, 0))
    draw = ImageDraw.Draw(cell)
    draw.rectangle([0, 0, CROP_SIZE[0] - 1, CROP_SIZE[1] - 1], outline=color, width=4)
    cell.paste(whole, (0, CROP_SIZE[1] + 4))
    top = CROP_SIZE[1] + 4 + whole.height + 4
    draw.text((0, top), caption, color if caption else INK, font=_font(13))
    draw.text((0, top + 17), _shorten(detail), FAINT_INK, font=_font(11))
    return cell


def crop_around(frame: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Cut a window of the aspect ratio of ``size`` around a box, with some margin, and scale it.

    What lies outside the frame is plain.

    Args:
        frame: RGB picture.
        box: (x1, y1, x2, y2) in its pixels.
        size: width and height of the result.
    """
    x1, y1, x2, y2 = box
    scale = 1.15 * max((x2 - x1) / size[0], (y2 - y1) / size[1])
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


def _read(image_file: str) -> Image.Image:
    try:
        with Image.open(image_file) as image:
            return image.convert("RGB")
    except OSError as error:
        raise OSError(f"cannot read the frame {image_file}: {error}") from error


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font: the same on every machine, no font file needed."""
    return ImageFont.load_default(size)


def _shorten(text: str, length: int = 24) -> str:
    return text if len(text) <= length else "…" + text[1 - length :]
