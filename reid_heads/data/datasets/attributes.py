"""Attributes of the people of Market-1501 and DukeMTMC-reID (Lin et al., Pattern Recognition 2019).

The files, ``market_attribute.mat`` and ``duke_attribute.mat``, hold two structs, ``train`` and
``test``, of one value a person in every field; ``image_index`` has the persons' numbers. The order
of the fields differs between the two parts, so they are read by name. Values are 1, 2, …; flags are
1 (no) and 2 (yes).

Colours are flags there and one group here, with a class "none" for people without a flagged colour.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid_heads.data.datasets.mat_files import (
    read_mat,
    read_strings,
    read_struct,
    read_whole_numbers,
)
from reid_heads.labels import UNKNOWN_ATTRIBUTE

logger = logging.getLogger(__name__)

AttributeGroups = tuple[tuple[str, tuple[str, ...]], ...]
"""Name and class names of each group."""

NONE = "none"


@dataclass(frozen=True)
class _Group:
    """A group as the file has it: one field of values 1..K, or one flag a class."""

    name: str
    classes: tuple[str, ...]
    flags: str = ""
    """What the flags' names have before the class's; empty: one field with the group's name."""
    has_gaps: bool = False
    """Whether people may have the value 0, or several flags: their class is unknown."""

    @property
    def class_names(self) -> tuple[str, ...]:
        return (*self.classes, NONE) if self.flags else self.classes


_NO_YES = ("no", "yes")

# Meaning of the values: the README files of the attribute sets.
_MARKET_GROUPS = (
    _Group("gender", ("male", "female")),
    _Group("hair", ("short", "long")),
    _Group("up", ("long", "short")),
    _Group("down", ("long", "short")),
    _Group("clothes", ("dress", "pants")),
    _Group("hat", _NO_YES),
    _Group("backpack", _NO_YES),
    _Group("bag", _NO_YES),
    _Group("handbag", _NO_YES),
    _Group("age", ("young", "teenager", "adult", "old")),
    _Group(
        "up_colour", ("black", "white", "red", "purple", "yellow", "gray", "blue", "green"), "up"
    ),
    _Group(
        "down_colour",
        ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown"),
        "down",
    ),
)

_DUKE_GROUPS = (
    _Group("gender", ("male", "female")),
    # Two training people have 0 there.
    _Group("top", ("short", "long"), has_gaps=True),
    _Group("boots", _NO_YES),
    _Group("hat", _NO_YES),
    _Group("backpack", _NO_YES),
    _Group("bag", _NO_YES),
    _Group("handbag", _NO_YES),
    _Group("shoes", ("dark", "light")),
    _Group(
        "up_colour",
        ("black", "white", "red", "purple", "gray", "blue", "green", "brown"),
        "up",
        has_gaps=True,
    ),
    # 23 test people have two or three.
    _Group(
        "down_colour",
        ("black", "white", "red", "gray", "blue", "green", "brown"),
        "down",
        has_gaps=True,
    ),
)


def load_market_attributes(
    path: str | Path, split: str
) -> tuple[AttributeGroups, dict[int, list[int]]]:
    """Load ``market_attribute.mat``: 27 attributes of 751 training and 750 test people.

    They make the 12 groups of the literature: gender, hair, up (sleeves), down (length of the lower
    clothing), clothes (type of the lower clothing), hat, backpack, bag, handbag, age, up_colour (8
    and none), down_colour (9 and none).

    Args:
        path: the file.
        split: ``train`` or ``test``.

    Returns:
        The groups, and person (as numbered in the image names) to one class number a group.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a field is missing or of another length, a value is out of its range, a person
            has several colours of one kind, or is listed twice.
    """
    return _load(Path(path), "market_attribute", split, _MARKET_GROUPS)


def load_duke_attributes(
    path: str | Path, split: str
) -> tuple[AttributeGroups, dict[int, list[int]]]:
    """Load ``duke_attribute.mat``: 23 attributes of 702 training and 1,110 test people.

    They make 10 groups: gender, top (length of the upper clothing), boots, hat, backpack, bag,
    handbag, shoes, up_colour (8 and none), down_colour (7 and none). The official file leaves
    some open, which get the class -1: two training people have no top (there the value is 0), and
    23 test people have two or three lower colours, against what its README says.

    Args:
        path: the file.
        split: ``train`` or ``test``.

    Returns:
        The groups, and person (as numbered in the image names) to one class number a group, or -1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a field is missing or of another length, a value is out of its range, or a
            person is listed twice.
    """
    return _load(Path(path), "duke_attribute", split, _DUKE_GROUPS)


