"""What every reader of COCO JSON has in common, whatever it wants of the file."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from reid_heads.text_files import parse_id, read_json

_LARGE = 1e9
"""Pixels that no box and no picture has."""
_PERSON_ID = "person_id"
_HAS_OTHERS = object()
"""Stands among the ids of the category for all others that a file has."""
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
    if isinstance(content, list):
        raise ValueError(
            f"{path} is a list, as COCO's results are; expected COCO JSON, with 'images' and "
            "'annotations'"
        )
    for key in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{path} has no list {key!r}; expected COCO JSON")
    for key in ("images", "annotations", "categories"):
        if not all(isinstance(entry, dict) for entry in content.get(key) or []):
            raise ValueError(f"{path}: {key!r} has entries that are no JSON objects")
    return dict(content)


def find_person_categories(content: Mapping[str, Any], path: Path) -> Container[Any] | None:
    """Return the ids of the category ``person``, for `is_person`; None without categories.

    Raises:
        ValueError: It names categories, but not this one.
    """
    categories = content.get("categories") or []
    if not categories:
        return None
    found: set[Any] = set()
    for category in categories:
        if str(category.get("name")).strip().lower() == "person":
            with suppress(ValueError):
                found.add(parse_id(category.get("id")))
        else:
            found.add(_HAS_OTHERS)
    if found <= {_HAS_OTHERS, None}:
        names = [entry.get("name") for entry in categories]
        raise ValueError(f"{path} has the categories {names}, but none named 'person' with an id")
    return found


def is_person(entry: Mapping[str, Any], categories: Container[Any] | None) -> bool:
    """Say whether an annotation is of a person.

    Args:
        entry: the annotation. Without ``category_id`` it is one where the file has no other
            category.
        categories: of `find_person_categories`.
    """
    if categories is None:
        return True
    if entry.get("category_id") is None:
        return _HAS_OTHERS not in categories
    return find_id(entry["category_id"], categories) is not None


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
    """Return whether an annotation is of a crowd: ``iscrowd`` of 1, true, or these as text."""
    value = entry.get("iscrowd")
    return str(value).strip().lower() == "true" or find_id(value, {1}) == 1


def box_of(entry: Mapping[str, Any]) -> Any:
    """Return the ``bbox`` of an annotation, or the box around its polygons where it has none.

    Returns:
        As it stands in the file, or [x, y, w, h]; None where there is neither. A box of zeros is
        none where there are polygons. An object of ``x``, ``y``, ``width`` and ``height`` is read.
    """
    polygons, box = entry.get("segmentation"), entry.get("bbox")
    if isinstance(box, Mapping):
        return [box.get(key) for key in ("x", "y", "width", "height")]
    is_there = bool(box) and box != [0, 0, 0, 0]
    if is_there or not isinstance(polygons, list) or not polygons:
        return box
    try:
        points = np.concatenate([np.array(p, np.float64).reshape(-1, 2) for p in polygons])
    except (TypeError, ValueError):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def read_box(entry: Mapping[str, Any], where: str) -> np.ndarray:
    """Read the box of an annotation, numbers that are written as text included.

    Returns:
        (4,) float64 of x, y, w, h as they stand in the file, in pixels.

    Raises:
        ValueError: It has none, or one of another form; names ``where`` it is.
    """
    try:
        box = np.array(box_of(entry), np.float64)
    except (TypeError, ValueError, OverflowError):
        box = np.empty(0)
    if box.shape == (4,) and (np.abs(box) < _LARGE).all():
        return box
    is_mask = not entry.get("bbox") and isinstance(entry.get("segmentation"), Mapping)
    instead = (
        "; it has a mask of run lengths only: write the box around it, which pycocotools' "
        "mask.toBbox gives"
    )
    raise ValueError(
        f"{where} has the bbox {entry.get('bbox')!r}; expected [x, y, w, h] in pixels"
        f"{instead if is_mask else ''}"
    )


def own_person_id(entry: Mapping[str, Any]) -> Any:
    """Return the ``person_id`` of an annotation; CVAT writes it into ``attributes``.

    Returns:
        As it stands in the file; None where there is none.
    """
    if entry.get(_PERSON_ID) is not None:
        return entry[_PERSON_ID]
    written = {re.sub(r"[\s_-]", "", str(k)).lower(): v for k, v in _attributes(entry).items()}
    return written.get("personid")


def _attributes(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the ``attributes`` of an annotation, also those of a list of names and values."""
    attributes = entry.get("attributes")
    if isinstance(attributes, list):
        pairs = [one for one in attributes if isinstance(one, Mapping)]
        return {str(one.get("name")): one.get("value") for one in pairs}
    return attributes if isinstance(attributes, Mapping) else {}


def hint_at_identities(annotations: Sequence[Mapping[str, Any]]) -> str:
    """Say which key of the annotations looks like the number of a person.

    Returns:
        A sentence for a message; empty where none does.
    """
    values: Counter[str] = Counter()
    for annotation in annotations:
        values.update(_like_ids(annotation, ""))
        values.update(_like_ids(_attributes(annotation), "attributes."))
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
    width, height = _as_number(image.get("width")), _as_number(image.get("height"))
    if width in (None, 0) and height in (None, 0):
        return None
    if not (is_pixels(width) and is_pixels(height) and min(width, height) >= 1):
        raise ValueError(f"{where} has the width {width!r} and height {height!r}; expected pixels")
    return round(float(width)), round(float(height))


def _as_number(value: Any) -> Any:
    """Return a number that is written as text, such as "320"; all else as it is."""
    is_number = isinstance(value, str) and re.fullmatch(r" *[0-9]+([.]0*)? *", value)
    return float(value) if is_number else value


def refuse_shares(path: Path, boxes: np.ndarray, what: str = "") -> None:
    """Refuse boxes of 0 to 1, which are shares of the picture's sides.

    Args:
        path: of the file.
        boxes: (N, 4), left, top, width and height, all of a file or of an image.
        what: which of the file's boxes, for the message.

    Raises:
        ValueError: If all of them lie in 0 to 1.
    """
    is_somewhere = len(boxes) > 0 and bool((boxes[:, 2:] > 0).any())
    if is_somewhere and (boxes >= 0).all() and (boxes <= 1).all():
        raise ValueError(
            f"{path} has boxes of 0 to 1{what}, such as {boxes[0].tolist()}; expected pixels: "
            "multiply them by the picture's width and height"
        )


def is_pixels(value: Any) -> TypeGuard[float]:
    """Say whether a value is a number that a side or a place in a picture may have."""
    # A whole number may be larger than any float, and no picture is that large.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGE
