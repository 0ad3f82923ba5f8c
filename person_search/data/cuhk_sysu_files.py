"""The annotation files of CUHK-SYSU: which people stand where, and what the tests ask.

Boxes on disk are (x, y, w, h) in original pixels; here x2 = x + w, as in the authors' code (psdb).
"""

import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from person_search.data.frames import check_distinct
from person_search.data.mat_files import read_boxes, read_field, read_string
from reid_heads.data.datasets.mat_files import read_mat, read_strings
from reid_heads.labels import UNLABELED_PID

logger = logging.getLogger(__name__)

Label = tuple[str, np.ndarray, int]
"""Frame name, box (x1, y1, x2, y2), identity."""


@dataclass(frozen=True)
class Search:
    """One row of a test file: a query and the frames to search."""

    query_name: str
    query_box: np.ndarray
    """(4,) int64 of (x1, y1, x2, y2)."""
    person: str
    """The person's name in the annotations, such as ``p10581``, or its place without one."""
    gallery_names: list[str]
    true_names: list[str]
    """The frames of the gallery that show the person, as often as they are listed."""
    true_boxes: np.ndarray
    """(T, 4) int64 of (x1, y1, x2, y2)."""


def read_images(root: Path) -> dict[str, np.ndarray]:
    """Read the people of all frames: name to (M, 4) int64 boxes (x1, y1, x2, y2)."""
    path = root / "annotation" / "Images.mat"
    table = read_mat(path, "Img")
    names = [read_string(name, path) for name in read_field(table, "imname", 0, path)]
    check_distinct(names, path)
    boxes = {}
    num_dropped = 0
    for name, people in zip(names, read_field(table, "box", 2, path), strict=True):
        raw = read_boxes(read_field(people, "idlocate", 0, path), path)
        valid = (raw[:, 2] > 0) & (raw[:, 3] > 0)
        num_dropped += int((~valid).sum())
        boxes[name] = _to_xyxy(raw[valid])
    if num_dropped:
        logger.info("%s: %d boxes without width or height left out", path, num_dropped)
    return boxes


def read_pool(root: Path, known: Iterable[str]) -> list[str]:
    """Read the names of the test frames, in order."""
    path = root / "annotation" / "pool.mat"
    pool = read_strings(read_mat(path, "pool"), path)
    check_distinct(pool, path)
    unknown = sorted(set(pool) - set(known))
    if unknown:
        raise ValueError(
            f"{path} lists {len(unknown)} frames that annotation/Images.mat has not, first "
            f"{unknown[:3]}"
        )
    return pool


def read_train_labels(path: Path) -> list[Label]:
    """Read the people of Train.mat, whose identity is the row of their item."""
    labels: list[Label] = []
    for pid, scenes in enumerate(read_field(read_mat(path, "Train"), "scene", 2, path)):
        names = [read_string(name, path) for name in read_field(scenes, "imname", 0, path)]
        boxes = _to_xyxy(read_boxes(read_field(scenes, "idlocate", 1, path), path))
        labels.extend((name, box, pid) for name, box in zip(names, boxes, strict=True))
    return labels


def read_searches(path: Path, key: str) -> list[Search]:
    """Read the rows of a TestG*.mat, Occlusion.mat or Resolution.mat."""
    table = read_mat(path, key)
    queries = read_field(table, "Query", 0, path)
    galleries = read_field(table, "Gallery", 1, path)
    return [
        _read_search(query, gallery, row, path)
        for row, (query, gallery) in enumerate(zip(queries, galleries, strict=True))
    ]


def _read_search(query: Any, gallery: Any, row: int, path: Path) -> Search:
    names = read_field(query, "imname", 0, path)
    if len(names) != 1:
        raise ValueError(f"{path}: query {row} has {len(names)} frames instead of one")
    query_name = read_string(names[0], path)
    query_box = _to_xyxy(read_boxes(read_field(query, "idlocate", 1, path), path))[0]
    if (query_box[2:] <= query_box[:2]).any():
        raise ValueError(f"{path}: the box of query {row}, in {query_name}, has no width or height")
    has_person = len(np.asarray(query).dtype.names or ()) > 3
    # Where the person has no name, it is known by its place, which is the same in all files.
    person = (
        read_string(read_field(query, "idname", 3, path)[0], path)
        if has_person
        else f"{query_name} {query_box.tolist()}"
    )
    # Interned, since the largest protocol has 12 million names of 7,000 frames.
    gallery_names = [
        sys.intern(read_string(name, path)) for name in read_field(gallery, "imname", 0, path)
    ]
    places = read_field(gallery, "idlocate", 1, path)
    shown = [position for position, place in enumerate(places) if np.size(place) > 0]
    return Search(
        query_name=query_name,
        query_box=query_box,
        person=person,
        gallery_names=gallery_names,
        true_names=[gallery_names[position] for position in shown],
        true_boxes=_to_xyxy(read_boxes([places[position] for position in shown], path)),
    )


def _to_xyxy(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def assign_pids(
    boxes: dict[str, np.ndarray], labels: list[Label], path: Path
) -> dict[str, np.ndarray]:
    """Give each label's identity to the first box of its frame that equals it exactly.

    So does psdb. Labels without such a box are counted and logged.
    """
    pids = {name: np.full(len(people), UNLABELED_PID, np.int64) for name, people in boxes.items()}
    unmatched = []
    for name, box, pid in labels:
        if name not in boxes:
            raise ValueError(f"{path}: the frame {name!r} is not in annotation/Images.mat")
        equal = np.flatnonzero((boxes[name] == box).all(axis=1))
        if equal.size:
            pids[name][equal[0]] = pid
        else:
            unmatched.append(name)
    if unmatched:
        logger.warning(
            "%s: %d of %d labelled boxes equal no box of annotation/Images.mat and label nobody, "
            "first in %s",
            path,
            len(unmatched),
            len(labels),
            unmatched[0],
        )
    return pids
