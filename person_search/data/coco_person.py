"""Your own data: COCO JSON whose annotations carry a ``person_id``.

Beyond standard COCO (``images``, ``annotations`` with ``bbox`` x, y, w, h, ``categories`` with
``person``):

* annotation ``person_id``: an integer; absent, null or negative means a person without identity;
* image ``cam_id``: an integer, optional; needed for ``multi_view`` only;
* top-level ``queries``, optional: a list of ``{"image_id", "bbox", "person_id"}``, or of annotation
  ids. Without it each identity that appears in two frames or more is searched by its first
  annotation.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

import numpy as np

from person_search.data.frames import (
    Frame,
    Query,
    build_all_frames_protocol,
    build_dataset_dicts,
    check_split,
)
from person_search.data.protocol import SearchProtocol
from reid_heads.labels import UNLABELED_PID
from reid_heads.listed_files import check_listed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Person:
    """One annotation."""

    image_id: int | str
    box: np.ndarray
    """(4,) of (x1, y1, x2, y2) in original pixels."""
    pid: int
    """As in the file, or ``UNLABELED_PID``."""


def load_coco_person(
    json_file: str | Path, image_root: str | Path, split: str
) -> list[dict[str, Any]]:
    """Load a COCO JSON file with person ids as detectron2 dataset dicts.

    Identities become 0..P-1 in the order of their ids. Crowd regions and other categories than
    ``person`` are left out.

    Args:
        json_file: the annotations.
        image_root: the folder that the images' ``file_name`` is relative to.
        split: ``train``, or ``test`` for dicts with ``queries``.

    Returns:
        One dict an image, in the file's order. ``image_id`` is the file name without folder; where
        two images would then have the same, it is the file name as the JSON has it.

    Raises:
        FileNotFoundError: the JSON file or images are missing.
        ValueError: the JSON file is not as it should be.
    """
    check_split(split)
    frames, queries = _read(Path(json_file), Path(image_root))
    return build_dataset_dicts(frames, queries if split == "test" else None, json_file)


def load_coco_person_protocol(
    json_file: str | Path, image_root: str | Path, multi_view: bool = False
) -> SearchProtocol:
    """Load the search protocol of a COCO JSON file; images are not needed.

    Every query is searched in all other frames.

    Args:
        json_file: the annotations.
        image_root: as for `load_coco_person`.
        multi_view: leave out all frames of the query's camera.

    Raises:
        FileNotFoundError: the JSON file is missing.
        ValueError: the JSON file is not as it should be, or has no queries.
    """
    json_file = Path(json_file)
    frames, queries = _read(json_file, Path(image_root))
    if not queries:
        raise ValueError(
            f"{json_file} has nobody to search for: it needs 'queries', or a person_id that "
            f"appears in two images"
        )
    name = f"{json_file.stem}, {'other cameras only' if multi_view else 'all frames'}"
    protocol = build_all_frames_protocol(name, frames, queries, json_file, multi_view)
    num_vain = len(queries) - len(np.unique(protocol.true_queries))
    if num_vain:
        logger.warning(
            "%s: %d of %d queries appear in no searched frame; their AP is 0",
            name,
            num_vain,
            len(queries),
        )
    return protocol


def _read(path: Path, image_root: Path) -> tuple[list[Frame], list[Query]]:
    """Read the file into frames and queries with identities 0..P-1."""
    content = _read_json(path)
    images = _read_images(content, path)
    for row, image in enumerate(images.values()):
        check_listed(image["file_name"], image_root, f"{path}: images[{row}]")
    people = _read_people(content, images, path)
    known = sorted({person.pid for person in people.values()} - {UNLABELED_PID})
    identities = {UNLABELED_PID: UNLABELED_PID, **{pid: row for row, pid in enumerate(known)}}
    by_image: dict[int | str, list[_Person]] = {image_id: [] for image_id in images}
    for person in people.values():
        by_image[person.image_id].append(person)
    names = _name_frames([image["file_name"] for image in images.values()])
    frames = [
        Frame(
            name,
            image_root / image["file_name"],
            image.get("cam_id"),
            np.array([person.box for person in by_image[image_id]]).reshape(-1, 4),
            np.array([identities[person.pid] for person in by_image[image_id]], dtype=np.int64),
        )
        for name, (image_id, image) in zip(names, images.items(), strict=True)
    ]
    name_of = dict(zip(images, names, strict=True))
    if content.get("queries") is None:
        wanted = _choose_queries(list(people.values()))
    else:
        wanted = _read_queries(content["queries"], images, people, path)
    for row, person in enumerate(wanted):
        if person.pid not in identities or person.pid == UNLABELED_PID:
            raise ValueError(
                f"{path}: queries[{row}] has no person_id, or one that no annotation has"
            )
    queries = [
        Query(name_of[person.image_id], person.box, identities[person.pid]) for person in wanted
    ]
    return frames, queries


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # also bytes that are no text
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    for key in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{path} has no list {key!r}; expected COCO JSON")
        if not all(isinstance(entry, dict) for entry in content[key]):
            raise ValueError(f"{path}: {key!r} has entries that are no JSON objects")
    return dict(content)


def _read_images(content: dict[str, Any], path: Path) -> dict[int | str, dict[str, Any]]:
    """Map the images' ids to their entries, in the file's order."""
    images: dict[int | str, dict[str, Any]] = {}
    for row, image in enumerate(content["images"]):
        where = f"{path}: images[{row}]"
        if not isinstance(image.get("file_name"), str) or not _is_id(image.get("id")):
            raise ValueError(f"{where} needs 'id' and 'file_name', got {image}")
        if image["id"] in images:
            raise ValueError(f"{where} repeats the id {image['id']!r}")
        if image.get("cam_id") is not None and not _is_integer(image["cam_id"]):
            raise ValueError(f"{where} has the cam_id {image['cam_id']!r}; expected an integer")
        images[image["id"]] = image
    return images


def _read_people(
    content: dict[str, Any], images: dict[int | str, dict[str, Any]], path: Path
) -> dict[Any, _Person]:
    """Map the annotations' ids to people, in the file's order."""
    person_categories = _find_person_categories(content, path)
    people: dict[Any, _Person] = {}
    num_left_out = 0
    for row, annotation in enumerate(content["annotations"]):
        where = f"{path}: annotations[{row}]"
        is_person = person_categories is None or annotation.get("category_id") in person_categories
        if not is_person or annotation.get("iscrowd"):
            num_left_out += 1
            continue
        person = _read_person(annotation, images, where)
        if person.box[2] <= person.box[0] or person.box[3] <= person.box[1]:
            num_left_out += 1
            continue
        key = annotation.get("id", f"annotations[{row}]")
        if key in people:
            raise ValueError(f"{where} repeats the id {key!r}")
        people[key] = person
    if num_left_out:
        logger.warning(
            "%s: %d annotations left out: another category, a crowd, or a box without width or "
            "height",
            path,
            num_left_out,
        )
    return people


def _find_person_categories(content: dict[str, Any], path: Path) -> set[Any] | None:
    """Return the ids of the category ``person``; None when the file names no categories."""
    categories = content.get("categories")
    if not categories:
        return None
    found = {entry.get("id") for entry in categories if entry.get("name") == "person"}
    if not found:
        names = [entry.get("name") for entry in categories]
        raise ValueError(f"{path} has the categories {names}, but none named 'person'")
    return found


def _read_person(
    entry: dict[str, Any], images: dict[int | str, dict[str, Any]], where: str
) -> _Person:
    """Read an annotation, or a query of the same form."""
    image_id = entry.get("image_id")
    if not _is_id(image_id) or image_id not in images:
        raise ValueError(f"{where} has the image_id {image_id!r}, which no image has")
    try:
        box = np.array(entry.get("bbox"), dtype=np.float64)
    except (TypeError, ValueError):
        box = np.empty(0)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError(f"{where} has the bbox {entry.get('bbox')!r}; expected [x, y, w, h]")
    pid = entry.get("person_id")
    if pid is not None and not _is_integer(pid):
        raise ValueError(f"{where} has the person_id {pid!r}; expected an integer")
    box[2:] += box[:2]
    return _Person(image_id, box, UNLABELED_PID if pid is None or pid < 0 else int(pid))


def _read_queries(
    entries: Any, images: dict[int | str, dict[str, Any]], people: dict[Any, _Person], path: Path
) -> list[_Person]:
    if not isinstance(entries, list):
        raise ValueError(f"{path}: 'queries' must be a list, got {type(entries).__name__}")
    queries = []
    for row, entry in enumerate(entries):
        where = f"{path}: queries[{row}]"
        if isinstance(entry, dict):
            queries.append(_read_person(entry, images, where))
        elif _is_id(entry) and entry in people:
            queries.append(people[entry])
        else:
            raise ValueError(f"{where} is {entry!r}, which is not the id of a person's annotation")
    return queries


def _choose_queries(people: list[_Person]) -> list[_Person]:
    """Take the first annotation of each identity seen in two frames or more, by identity."""
    first: dict[int, _Person] = {}
    images: dict[int, set[int | str]] = {}
    for person in people:
        first.setdefault(person.pid, person)
        images.setdefault(person.pid, set()).add(person.image_id)
    return [first[pid] for pid in sorted(first) if pid != UNLABELED_PID and len(images[pid]) > 1]


def _name_frames(file_names: list[str]) -> list[str]:
    """Name frames without folder where that is distinct, as `predictions.npz` does."""
    short = [PurePosixPath(name).name for name in file_names]
    return short if len(set(short)) == len(short) else list(file_names)


def _is_id(value: Any) -> TypeGuard[int | str]:
    return isinstance(value, int | str)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
