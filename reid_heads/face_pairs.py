"""Lists of pairs of face images to be verified, in LFW's format or as two paths and 0 or 1.

The first line says how many folds there are and how many pairs of each kind a fold has, as
``10 300``; a single number is that of one fold. Then come, fold by fold, the pairs of one person,
``name i j``, and those of two, ``name1 i name2 j``: image ``i`` of ``name`` is
``name/name_000i`` and a suffix; in place of a number the name of the file may stand, as ``i.jpg``.
Fields are apart by tabs, or by spaces where a line has no tab.

A list of the other form has no first line of numbers, but two paths and 1 for one person or 0 for
two a line (also true and false, or -1 for two), apart by commas, tabs or spaces, perhaps below a
header; paths may stand in quotes. Of a path its last folder and the file's name count. Its pairs
are put into ten folds of consecutive pairs, as is usual for such lists (scikit-learn's ``KFold``).

Letters: N pairs.
"""

import csv
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from reid_heads.text_files import read_text

_LABELS = {
    **dict.fromkeys(("1", "1.0", "true"), True),
    **dict.fromkeys(("0", "0.0", "-1", "false"), False),
}
"""In small letters: whether a pair shows one person."""

NUM_FOLDS = 10
"""Into which the pairs of a list without folds are put."""


@dataclass(frozen=True)
class FacePairs:
    """Hold the pairs of a list."""

    first: tuple[str, ...]
    """One image of each pair, ``folder/name`` without a suffix."""

    second: tuple[str, ...]

    is_genuine: np.ndarray
    """(N,) bool: whether both show one person."""

    folds: np.ndarray
    """(N,) int64 from 0."""

    source: str
    """The file, for messages."""

    def names(self) -> list[str]:
        """Return each image of the list once, sorted."""
        return sorted({*self.first, *self.second})


def image_stem(name: str) -> str:
    """Return the name that pairs know an image by: the last folder and the file without suffix."""
    # Letters with marks are written in two ways.
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    return f"{path.parent.name}/{path.stem}"


