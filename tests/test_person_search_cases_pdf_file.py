import io
import re
import zlib

import pytest
from PIL import Image

from person_search.cases.contents import Case, CaseMatch, CaseSight, Judgement, Source
from person_search.cases.pdf_file import HEIGHT, PdfFile, encode_text, text_width
from person_search.cases.pdf_report import pdf_report, wrap
from person_search.cases.wording import iso_time, long_time


def make(texts):
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 0, 0)).save(stream, "JPEG")
    file = PdfFile()
    for text in texts:
        file.add_page()
        file.text(40, 50, text, bold=True)
        file.picture(stream.getvalue(), (8, 6), (40, 60, 80, 60))
        file.line(70, 40, 500)
    return file.to_bytes("a test", 1.7e9)


def test_every_object_is_where_the_table_says():
    data = make(["first", "second"])
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF\n$", data)[1])
    count = int(re.match(rb"xref\n0 (\d+)\n", data[start:])[1])
    places = [int(p) for p in re.findall(rb"(\d{10}) 00000 n ", data[start:])]
    assert len(places) == count - 1
    for number, place in enumerate(places, 1):
        assert data[place:].startswith(b"%d 0 obj\n" % number)
    for length, content in re.findall(
        rb"/Length (\d+) >>\nstream\n(.*?)\nendstream", data, re.DOTALL
    ):
        assert int(length) == len(content)
    assert b"/Count 2" in data and b"(D:20231114221320Z)" in data and b"/ID" not in data


def test_text_is_text_and_brackets_do_not_end_it():
    data = make([r"cam (1) \ Süd € 駅"])
    (drawn,) = (
        zlib.decompress(content)
        for content in re.findall(
            rb"FlateDecode /Length \d+ >>\nstream\n(.*?)\nendstream", data, re.S
        )
    )
    assert rb"(cam \(1\) \\ S" + b"\xfcd \x80 " + rb"\\u99c5) Tj" in drawn
    assert b"BT /F2 9 Tf" in drawn and b"40.00 %.2f Td" % (HEIGHT - 50) in drawn


def test_what_cannot_be_printed_is_no_text():
    assert encode_text("a\nb\x00c\u202ed") == b"a b c d"


def test_widths_are_helveticas():
    assert text_width("Will", 10) == pytest.approx(10 * (944 + 3 * 222) / 1000)
    assert text_width("Will", 10, bold=True) > text_width("Will", 10)


def test_lines_are_broken_at_words_and_long_words_anywhere():
    text = "one two three " + "x" * 60
    lines = wrap(text, 9, 80)
    assert lines[0] == "one two three" and all(text_width(line, 9) <= 80 for line in lines)
    assert "".join(lines[1:]) == "x" * 60
    assert wrap("", 9, 80) == [""]


def test_what_does_not_fit_goes_on_the_next_page(tmp_path):
    """A judge's remarks and a camera's name may be longer than a page."""
    said = [Judgement("right", f"judge {number}") for number in range(150)]
    sight = CaseSight(1, None, None, (0, 0, 9, 9), 0.5)
    match = CaseMatch(*(1, "long" * 100, None, None, None, sight, [sight], None, None, [], said))
    head = (1.7e9, "program", "gallery", "ab" * 32, None, [], None, None, False)
    case = Case(*head, [match], [Source(1, "a.jpg", None, "gone")])
    drawn = [
        zlib.decompress(content)
        for content in re.findall(
            rb"FlateDecode /Length \d+ >>\nstream\n(.*?)\nendstream",
            pdf_report(case, tmp_path),
            re.S,
        )
    ]
    heights = [float(y) for page in drawn for y in re.findall(rb" ([-\d.]+) Td", page)]
    assert len(drawn) >= 4 and min(heights) >= 20 and max(heights) <= HEIGHT - 20
    assert sum(page.count(b"right by judge") for page in drawn) == 150


def test_times_into_a_video_are_no_dates():
    assert iso_time(12.5) is None and long_time(12.5) == "0:00:12.5 into the video"
    assert long_time(None) == "unknown" and long_time(1.7e9).startswith("2023-11-1")
