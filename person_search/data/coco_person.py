"""Your own data: COCO JSON whose annotations carry a ``person_id``.

Beyond standard COCO (``images``, ``annotations`` with ``bbox`` x, y, w, h, ``categories`` with
``person``):

* annotation ``person_id``: a number or a name; absent, null, NaN or negative means a person without
  identity. It may stand in ``attributes``, as CVAT writes it;
* image ``cam_id``: a number or a name, optional; needed for ``multi_view`` only;
* top-level ``queries``, optional: a list of ``{"image_id", "bbox", "person_id"}``, or of annotation
  ids. Without it each identity that appears in two frames or more is searched by its first
  annotation.

Boxes are cut at the border of their image, which ``width`` and ``height`` of the image give; where
the file says nothing, the image itself does.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from person_search.data.box_checks import refuse_corners, warn_of_twins
from person_search.data.coco_json import (
    find_id,
    find_person_categories,
    hint_at_identities,
    is_crowd,
    is_person,
    own_person_id,
    read_box,
    read_coco,
    refuse_shares,
    stated_size,
)
from person_search.data.frames import (
    Frame,
    Query,
    build_all_frames_protocol,
    build_dataset_dicts,
    check_split,
    clip_boxes,
    have_area,
)
from person_search.data.protocol import SearchProtocol
from reid_heads.labels import UNLABELED_PID
from reid_heads.listed_files import check_listed, local_name
from reid_heads.pictures import ImageError, read_image_size
from reid_heads.text_files import number_ids, parse_id

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Image:
    """One image."""

    file_name: str
    """Below the images' folder, as this system writes it."""
    stated_size: tuple[int, int] | None
    """(width, height) in pixels as in the file."""
    size: tuple[int, int] | None
    """As stated, else of the image itself; None where neither is known."""
    name: str = ""
    """Of the frame."""
    cam_id: int | None = None


@dataclass(frozen=True)
class _Person:
    """One annotation."""

    image_id: int | str
    box: np.ndarray
    """(4,) of (x1, y1, x2, y2) in original pixels, cut at the image's border."""
    pid: int | str
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
            f"appears in two images{_hint(json_file, frames)}"
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


def _hint(path: Path, frames: list[Frame]) -> str:
    """Say what may be the identities of a file where nobody has one."""
    if any((frame.pids != UNLABELED_PID).any() for frame in frames):
        return ""
    return hint_at_identities(read_coco(path)["annotations"])


def _read(path: Path, image_root: Path) -> tuple[list[Frame], list[Query]]:
    """Read the file into frames and queries with identities 0..P-1."""
    content = read_coco(path)
    images = _read_images(content, path, image_root)
    people = _read_people(content, images, path)
    numbers = number_ids({p.pid for p in people.values() if p.pid != UNLABELED_PID})
    known = sorted(numbers.values())
    rows = {number: row for row, number in enumerate(known)}
    identities = {UNLABELED_PID: UNLABELED_PID, **{pid: rows[n] for pid, n in numbers.items()}}
    if people and not known:
        hint = hint_at_identities(content["annotations"])
        logger.warning("%s: no annotation of a person has a person_id%s", path, hint)
    by_image: dict[int | str, list[_Person]] = {image_id: [] for image_id in images}
    for person in people.values():
        by_image[person.image_id].append(person)
    frames = [
        Frame(
            image.name,
            image_root / image.file_name,
            image.cam_id,
            np.array([person.box for person in by_image[image_id]]).reshape(-1, 4),
            np.array([identities[person.pid] for person in by_image[image_id]], dtype=np.int64),
            image.stated_size,
        )
        for image_id, image in images.items()
    ]
    if content.get("queries") is None:
        wanted = _choose_queries(list(people.values()), numbers)
    else:
        wanted = _read_queries(content["queries"], images, people, path)
    for row, person in enumerate(wanted):
        if person.pid not in identities or person.pid == UNLABELED_PID:
            raise ValueError(
                f"{path}: queries[{row}] has no person_id, or one that no annotation has"
            )
    queries = [
        Query(images[person.image_id].name, person.box, identities[person.pid]) for person in wanted
    ]
    return frames, queries


def _read_images(content: dict[str, Any], path: Path, image_root: Path) -> dict[int | str, _Image]:
    """Map the images' ids to their entries, in the file's order."""
    images: dict[int | str, _Image] = {}
    cameras: dict[int | str, int | str | None] = {}
    for row, image in enumerate(content["images"]):
        where = f"{path}: images[{row}]"
        image_id = _plain_id(image.get("id"), where, "id")
        if not isinstance(image.get("file_name"), str) or image_id is None:
            raise ValueError(f"{where} needs 'id' and 'file_name', got {image}")
        if image_id in images:
            raise ValueError(f"{where} repeats the id {image_id!r}")
        cameras[image_id] = _plain_id(image.get("cam_id"), where, "cam_id")
        file_name = local_name(image["file_name"], image_root)
        check_listed(file_name, image_root, where)
        size = stated_size(image, where)
        images[image_id] = _Image(file_name, size, size or _find_size(image_root / file_name))
    numbers = number_ids({camera for camera in cameras.values() if camera is not None})
    names = _name_frames([image.file_name for image in images.values()])
    for name, (image_id, image) in zip(names, images.items(), strict=True):
        camera = cameras[image_id]
        cam_id = None if camera is None else numbers[camera]
        images[image_id] = replace(image, name=name, cam_id=cam_id)
    return images


