"""Text, JSON and tables as editors, spreadsheets and other programs write them.

A byte order mark, either kind of line end, semicolons or tabs between the cells, capitals and
spaces in a header, a number written as 1.0 or 1,0: what can mean one thing only is read as that.
"""

import codecs
import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_MARKS = (
    # The first two bytes of UTF-32's little-endian mark are UTF-16's.
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED = (
    (b"\x1f\x8b", "packed by gzip: unpack it"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook: unpack it, or save the table as CSV"),
    (b"version https://git-lfs", "a pointer of Git LFS to the file: fetch it with git lfs pull"),
)
_DELIMITERS = ",;\t"
_NUMBER = re.compile(r"[+-]?[0-9]+([.][0-9]*|,0{1,2})?")
_SHORTENED = re.compile(r"[+-]?[0-9]+([.,][0-9]+[eE][+-]?|[eE][+])[0-9]+")
_DECIMAL_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9])")
_LARGEST_FLOAT = 2**53
"""Beyond it, one float stands for several whole numbers."""
NAMELESS = ("", "nan", "none", "null", "n/a", "#n/a", "na", "<na>", "-")
"""How tables say that there is no value, in small letters."""


def read_text(path: str | Path) -> str:
    """Read a file of text in UTF-8, or in what its byte order mark says; line ends become one.

    Raises:
        ValueError: if it is no such text.
        OSError: if it cannot be read.
    """
    data = Path(path).read_bytes()
    for start, what in _PACKED:
        if data.startswith(start):
            raise ValueError(f"{path} is no text but {what}")
    try:
        text = data.decode(_find_encoding(data))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}); save it as such") from error
    if "\0" in text:
        raise ValueError(f"{path} is no text: it holds zero bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _find_encoding(data: bytes) -> str:
    """Return what the byte order mark says; without one UTF-8, or UTF-16 by its zero bytes."""
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if marked is not None or b"\0" not in data:
        return marked or "utf-8"
    # Each letter of Latin text has one zero byte, always on the same side.
    first, second = data[0::2].count(0), data[1::2].count(0)
    if min(first, second) > 0 or 2 * max(first, second) < len(data) // 2:
        return "utf-8"
    return "utf-16-le" if second else "utf-16-be"


def read_json(path: str | Path) -> Any:
    """Read a JSON file, with or without a byte order mark.

    Raises:
        ValueError: if it is none.
        OSError: if it cannot be read.
    """
    try:
        text = read_text(path)
        return json.loads(text)
    # The last is raised by what is nested too deeply.
    except (ValueError, RecursionError) as error:
        said = str(error).removeprefix(f"{path} ")
        raise ValueError(f"{path} is not a JSON file: {said}") from error


def read_table(
    path: str | Path, wanted: Iterable[str], together: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """Read a table: a header and a row a line, cells apart by commas, semicolons or tabs.

    Args:
        path: the file.
        wanted: columns that it must have, in small letters; others are passed on as well.
        together: columns that it has all or none of, in small letters.

    Yields:
        Where each row stands, for messages, and its cells by column, the columns in small letters;
        without the spaces around cells and names. Empty lines are passed over, and a cell that a
        short row lacks is empty.

    Raises:
        ValueError: if it is no table, lacks a column, or has a column twice.
        OSError: if it cannot be read.
    """
    lines, wanted = read_text(path).split("\n"), tuple(wanted)
    first = next((row for row, line in enumerate(lines) if line.strip()), 0)
    # So Excel says, in a line of its own, what it puts between cells.
    first += lines[first].strip().lower().startswith("sep=")
    header = lines[first] if len(lines) > first else ""
    delimiter = max(_DELIMITERS, key=lambda sign: len(set(wanted) & set(_split(header, sign))))
    names = _split(header, delimiter)
    if any(name in names for name in together):
        wanted += tuple(together)
    missing = [name for name in wanted if name not in names]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if missing or twice:
        problem = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(twice)} twice"
        raise ValueError(
            f"{path}, line {first + 1}: the header {header.strip()!r} {problem}; expected the "
            f"columns {', '.join(wanted)}, separated by commas, semicolons or tabs"
        )
    text = io.StringIO("\n".join(lines[first + 1 :]), newline="")
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            place = f"{path}, line {first + 1 + reader.line_num}"
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if any(cells[len(names) :]):
                raise ValueError(
                    f"{place} has {len(cells)} cells, the header {len(names)}; put a cell that "
                    f"holds {delimiter!r} between quotes"
                )
            cells += [""] * (len(names) - len(cells))
            yield place, dict(zip(names, cells, strict=False))
    except csv.Error as error:
        line = first + 1 + reader.line_num
        raise ValueError(f"{path}, line {line}: {error}; is it a CSV file?") from error


def _split(header: str, delimiter: str) -> list[str]:
    cells = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
    return [cell.strip().lower() for cell in cells]


def read_numbers(path: str | Path) -> np.ndarray:
    """Read lines of as many numbers each, apart by commas, semicolons, tabs or spaces.

    Where others than commas are between them, a comma within one is its decimal point.

    Args:
        path: the file. A header, a first line that begins with no number, is passed over, and so
            are empty lines and what separates nothing at the end of a line.

    Returns:
        (N, number of a line) float64; (0, 0) of a file without lines.

    Raises:
        ValueError: if it is no such text; says which line.
        OSError: if it cannot be read.
    """
    rows: list[list[float]] = []
    header = ""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        place, cells = f"{path}, line {number}", _split_numbers(line)
        if not cells:
            continue
        try:
            rows.append([_parse_number(cell) for cell in cells])
        except ValueError:
            if rows or header or _NUMBER.fullmatch(cells[0]):
                raise ValueError(f"{place}: {line.strip()!r} is no line of numbers") from None
            header = line.strip()
            continue
        if len(rows[-1]) != len(rows[0]):
            before = f"the lines before it {len(rows[0])}"
            raise ValueError(f"{place} has {len(rows[-1])} numbers, {before}")
    if header and not rows:
        raise ValueError(f"{path}, line 1: {header!r} is no line of numbers, and none follows")
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(rows[0]) if rows else 0)


