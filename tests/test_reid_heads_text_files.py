import codecs
import gzip
from unicodedata import normalize

import pytest

from reid_heads.text_files import (
    number_ids,
    parse_id,
    read_json,
    read_numbers,
    read_table,
    read_text,
)

WANTED = ("path", "person")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_of_editors_mean_nothing(tmp_path, encoding, end):
    path = tmp_path / "a.txt"
    path.write_bytes(f"für{end}[1]{end}".encode(encoding))
    assert read_text(path) == "für\n[1]\n"


def test_utf_16_of_the_other_byte_order(tmp_path):
    (tmp_path / "a.json").write_bytes(codecs.BOM_UTF16_BE + '{"a": 1}'.encode("utf-16-be"))
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_byte_order_mark(tmp_path, encoding):
    """It was read as letters with zero bytes between them."""
    (tmp_path / "a.csv").write_bytes("path,person\nZoë.png,1\n".encode(encoding))
    ((_, row),) = read_table(tmp_path / "a.csv", WANTED)
    assert row == {"path": "Zoë.png", "person": "1"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"{}"), "no text but packed by gzip: unpack it"),
        (b"PK\x03\x04 and so on", "no text but .*Excel workbook: .*save the table as CSV"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no text but a pointer of Git LFS"),
        (b"path,person\na\0.png,1\n", "no text: it holds zero bytes"),
    ],
)
def test_what_is_no_text_is_called_by_its_kind(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ValueError, match=rf"a is {message}"):
        read_text(tmp_path / "a")


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"f\xfcr", b"{", b"[" * 100_000])
def test_what_is_no_text_or_no_json_names_the_file(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.json is not a JSON file"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text",
    [
        "path,person\na b.png,1\n",
        "path;person\na b.png;1\n",
        "sep=;\n path ; person \n a b.png ; 1 \n\n;\n",
        "\n  \npath,person\na b.png,1\n",
        "Path\tPERSON\tnote\na b.png\t1",
        '\ufeff"path", "person"\r\n"a b.png", "1"\r\n',
    ],
)
def test_a_table_is_read_however_a_spreadsheet_writes_it(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    ((place, row),) = read_table(path, WANTED)
    assert {name: row[name] for name in WANTED} == {"path": "a b.png", "person": "1"}
    assert place == f"{path}, line {text[: text.index('a b.png')].count(chr(10)) + 1}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header '' lacks path, person"),
        ("file;person\n", "the header 'file;person' lacks path; expected the columns path, person"),
        ("path,person,Person\n", "has person twice"),
        ("path,person\na,b.png,1\n", "line 2 has 3 cells, the header 2; .* between quotes"),
        ('path,person\n"a,1\n', "line 2: .*is it a CSV file"),
    ],
)
def test_what_is_no_such_table_says_why(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"a\.csv.*{message}"):
        list(read_table(path, WANTED))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        (5.0, 5),
        ("5", 5),
        (" 5.0 ", 5),
        ("-1", -1),
        ("0007", 7),
        (str(2**60 + 1), 2**60 + 1),
        ("anna", "anna"),
        ("1e3", "1e3"),
        (None, None),
        (float("nan"), None),
        ("NaN", None),
        ("", None),
        ("null", None),
        ("#N/A", None),
        ("5,0", 5),
        (normalize("NFD", "Zoë"), normalize("NFC", "Zoë")),
        (2.0**53 - 1, 2**53 - 1),
    ],
)
def test_ids(value, expected):
    assert parse_id(value) == expected


@pytest.mark.parametrize("value", ["1.23457E+12", "1,23457E+12", "1E+12", 2.0**53, 1e300])
def test_a_number_that_may_be_several_is_no_id(value):
    """Excel and floats make one number of several people's, who then were one person."""
    with pytest.raises(ValueError, match="may stand for several"):
        parse_id(value)


@pytest.mark.parametrize("value", [1.5, "1.5", float("inf"), True, [1], {}])
def test_what_is_no_id(value):
    with pytest.raises(ValueError, match="expected a whole number or a name"):
        parse_id(value)


def test_names_are_numbered_after_the_numbers():
    assert number_ids(["bo", 3, "anna", -1, "bo"]) == {-1: -1, 3: 3, "anna": 4, "bo": 5}
    assert number_ids(["bo", -1]) == {-1: -1, "bo": 0}
    assert number_ids([]) == {}


@pytest.mark.parametrize(
    "text",
    [
        "1,2.5\n3,-4\n",
        "1 2.5\n\n3   -4",
        "\ufeff1;2.5;\r\n3;-4;\r\n",
        "frame, id\n1, 2.5\n3, -4\n",
        "1\t2.5\n3\t-4\n",
        "1;2,5\n3;-4\n",
        "1\t2,5\n3\t-4,0\n",
        "1 2,5\n3 -4\n",
        "1, 2.5\n3 ,-4\n",
    ],
)
def test_numbers_however_they_are_separated(tmp_path, text):
    (tmp_path / "a.txt").write_bytes(text.encode())
    assert read_numbers(tmp_path / "a.txt").tolist() == [[1, 2.5], [3, -4]]


def test_what_is_no_lines_of_numbers(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("")
    assert read_numbers(path).shape == (0, 0)
    for text, message in (("1,2\n3,x\n", "line 2: '3,x' is no"), ("1,2\n3\n", "line 2 has 1 num")):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"a\.txt, {message}"):
            read_numbers(path)


@pytest.mark.parametrize("text", ["1;1.234,5\n", "1,1_000\n", "1;2,x\n"])
def test_numbers_that_may_mean_several_things_are_refused(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ValueError, match=r"a\.txt, line 1: .* is no line of numbers"):
        read_numbers(tmp_path / "a.txt")