def _find_size(path: Path) -> tuple[int, int] | None:
    """Return the size of an image whose entry says nothing; None where it is not at hand."""
    try:
        return read_image_size(path)
    # Whoever needs the image itself says so; a protocol does not.
    except (ImageError, OSError):
        return None


def _read_people(
    content: dict[str, Any], images: dict[int | str, _Image], path: Path
) -> dict[Any, _Person]:
    """Map the annotations' ids to people, in the file's order."""
    categories = find_person_categories(content, path)
    people: dict[Any, _Person] = {}
    left_out: Counter[str] = Counter()
    raw: dict[int | str, list[np.ndarray]] = {}
    for row, annotation in enumerate(content["annotations"]):
        where = f"{path}: annotations[{row}]"
        if not is_person(annotation, categories):
            left_out["of another category"] += 1
            continue
        if is_crowd(annotation):
            left_out["crowds"] += 1
            continue
        person, box = _read_person(annotation, images, where)
        raw.setdefault(person.image_id, []).append(box)
        if not have_area(person.box[None])[0]:
            is_empty = min(box[2:]) <= 0
            left_out["without width or height" if is_empty else "outside their image"] += 1
            continue
        left_out["cut at the border"] += int((person.box != _corners(box)).any())
        own_id = _plain_id(annotation.get("id"), where, "id")
        key = f"annotations[{row}]" if own_id is None else own_id
        if key in people:
            raise ValueError(f"{where} repeats the id {key!r}")
        people[key] = person
    for image_id, boxes in raw.items():
        refuse_shares(path, np.array(boxes), f" in the image {images[image_id].file_name}")
    rows = [(box, images[image_id].size) for image_id, boxes in raw.items() for box in boxes]
    refuse_corners(path, [box for box, _ in rows], [size for _, size in rows])
    _tell(path, left_out)
    named = [(images[p.image_id].file_name, p.pid) for p in people.values()]
    warn_of_twins(path, [one for one in named if one[1] != UNLABELED_PID], len(images))
    return people


def _tell(path: Path, left_out: Counter[str]) -> None:
    cut = left_out.pop("cut at the border", 0)
    if cut:
        logger.warning("%s: %d boxes stick out of their image; cut at its border", path, cut)
    if left_out:
        why = ", ".join(f"{count} {what}" for what, count in left_out.items())
        logger.warning("%s: %d annotations left out: %s", path, left_out.total(), why)


def _read_person(
    entry: dict[str, Any], images: dict[int | str, _Image], where: str
) -> tuple[_Person, np.ndarray]:
    """Read an annotation, or a query of the same form.

    Returns:
        The person, and the box (x, y, w, h) as it stands in the file.

    Raises:
        ValueError: It is not as it should be; names ``where`` it is.
    """
    image_id = find_id(entry.get("image_id"), images)
    if image_id is None:
        raise ValueError(f"{where} has the image_id {entry.get('image_id')!r}, which no image has")
    box = read_box(entry, where)
    pid = _plain_id(own_person_id(entry), where, "person_id")
    is_nobody = pid is None or (isinstance(pid, int) and pid < 0)
    corners, size = _corners(box), images[image_id].size
    clipped = corners if size is None else clip_boxes(corners[None], size)[0]
    return _Person(image_id, clipped, UNLABELED_PID if is_nobody or pid is None else pid), box


def _corners(box: np.ndarray) -> np.ndarray:
    return np.concatenate([box[:2], box[:2] + box[2:]])


def _plain_id(value: Any, where: str, key: str) -> int | str | None:
    try:
        return parse_id(value)
    except ValueError as error:
        raise ValueError(f"{where} has the {key} {error}") from None


def _read_queries(
    entries: Any, images: dict[int | str, _Image], people: dict[Any, _Person], path: Path
) -> list[_Person]:
    if not isinstance(entries, list):
        raise ValueError(f"{path}: 'queries' must be a list, got {type(entries).__name__}")
    queries = []
    for row, entry in enumerate(entries):
        where = f"{path}: queries[{row}]"
        own_id = None if isinstance(entry, dict) else find_id(entry, people)
        if isinstance(entry, dict):
            person, box = _read_person(entry, images, where)
            if not have_area(person.box[None])[0]:
                image = images[person.image_id]
                size = "{}x{}".format(*image.size) if image.size else "unknown"
                raise ValueError(
                    f"{where} has the bbox {box.tolist()} (x, y, w, h), which has no area inside "
                    f"{image.file_name} ({size} pixels)"
                )
            queries.append(person)
        elif own_id is not None:
            queries.append(people[own_id])
        else:
            raise ValueError(f"{where} is {entry!r}, which is not the id of a person's annotation")
    return queries


def _choose_queries(people: list[_Person], numbers: Mapping[int | str, int]) -> list[_Person]:
    """Take the first annotation of each identity seen in two frames or more, by identity."""
    first: dict[int | str, _Person] = {}
    images: dict[int | str, set[int | str]] = {}
    for person in people:
        first.setdefault(person.pid, person)
        images.setdefault(person.pid, set()).add(person.image_id)
    return [first[pid] for pid in sorted(numbers, key=numbers.__getitem__) if len(images[pid]) > 1]


def _name_frames(file_names: list[str]) -> list[str]:
    """Name frames without folder where that is distinct, as `predictions.npz` does."""
    short = [PurePosixPath(name).name for name in file_names]
    return short if len(set(short)) == len(short) else list(file_names)