def _split_numbers(line: str) -> list[str]:
    text = line.strip().rstrip(",; \t")
    words = text.split()
    # As 1;2,5 or 1 2,5; but 1,2 and 1, 2 and 1,2 3,4 are apart by commas.
    if re.search("[;\t]", text) or (
        len(words) > 1 and any("," not in word for word in words) and _are_plain(words)
    ):
        text = _DECIMAL_COMMA.sub(".", text)
    cells = re.split(r"\s*[,;\t]\s*|\s+", text)
    return [] if cells == [""] else cells


def _are_plain(words: Sequence[str]) -> bool:
    return all(len(_DECIMAL_COMMA.findall(word)) == word.count(",") <= 1 for word in words)


def _parse_number(cell: str) -> float:
    if "_" in cell:  # Python's own way to group digits
        raise ValueError(cell)
    return float(cell)


def parse_id(value: Any) -> int | str | None:
    """Read the number or the name that a table or JSON gives somebody or something.

    Args:
        value: a whole number, also as 1.0 or as text, a name, or what stands for none: None, NaN
            or a text of `NAMELESS`.

    Returns:
        The number or the name, without spaces around it and in Unicode's composed form (NFC); None
        for none.

    Raises:
        ValueError: it is something else, such as 1.5 or a list, or a number that was shortened, so
            that it may stand for several, as 1.23457E+12 does; says what was got.

    Examples:
        >>> parse_id(5.0), parse_id(" 007 "), parse_id("Anna"), parse_id(float("nan"))
        (5, 7, 'Anna', None)
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = unicodedata.normalize("NFC", value.strip())
        if text.lower() in NAMELESS:
            return None
        if _SHORTENED.fullmatch(text):
            raise ValueError(
                f"{value!r}, a number as spreadsheets shorten it, which may stand for several; "
                "expected a whole number or a name: format the column as whole numbers or text"
            )
        if not _NUMBER.fullmatch(text):
            return text
        whole, _, fraction = text.replace(",", ".").partition(".")
        if not fraction.strip("0"):
            return int(whole)
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    elif isinstance(value, float) and math.isnan(value):
        return None
    elif isinstance(value, float) and value.is_integer():
        if abs(value) < _LARGEST_FLOAT:
            return int(value)
        raise ValueError(
            f"{value!r}, a float so large that it may stand for several whole numbers; expected a "
            "whole number or a name: write it without a point"
        )
    raise ValueError(f"{value!r}; expected a whole number or a name")


def number_ids(ids: Iterable[int | str]) -> Mapping[int | str, int]:
    """Give names numbers: a number is its own, names follow the largest number, sorted.

    Examples:
        >>> number_ids([7, "bo", "anna", 7])
        {7: 7, 'anna': 8, 'bo': 9}
    """
    distinct = set(ids)
    numbers = sorted(one for one in distinct if isinstance(one, int))
    names = sorted(one for one in distinct if isinstance(one, str))
    after = max(numbers, default=-1) + 1
    return {n: n for n in numbers} | {name: max(after, 0) + i for i, name in enumerate(names)}