def read_pairs(path: str | os.PathLike[str]) -> FacePairs:
    """Read a pair list.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is of another form, or a fold has other numbers of pairs than the
            first line says; names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such pair list; expected a file as LFW's pairs.txt")
    lines = read_text(path).split("\n")
    listed = [(n, line) for n, line in enumerate(lines, start=1) if line.strip()]
    # The first line may be a header.
    if any(_read_paths(line) is not None for _, line in listed[:2]):
        return _read_path_pairs(listed, path)
    folds, size = _read_header(lines[0] if lines else "", path)
    rows = [(number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    if len(rows) != 2 * folds * size:
        raise ValueError(
            f"{path} has {len(rows)} pairs, but its first line says {folds} folds of {size} of "
            f"one person and {size} of two: {2 * folds * size}; is the file complete?"
        )
    first, second, genuine = [], [], []
    for row, (number, line) in enumerate(rows):
        one, other, is_genuine = _read_pair(line, f"{path}, line {number}")
        if is_genuine != (row % (2 * size) < size):
            kind = "one person" if row % (2 * size) < size else "two persons"
            raise ValueError(
                f"{path}, line {number}: expected a pair of {kind}, got {line.strip()!r}; each "
                f"fold has {size} of one person, then {size} of two"
            )
        first.append(one)
        second.append(other)
        genuine.append(is_genuine)
    return FacePairs(
        first=tuple(first),
        second=tuple(second),
        is_genuine=np.array(genuine),
        folds=np.arange(len(rows)) // (2 * size),
        source=str(path),
    )


def _read_path_pairs(lines: list[tuple[int, str]], path: Path) -> FacePairs:
    """Read numbered lines of two paths and 0 or 1, with or without a header."""
    rows: list[tuple[str, str, bool]] = []
    known: dict[str, str] = {}
    labels: dict[frozenset[str], bool] = {}
    for number, line in lines:
        row, place = _read_paths(line), f"{path}, line {number}"
        if row is None and number == lines[0][0]:
            continue
        if row is None:
            raise ValueError(
                f"{place}: expected two paths of images and 0 or 1, as 'ann/1.jpg bo/2.jpg 0', got "
                f"{line.strip()!r}"
            )
        _check_pair(row, known, labels, place)
        rows.append(row)
    return FacePairs(
        first=tuple(image_stem(one) for one, _, _ in rows),
        second=tuple(image_stem(other) for _, other, _ in rows),
        is_genuine=np.array([is_genuine for _, _, is_genuine in rows]),
        folds=np.arange(len(rows)) * min(NUM_FOLDS, len(rows)) // len(rows),
        source=str(path),
    )


def _check_pair(
    row: tuple[str, str, bool],
    known: dict[str, str],
    labels: dict[frozenset[str], bool],
    place: str,
) -> None:
    """Refuse a pair of one image, of two that have the same name, and one that is told both ways.

    Args:
        row: two paths, and whether they show one person.
        known: the path of each image so far, which is added to.
        labels: likewise of each pair what was said of it.
        place: where it stands.
    """
    one, other, is_genuine = row
    for name in (one, other):
        plain = os.path.splitext(os.path.normpath(name))[0]
        before = known.setdefault(image_stem(name), plain)
        # One of them may be written from a folder further up.
        if not f"/{before}".endswith(f"/{plain}") and not f"/{plain}".endswith(f"/{before}"):
            raise ValueError(
                f"{place}: {before} and {plain} are one image by their last folder and name, which "
                "are all that counts; give the folders of two people two names"
            )
    pair = frozenset((image_stem(one), image_stem(other)))
    if len(pair) == 1:
        raise ValueError(f"{place}: the pair is of one image, {one}; expected two")
    if labels.setdefault(pair, is_genuine) != is_genuine:
        raise ValueError(f"{place}: the pair of {one} and {other} is said to be 0 and 1")


def _read_paths(line: str) -> tuple[str, str, bool] | None:
    """Read two paths and 0 or 1, which may stand at either end; None of a line of another form."""
    separator = next((sign for sign in ("\t", ",", ";") if sign in line), None)
    if '"' in line:
        cells = next(csv.reader([line.strip()], delimiter=separator or " ", skipinitialspace=True))
    else:
        cells = line.split(separator)
    fields = [field.strip().replace("\\", "/") for field in cells]
    paths = [field for field in fields if _is_image(field)]
    labels = [field for field in fields if field.lower() in _LABELS]
    if len(fields) != 3 or len(paths) != 2 or len(labels) != 1 or fields[1] in labels:
        return None
    return paths[0], paths[1], _LABELS[labels[0].lower()]


def _is_image(name: str) -> bool:
    # By the suffix alone: which ones are images, whoever reads them knows.
    return PurePosixPath(name).suffix[1:2].isalpha()


def _read_header(line: str, path: Path) -> tuple[int, int]:
    """Return the folds and the pairs of each kind in each."""
    fields = line.split()
    try:
        numbers = [int(field) for field in fields]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or min(numbers) < 1:
        raise ValueError(
            f"{path}, line 1: expected the number of folds and of pairs of each kind, as "
            f"'10 300', or two paths of images and 0 or 1, as 'ann/1.jpg bo/2.jpg 0', got "
            f"{line.strip()!r}"
        )
    return (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _read_pair(line: str, place: str) -> tuple[str, str, bool]:
    fields = [field.strip() for field in line.split("\t" if "\t" in line else None)]
    try:
        if len(fields) == 3:
            person, one, other = fields
            names = _image(person, one), _image(person, other)
        elif len(fields) == 4:
            names = _image(*fields[:2]), _image(*fields[2:])
        else:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{place}: expected 'name i j' or 'name1 i name2 j' with numbers or file names, got "
            f"{line.strip()!r}"
        ) from None
    if len(fields) == 4 and fields[0] == fields[2]:
        raise ValueError(f"{place}: a pair of two persons names {fields[0]} twice")
    return (*names, len(fields) == 3)


def _image(person: str, number: str) -> str:
    if person and _is_image(number):
        return image_stem(f"{person}/{PurePosixPath(number).name}")
    if not person or int(number) < 0:
        raise ValueError
    return unicodedata.normalize("NFC", f"{person}/{person}_{int(number):04d}")
