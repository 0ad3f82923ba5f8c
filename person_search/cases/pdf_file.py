"""A small writer of PDF files: text in Helvetica, which every reader has, JPEG pictures, lines.

No library does it for us without ids and dates of its own; what a report needs of PDF 1.4 (ISO
32000-1) is little. Text can be selected and searched.
"""

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime

Color = tuple[float, float, float]

WIDTH, HEIGHT = 595.0, 842.0
"""Of a page, A4, in points of 1/72 inch."""

_BLACK: Color = (0.11, 0.14, 0.19)
# Widths of Helvetica's characters from the space on, in thousandths of the size (Adobe's AFM).
_WIDTHS = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 "
    "556 556 556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 "
    "722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 469 556 333 556 556 500 556 "
    "556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 "
    "260 334 584"
)
_CHARACTERS = {32 + place: int(width) for place, width in enumerate(_WIDTHS.split())}
_OTHER = 800
"""Of other characters, at least about theirs."""
_BOLD = 1.08
"""By which bold text is wider, at most."""


def encode_text(text: str) -> bytes:
    r"""Return text as Helvetica writes it: Windows-1252.

    What it has no character for is written as ``\u9A45``, so that nothing is lost.
    """
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.encode("cp1252", "backslashreplace")


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return about how wide a text is, in points."""
    units = sum(_CHARACTERS.get(code, _OTHER) for code in encode_text(text))
    return units * size / 1000 * (_BOLD if bold else 1)


class PdfFile:
    """Pages that are drawn on from the top left; the same calls give the same bytes."""

    def __init__(self) -> None:
        self._pages: list[list[bytes]] = []
        self._pictures: list[tuple[bytes, int, int]] = []

    def add_page(self) -> None:
        """Begin a page."""
        self._pages.append([])

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 9,
        bold: bool = False,
        color: Color = _BLACK,
    ) -> None:
        """Write a line.

        Args:
            x: Of its left end, in points from the left.
            y: Of its baseline, in points from the top.
            text: See `encode_text`.
            size: Of the font, in points.
            bold: Whether it is bold.
            color: Red, green and blue, 0..1.
        """
        said = encode_text(text).replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        font, ink = 2 if bold else 1, " ".join(f"{part:.3f}" for part in color)
        self._pages[-1].append(
            f"BT /F{font} {size:g} Tf {ink} rg {x:.2f} {HEIGHT - y:.2f} Td (".encode()
            + said
            + b") Tj ET"
        )

    def picture(self, jpeg: bytes, pixels: tuple[int, int], box: Sequence[float]) -> None:
        """Put an RGB picture on the page.

        Args:
            jpeg: The bytes of its file.
            pixels: Its width and height.
            box: Left, top, width and height on the page, in points.
        """
        left, top, width, height = box
        self._pictures.append((jpeg, *pixels))
        self._pages[-1].append(
            f"q {width:.2f} 0 0 {height:.2f} {left:.2f} {HEIGHT - top - height:.2f} cm "
            f"/P{len(self._pictures)} Do Q".encode()
        )

    def line(self, y: float, left: float, right: float) -> None:
        """Draw a thin line across the page."""
        self._pages[-1].append(
            f"0.835 0.859 0.890 RG 0.7 w {left:.2f} {HEIGHT - y:.2f} m {right:.2f} "
            f"{HEIGHT - y:.2f} l S".encode()
        )

    def to_bytes(self, title: str, made: float) -> bytes:
        """Return the file.

        Args:
            title: Of the document, ASCII.
            made: Its date, seconds since 1970 (UTC).
        """
        date = datetime.fromtimestamp(made, UTC).strftime("D:%Y%m%d%H%M%SZ")
        fonts = [
            b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>" % name
            for name in (b"Helvetica", b"Helvetica-Bold")
        ]
        first_picture = 6
        first_page = first_picture + len(self._pictures)
        kids = b" ".join(b"%d 0 R" % (first_page + 2 * n) for n in range(len(self._pages)))
        objects = [
            b"<< /Type /Catalog /Pages 2 0 R /Lang (en) >>",
            b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(self._pages)),
            f"<< /Title ({title}) /CreationDate ({date}) >>".encode("ascii"),
            *fonts,
            *(_picture(*one) for one in self._pictures),
        ]
        names = b" ".join(
            b"/P%d %d 0 R" % (n + 1, first_picture + n) for n in range(len(self._pictures))
        )
        for number, drawn in enumerate(self._pages):
            objects += [
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %g %g] /Contents %d 0 R /Resources "
                b"<< /Font << /F1 4 0 R /F2 5 0 R >> /XObject << %s >> >> >>"
                % (WIDTH, HEIGHT, first_page + 2 * number + 1, names),
                _stream(b"/Filter /FlateDecode", zlib.compress(b"\n".join(drawn), 9)),
            ]
        return _file(objects)


def _picture(jpeg: bytes, width: int, height: int) -> bytes:
    said = (
        b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceRGB "
        b"/BitsPerComponent 8 /Filter /DCTDecode" % (width, height)
    )
    return _stream(said, jpeg)


def _stream(said: bytes, content: bytes) -> bytes:
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (said, len(content), content)


def _file(objects: Sequence[bytes]) -> bytes:
    # The bytes of the second line tell programs that this is no text.
    result = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(result))
        result += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(result)
    result += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    result += b"".join(b"%010d 00000 n \n" % place for place in places)
    result += b"trailer\n<< /Size %d /Root 1 0 R /Info 3 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )
    return bytes(result)