def find_attribute_file(root: Path, name: str) -> Path | None:
    """Return an attribute file in a data set's root or its folder ``attribute/``; None if none."""
    for path in (root / name, root / "attribute" / name):
        if path.is_file():
            return path
    return None


def _load(
    path: Path, key: str, split: str, groups: tuple[_Group, ...]
) -> tuple[AttributeGroups, dict[int, list[int]]]:
    if split not in ("train", "test"):
        raise ValueError(f"attributes are of the split train or test, not {split!r}")
    parts = read_struct(read_mat(path, key), path)
    if split not in parts:
        raise ValueError(f"{path}: {key} has the fields {sorted(parts)}, but no {split!r}")
    fields = read_struct(parts[split], path)
    source = f"{path}, {split}"
    pids = _read_pids(fields, path, source)
    columns = [_read_group(fields, group, pids, path, source) for group in groups]
    rows = np.stack(columns, axis=1).tolist()
    names = tuple((group.name, group.class_names) for group in groups)
    return names, dict(zip(pids, rows, strict=True))


def _read_pids(fields: Mapping[str, Any], path: Path, source: str) -> list[int]:
    if "image_index" not in fields:
        raise ValueError(f"{source}: the field 'image_index' with the persons' numbers is missing")
    names = read_strings(fields["image_index"], path)
    if not names:
        raise ValueError(f"{source}: 'image_index' lists nobody")
    seen: set[int] = set()
    for name in names:
        if not (name.isascii() and name.isdigit()):
            raise ValueError(f"{source}: 'image_index' has {name!r}, expected a number as '0002'")
        if int(name) in seen:
            raise ValueError(f"{source}: 'image_index' lists the person {name} twice")
        seen.add(int(name))
    return [int(name) for name in names]


def _read_group(
    fields: Mapping[str, Any], group: _Group, pids: list[int], path: Path, source: str
) -> np.ndarray:
    """Read the (N,) class numbers of a group."""
    if not group.flags:
        lowest, highest = 0 if group.has_gaps else 1, len(group.classes)
        # 0 becomes UNKNOWN_ATTRIBUTE.
        return _read_field(fields, group.name, lowest, highest, pids, path, source) - 1
    names = [group.flags + colour for colour in group.classes]
    flags = np.stack([_read_field(fields, name, 1, 2, pids, path, source) for name in names])
    flags = flags == 2  # (classes, N)
    counts = flags.sum(axis=0)
    several = np.flatnonzero(counts > 1)
    if len(several):
        row = several[0]
        colours = ", ".join(names[index] for index in np.flatnonzero(flags[:, row]))
        message = f"{source}: person {pids[row]:04d} has several of one kind of colour: {colours}"
        if not group.has_gaps:
            raise ValueError(f"{message}; expected one at most")
        logger.info("%s; the class of %d such people is unknown", message, len(several))
    return np.select(
        [counts == 1, counts == 0], [flags.argmax(axis=0), len(group.classes)], UNKNOWN_ATTRIBUTE
    )


def _read_field(
    fields: Mapping[str, Any],
    name: str,
    lowest: int,
    highest: int,
    pids: list[int],
    path: Path,
    source: str,
) -> np.ndarray:
    """Read the (N,) values of a field, after checking them."""
    if name not in fields:
        raise ValueError(f"{source}: the field {name!r} is missing; it has {sorted(fields)}")
    values = read_whole_numbers(fields[name], path, name)
    if len(values) != len(pids):
        raise ValueError(
            f"{source}: {name!r} has {len(values)} values, but 'image_index' {len(pids)} persons"
        )
    wrong = np.flatnonzero((values < lowest) | (values > highest))
    if len(wrong):
        raise ValueError(
            f"{source}: {name!r} of person {pids[wrong[0]]:04d} is {values[wrong[0]]}, expected "
            f"{lowest} to {highest}"
        )
    return values
