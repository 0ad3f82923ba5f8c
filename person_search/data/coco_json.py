"""What every reader of COCO JSON has in common, whatever it wants of the file."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from reid_heads.text_files import parse_id, read_json

_LARGE = 1e9
"""Pixels that no box and no picture has."""
_PERSON_ID = "person_id"
_LIKE_AN_ID = re.compile(r"id|track|person|identity|number|name|object", re.IGNORECASE)
# Of the annotation or of something else than the person.
_NO_PERSON = ("id", "image_id", "category_id", "segment_id", "group_id")


def read_coco(path: Path) -> dict[str, Any]:
    """Read a COCO JSON file, in whatever encoding its byte order mark says.

    Raises:
        FileNotFoundError: It is missing.
        ValueError: It is no such file; says what was expected.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    content = read_json(path)
    for key in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{path} has no list {key!r}; expected COCO JSON")
    for key in ("images", "annotations", "categories"):
        if not all(isinstance(entry, dict) for entry in content.get(key) or []):
            raise ValueError(f"{path}: {key!r} has entries that are no JSON objects")
    return dict(content)


def find_person_categories(content: Mapping[str, Any], path: Path) -> Container[Any] | None:
    """Return the ids of the category ``person``; None when the file names no categories.

    Raises:
        ValueError: It names categories, but not this one.
    """
    categories = content.get("categories") or []
    if not categories:
        return None
    # Ids of a broken file need not be hashable.
    found = [c.get("id") for c in categories if str(c.get("name")).strip().lower() == "person"]
    if not found:
        names = [entry.get("name") for entry in categories]
        raise ValueError(f"{path} has the categories {names}, but none named 'person'")
    return found


def find_id(value: Any, known: Container[int | str]) -> int | str | None:
    """Return the known id that a value means: 1.0 and "1" mean 1 where that is known.

    Returns:
        None if it means none of them.
    """
    try:
        plain = parse_id(value)
    except ValueError:
        return None
    candidates = (value, plain, str(plain))
    return next((one for one in candidates if isinstance(one, int | str) and one in known), None)


def is_crowd(entry: Mapping[str, Any]) -> bool:
    """Return whether an annotation is of a crowd: ``iscrowd`` of 1, "1" or true."""
    value = entry.get("iscrowd")
    return value is True or find_id(value, {1}) == 1


def box_of(entry: Mapping[str, Any]) -> Any:
    """Return the ``bbox`` of an annotation, or the box around its polygons where it has none.

    Returns:
        As it stands in the file, or [x, y, w, h]; None where there is neither.
    """
    polygons = entry.get("segmentation")
    if entry.get("bbox") or not isinstance(polygons, list) or not polygons:
        return entry.get("bbox")
    try:
        points = np.concatenate([np.array(p, np.float64).reshape(-1, 2) for p in polygons])
    except (TypeError, ValueError):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def own_person_id(entry: Mapping[str, Any]) -> Any:
    """Return the ``person_id`` of an annotation; CVAT writes it into ``attributes``.

    Returns:
        As it stands in the file; None where there is none.
    """
    if entry.get(_PERSON_ID) is not None:
        return entry[_PERSON_ID]
    attributes = entry.get("attributes")
    if not isinstance(attributes, Mapping):
        return None
    written = {re.sub(r"[\s_-]", "", str(k)).lower(): v for k, v in attributes.items()}
    return written.get("personid")


def hint_at_identities(annotations: Sequence[Mapping[str, Any]]) -> str:
    """Say which key of the annotations looks like the number of a person.

    Returns:
        A sentence for a message; empty where none does.
    """
    values: Counter[str] = Counter()
    for annotation in annotations:
        attributes = annotation.get("attributes")
        inner = attributes if isinstance(attributes, Mapping) else {}
        values.update(_like_ids(annotation, ""))
        values.update(_like_ids(inner, "attributes."))
    if not values:
        return ""
    keys = " or ".join(f"{key!r}" for key, _ in values.most_common(3))
    return (
        f"; the annotations have {keys}, which look like it: where one of them numbers people "
        f"across all images, write it as {_PERSON_ID!r}"
    )


def _like_ids(entry: Mapping[str, Any], prefix: str) -> Iterable[str]:
    for key, value in entry.items():
        is_of_file = not prefix and key in _NO_PERSON
        is_plain = isinstance(value, int | float | str) and not isinstance(value, bool)
        if not is_of_file and is_plain and _LIKE_AN_ID.search(str(key)):
            yield f"{prefix}{key}"


def stated_size(image: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    """Return the width and height in pixels that an image's entry gives; None if it gives none.

    Raises:
        ValueError: They are no numbers of pixels, or only one of them is there.
    """
    width, height = image.get("width"), image.get("height")
    if width in (None, 0) and height in (None, 0):
        return None
    if not (is_pixels(width) and is_pixels(height) and min(width, height) >= 1):
        raise ValueError(f"{where} has the width {width!r} and height {height!r}; expected pixels")
    return round(float(width)), round(float(height))


def refuse_shares(path: Path, boxes: np.ndarray, what: str = "") -> None:
    """Refuse boxes of 0 to 1, which are shares of the picture's sides.

    Args:
        path: of the file.
        boxes: (N, 4), left, top, width and height, all of a file or of an image.
        what: which of the file's boxes, for the message.

    Raises:
        ValueError: If all of them lie in 0 to 1.
    """
    if len(boxes) and (boxes >= 0).all() and (boxes <= 1).all():
        raise ValueError(
            f"{path} has boxes of 0 to 1{what}, such as {boxes[0].tolist()}; expected pixels: "
            "multiply them by the picture's width and height"
        )


def is_pixels(value: Any) -> TypeGuard[float]:
    """Say whether a value is a number that a side or a place in a picture may have."""
    # A whole number may be larger than any float, and no picture is that large.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGE
