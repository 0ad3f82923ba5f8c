"""Text, JSON and tables as editors, spreadsheets and other programs write them.

A byte order mark, either kind of line end, semicolons or tabs between the cells, capitals and
spaces in a header, a number written as 1.0: what can mean one thing only is read as that.
"""

import codecs
import csv
import io
import json
import math
import re
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
_DELIMITERS = ",;\t"
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
NAMELESS = ("", "nan", "none", "null", "n/a", "na", "-")
"""How tables say that there is no value, in small letters."""


def read_text(path: str | Path) -> str:
    """Read a file of text in UTF-8, or in what its byte order mark says; line ends become one.

    Raises:
        ValueError: if it is no such text.
        OSError: if it cannot be read.
    """
    data = Path(path).read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}); save it as such") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file, with or without a byte order mark.

    Raises:
        ValueError: if it is none.
        OSError: if it cannot be read.
    """
    try:
        return json.loads(read_text(path))
    # The last is raised by what is nested too deeply.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error


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
    # So Excel says, in a line of its own, what it puts between cells.
    first = 1 if lines[0].strip().lower().startswith("sep=") else 0
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
            rows.append([float(cell) for cell in cells])
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
    cells = re.split(r"\s*[,;\t]\s*|\s+", line.strip().rstrip(",; \t"))
    return [] if cells == [""] else cells


def parse_id(value: Any) -> int | str | None:
    """Read the number or the name that a table or JSON gives somebody or something.

    Args:
        value: a whole number, also as 1.0 or as text, a name, or what stands for none: None, NaN
            or a text of `NAMELESS`.

    Returns:
        The number or the name, without spaces around it; None for none.

    Raises:
        ValueError: it is something else, such as 1.5 or a list; says what was got.

    Examples:
        >>> parse_id(5.0), parse_id(" 007 "), parse_id("Anna"), parse_id(float("nan"))
        (5, 7, 'Anna', None)
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in NAMELESS:
            return None
        if not _NUMBER.fullmatch(text):
            return text
        whole, _, fraction = text.partition(".")
        if not fraction.strip("0"):
            return int(whole)
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    elif isinstance(value, float) and math.isnan(value):
        return None
    elif isinstance(value, float) and value.is_integer():
        return int(value)
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
