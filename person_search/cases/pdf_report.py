"""A case as a PDF, for paper: the same as the page of HTML, without clips."""

import io
from pathlib import Path

from PIL import Image

from person_search.cases import wording
from person_search.cases.contents import Case, CaseMatch
from person_search.cases.pdf_file import HEIGHT, WIDTH, PdfFile, text_width

LEFT, RIGHT = 42.0, WIDTH - 42.0
TOP, BOTTOM = 48.0, HEIGHT - 48.0
GREY = (0.30, 0.34, 0.41)
RED = (0.60, 0.35, 0.0)
NAME_WIDTH = 130.0
"""Of the names of facts, in points."""
MOST_PIXELS = 1400
"""Longest side of a picture in the file."""
_CELL_LINES = 10
"""Of a cell of a table, which is not broken between pages."""
_A_ROW = 3
"""Pictures of the person asked for, side by side."""


def pdf_report(case: Case, folder: Path) -> bytes:
    """Write a case as a PDF.

    Args:
        case: What it says.
        folder: With its pictures.
    """
    page = _Page(folder)
    page.heading("Person search: a case", 18)
    asked = [(q.picture, f"Asked for: box {wording.box_text(q.box)}") for q in case.queries]
    for place in range(0, len(asked), _A_ROW):
        page.pictures(asked[place : place + _A_ROW], 150)
    page.facts(wording.case_facts(case))
    page.paragraph(wording.SHOWN if case.has_others else wording.BLURRED)
    if case.queries:
        page.paragraph(wording.MEANING)
    page.heading("Matches", 13)
    page.table(["", "Camera", "From", "Until", "Similarity", "Judged"], _SHARES, _rows(case))
    for match in case.matches:
        _add_match(page, case, match)
    page.heading("Sources", 13)
    for source in case.sources:
        digest = source.sha256 or "none"
        page.facts([(f"{source.number}, {source.state}", f"{source.name}\nSHA-256 {digest}")])
    page.heading("Model", 13)
    page.facts(wording.model_facts(case))
    page.heading("Verify", 13)
    page.paragraph(wording.VERIFYING)
    return page.finish(case.made)


_SHARES = (0.06, 0.2, 0.26, 0.26, 0.1, 0.12)


def _rows(case: Case) -> list[list[str]]:
    return [
        [
            str(match.number),
            match.camera or "unknown",
            wording.long_time(match.start),
            wording.long_time(match.end),
            "" if match.similarity is None else f"{match.similarity:.3f}",
            "; ".join(one.verdict for one in match.judgements),
        ]
        for match in case.matches
    ]


def _add_match(page: "_Page", case: Case, match: CaseMatch) -> None:
    # A heading never stands alone at the foot of a page.
    page.need(330 if match.person else 140)
    page.heading(f"Match {match.number}", 13)
    if match.person is not None:
        main, *more = match.pictures
        assert main.picture is not None
        page.pictures([(main.picture, wording.place(case, main)), (match.person, "")], 190)
        small = [(s.picture, wording.long_time(s.timestamp)) for s in more if s.picture]
        page.pictures(small, 90)
    page.facts(wording.match_facts(case, match))
    for note in match.notes:
        page.paragraph(note, RED)


class _Page:
    """Puts one thing below the other, and begins a page where the last one is full."""

    def __init__(self, folder: Path) -> None:
        self._file, self._folder = PdfFile(), folder
        self._count = 0
        self._begin()

    def _begin(self) -> None:
        self._file.add_page()
        self._count += 1
        self._file.text(RIGHT - 40, HEIGHT - 26, f"Page {self._count}", size=8, color=GREY)
        self._y = TOP

    def need(self, height: float) -> None:
        """Begin a page where less room than this is left."""
        if self._y + height > BOTTOM and self._y > TOP:
            self._begin()

    def heading(self, text: str, size: float) -> None:
        self.need(4 * size)
        if self._y > TOP:
            self._y += size
            self._file.line(self._y, LEFT, RIGHT)
        self._y += 1.5 * size
        self._file.text(LEFT, self._y, text, size=size, bold=True)
        self._y += 10

    def paragraph(self, text: str, color: tuple[float, float, float] = GREY) -> None:
        self._y += 4
        for line in wrap(text, 9, RIGHT - LEFT):
            self._step(12)
            self._file.text(LEFT, self._y, line, color=color)

    def facts(self, facts: wording.Facts) -> None:
        for name, value in facts:
            names = wrap(name, 9, NAME_WIDTH - 8)
            values = [
                line
                for part in value.split("\n")
                for line in wrap(part, 9, RIGHT - LEFT - NAME_WIDTH)
            ]
            # Not torn, unless it fills pages.
            self.need(min(12.0 * max(len(names), len(values)), 240))
            for place in range(max(len(names), len(values))):
                self._step(12)
                if place < len(names):
                    self._file.text(LEFT, self._y, names[place], color=GREY)
                if place < len(values):
                    self._file.text(LEFT + NAME_WIDTH, self._y, values[place])

    def table(self, head: list[str], shares: tuple[float, ...], rows: list[list[str]]) -> None:
        lefts = [LEFT + (RIGHT - LEFT) * sum(shares[:place]) for place in range(len(shares))]
        for row, is_bold in [(head, True), *((row, False) for row in rows)]:
            cells = [
                _shorten(wrap(cell, 8, (RIGHT - LEFT) * share - 6))
                for cell, share in zip(row, shares, strict=True)
            ]
            self.need(11 * max(map(len, cells)) + 4)
            top = self._y
            for left, lines in zip(lefts, cells, strict=True):
                for place, line in enumerate(lines, 1):
                    self._file.text(left, top + 11 * place, line, size=8, bold=is_bold)
            self._y = top + 11 * max(map(len, cells)) + 4
            self._file.line(self._y, LEFT, RIGHT)

    def pictures(self, shown: list[tuple[str, str]], height: float) -> None:
        """Put pictures side by side, each with a caption below it."""
        if not shown:
            return
        loaded = [(*_load(self._folder / name), caption) for name, caption in shown]
        widths = [height * width / tall for _, (width, tall), _ in loaded]
        gap = 10.0
        scale = min(1.0, (RIGHT - LEFT - gap * (len(loaded) - 1)) / sum(widths))
        self.need(height * scale + 22)
        x = LEFT
        for (jpeg, pixels, caption), width in zip(loaded, widths, strict=True):
            self._file.picture(jpeg, pixels, (x, self._y, width * scale, height * scale))
            lines = wrap(caption, 7, max(width * scale, 40))[:2] if caption else []
            for place, line in enumerate(lines):
                y = self._y + height * scale + 9 + 8 * place
                self._file.text(x, y, line, size=7, color=GREY)
            x += width * scale + gap
        self._y += height * scale + 22

    def finish(self, made: float) -> bytes:
        return self._file.to_bytes("Person search: a case", made)

    def _step(self, height: float) -> None:
        self.need(height)
        self._y += height


def wrap(text: str, size: float, width: float) -> list[str]:
    """Break a text into lines of at most a width, in points; long words are broken, too.

    Returns:
        At least one line.
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if text_width(longer, size) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and text_width(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _shorten(lines: list[str]) -> list[str]:
    """Cut a cell of a table off; the section of the match says the same in full."""
    return lines if len(lines) <= _CELL_LINES else [*lines[: _CELL_LINES - 1], "…"]


def _load(path: Path) -> tuple[bytes, tuple[int, int]]:
    """Return a picture as JPEG of at most `MOST_PIXELS`, and its width and height."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((MOST_PIXELS, MOST_PIXELS), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue(), picture.size
