"""CUHK-SYSU (Xiao et al., CVPR 2017) in its official layout, and its search protocol.

The rules follow the authors' evaluation code (psdb). Boxes on disk are (x, y, w, h) in original
pixels, x2 = x + w.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from person_search.data.frames import (
    Frame,
    Query,
    build_dataset_dicts,
    check_distinct,
    check_query_frames,
    check_split,
)
from person_search.data.mat_files import (
    read_boxes,
    read_field,
    read_mat,
    read_string,
    read_strings,
)
from person_search.data.protocol import SearchProtocol
from reid_heads.labels import UNLABELED_PID

logger = logging.getLogger(__name__)

FULL_GALLERY = -1
_SUBSETS = {
    "occlusion": ("Occlusion.mat", "Occlusion1"),
    "resolution": ("Resolution.mat", "Test_Size"),
}
_SUBSET_GALLERY_SIZE = 100

_Label = tuple[str, np.ndarray, int]
"""Frame name, box (x1, y1, x2, y2), identity."""


@dataclass(frozen=True)
class _Search:
    """One row of a test file: a query and the frames to search."""

    query_name: str
    query_box: np.ndarray
    """(4,) int64 of (x1, y1, x2, y2)."""
    person: str
    """The person's name in the annotations, such as ``p10581``."""
    gallery_names: list[str]
    true_names: list[str]
    """The frames of the gallery that show the person, as often as they are listed."""
    true_boxes: np.ndarray
    """(T, 4) int64 of (x1, y1, x2, y2)."""


def load_cuhk_sysu(root: str | Path, split: str) -> list[dict[str, Any]]:
    """Load CUHK-SYSU as detectron2 dataset dicts.

    Args:
        root: the folder with ``Image/`` and ``annotation/``.
        split: ``train`` or ``test``.

    Returns:
        One dict a frame: training frames sorted by name, test frames in the pool's order. Training
        identities count the items of Train.mat from 0, test identities those of the queries.

    Raises:
        FileNotFoundError: a file of the data set is missing.
        ValueError: an annotation is not as it should be.
    """
    check_split(split)
    root = Path(root)
    boxes = _read_images(root)
    pool = _read_pool(root, boxes)
    queries = None
    if split == "train":
        names = sorted(set(boxes) - set(pool))
        source = _test_folder(root) / "Train.mat"
        pids = _assign_pids(boxes, _read_train_labels(source), source)
    else:
        names = pool
        source, searches = _read_reference(root)
        identities = _number_people(searches)
        pids = _assign_pids(boxes, _get_test_labels(searches, identities), source)
        queries = _get_queries(searches, identities)
    frames = [
        Frame(name, root / "Image" / "SSM" / name, None, boxes[name], pids[name]) for name in names
    ]
    return build_dataset_dicts(frames, queries, source)


def load_cuhk_sysu_protocol(
    root: str | Path, gallery_size: int = 100, subset: str | None = None, title: str = "CUHK-SYSU"
) -> SearchProtocol:
    """Load an official search protocol of CUHK-SYSU. Images are not needed.

    Every gallery entry with a box is a true row, duplicates included; an entry without a box means
    "not in this frame". Two official queries list their own frame in the gallery; as in the
    official code it is then searched like any other.

    Args:
        root: the folder with ``annotation/``.
        gallery_size: frames to search for each query: 50, 100, 500, 1000, 2000 or 4000 in the
            official set (2 to 3 GB of memory for 4000), or -1 for the full set: the protocol's 50
            frames and all other frames of the pool but the query's.
        subset: None, or ``occlusion`` or ``resolution`` for the subsets, whose gallery size is 100.
        title: the name of the data set.

    Returns:
        The protocol; its frames are the pool in the pool's order, its boxes the official numbers,
        not clipped to the images.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: an annotation is not as it should be, or the arguments do not go together.
    """
    root = Path(root)
    name, path, key = _find_protocol(root, gallery_size, subset)
    boxes = _read_images(root)
    pool = _read_pool(root, boxes)
    reference_path, reference = _read_reference(root)
    identities = _number_people(reference)
    pids = _assign_pids(boxes, _get_test_labels(reference, identities), reference_path)
    searches = reference if path == reference_path else _read_searches(path, key)
    for search in searches:  # a subset may hold people that the reference does not
        identities.setdefault(search.person, len(identities))
    queries = _get_queries(searches, identities)
    check_query_frames(queries, pool, path)
    rows = {frame: row for row, frame in enumerate(pool)}
    query_frames = np.array([rows[query.frame] for query in queries], dtype=np.int64)
    gallery_mask = _build_gallery_mask(searches, rows, path)
    if gallery_size == FULL_GALLERY:
        # The query's frame counts as searched from the start, so it is added only where the
        # protocol lists it.
        listed = gallery_mask[np.arange(len(queries)), query_frames]
        gallery_mask[:] = True
        gallery_mask[np.arange(len(queries)), query_frames] = listed
    return SearchProtocol(
        name=f"{title}, {name}",
        frame_names=tuple(pool),
        frame_boxes=tuple(boxes[frame].astype(np.float32) for frame in pool),
        frame_pids=tuple(pids[frame] for frame in pool),
        query_frames=query_frames,
        query_boxes=np.array([query.box for query in queries], dtype=np.float32).reshape(-1, 4),
        query_pids=np.array([query.pid for query in queries], dtype=np.int64),
        gallery_mask=gallery_mask,
        true_queries=np.repeat(
            np.arange(len(searches)), [len(search.true_names) for search in searches]
        ).astype(np.int64),
        true_frames=np.array(
            [rows[frame] for search in searches for frame in search.true_names], dtype=np.int64
        ),
        true_boxes=np.concatenate(
            [np.zeros((0, 4)), *(search.true_boxes for search in searches)]
        ).astype(np.float32),
    )


def _test_folder(root: Path) -> Path:
    return root / "annotation" / "test" / "train_test"


def _find_gallery_sizes(root: Path) -> list[int]:
    """List the gallery sizes that have a test file, ascending."""
    stems = (path.stem.removeprefix("TestG") for path in _test_folder(root).glob("TestG*.mat"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def _find_reference(root: Path) -> tuple[Path, str]:
    """Find the file that names the test people.

    It is TestG50, as in psdb, or the smallest one where a drawn set has no TestG50.
    """
    sizes = _find_gallery_sizes(root)
    size = 50 if 50 in sizes or not sizes else sizes[0]
    return _test_folder(root) / f"TestG{size}.mat", f"TestG{size}"


def _find_protocol(root: Path, gallery_size: int, subset: str | None) -> tuple[str, Path, str]:
    """Return the protocol's name, its file and the key in it."""
    if subset is not None:
        if subset not in _SUBSETS:
            raise ValueError(f"subset is {subset!r}; expected None or one of {sorted(_SUBSETS)}")
        if gallery_size != _SUBSET_GALLERY_SIZE:
            raise ValueError(
                f"gallery_size is {gallery_size}; the {subset} subset has only "
                f"{_SUBSET_GALLERY_SIZE}"
            )
        file_name, key = _SUBSETS[subset]
        return f"{subset} subset", root / "annotation" / "test" / "subset" / file_name, key
    if gallery_size == FULL_GALLERY:
        return "full gallery", *_find_reference(root)
    path = _test_folder(root) / f"TestG{gallery_size}.mat"
    sizes = _find_gallery_sizes(root)
    if sizes and gallery_size not in sizes:
        raise ValueError(
            f"gallery_size is {gallery_size}, but {path} does not exist; "
            f"choose one of {sizes}, or {FULL_GALLERY} for the full set"
        )
    return f"gallery size {gallery_size}", path, f"TestG{gallery_size}"


def _read_images(root: Path) -> dict[str, np.ndarray]:
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


def _read_pool(root: Path, known: Iterable[str]) -> list[str]:
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


def _read_train_labels(path: Path) -> list[_Label]:
    labels: list[_Label] = []
    for pid, scenes in enumerate(read_field(read_mat(path, "Train"), "scene", 2, path)):
        names = [read_string(name, path) for name in read_field(scenes, "imname", 0, path)]
        boxes = _to_xyxy(read_boxes(read_field(scenes, "idlocate", 1, path), path))
        labels.extend((name, box, pid) for name, box in zip(names, boxes, strict=True))
    return labels


def _read_reference(root: Path) -> tuple[Path, list[_Search]]:
    path, key = _find_reference(root)
    return path, _read_searches(path, key)


def _read_searches(path: Path, key: str) -> list[_Search]:
    table = read_mat(path, key)
    queries = read_field(table, "Query", 0, path)
    galleries = read_field(table, "Gallery", 1, path)
    return [
        _read_search(query, gallery, row, path)
        for row, (query, gallery) in enumerate(zip(queries, galleries, strict=True))
    ]


def _read_search(query: Any, gallery: Any, row: int, path: Path) -> _Search:
    names = read_field(query, "imname", 0, path)
    if len(names) != 1:
        raise ValueError(f"{path}: query {row} has {len(names)} frames instead of one")
    fields = np.asarray(query).dtype.names or ()
    # Without a name every query is a person of its own, as it is in the official set.
    people = read_field(query, "idname", 3, path) if len(fields) > 3 else [f"query {row}"]
    gallery_names = [read_string(name, path) for name in read_field(gallery, "imname", 0, path)]
    places = read_field(gallery, "idlocate", 1, path)
    shown = [position for position, place in enumerate(places) if np.size(place) > 0]
    return _Search(
        query_name=read_string(names[0], path),
        query_box=_to_xyxy(read_boxes(read_field(query, "idlocate", 1, path), path))[0],
        person=read_string(people[0], path),
        gallery_names=gallery_names,
        true_names=[gallery_names[position] for position in shown],
        true_boxes=_to_xyxy(read_boxes([places[position] for position in shown], path)),
    )


def _to_xyxy(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _number_people(searches: list[_Search]) -> dict[str, int]:
    """Number the queries' people from 0; in the official set this is the query's row."""
    identities: dict[str, int] = {}
    for search in searches:
        identities.setdefault(search.person, len(identities))
    return identities


def _get_queries(searches: list[_Search], identities: dict[str, int]) -> list[Query]:
    return [
        Query(search.query_name, search.query_box, identities[search.person]) for search in searches
    ]


def _get_test_labels(searches: list[_Search], identities: dict[str, int]) -> list[_Label]:
    labels = []
    for search in searches:
        pid = identities[search.person]
        labels.append((search.query_name, search.query_box, pid))
        for name, box in zip(search.true_names, search.true_boxes, strict=True):
            labels.append((name, box, pid))
    return labels


def _assign_pids(
    boxes: dict[str, np.ndarray], labels: list[_Label], path: Path
) -> dict[str, np.ndarray]:
    """Give each label's identity to the first box of its frame that equals it exactly.

    So does psdb.     Labels without such a box are counted and logged.
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


def _build_gallery_mask(searches: list[_Search], rows: dict[str, int], path: Path) -> np.ndarray:
    """Mark the listed gallery frames: (Q, F) bool."""
    mask = np.zeros((len(searches), len(rows)), dtype=bool)
    for row, search in enumerate(searches):
        try:
            mask[row, [rows[name] for name in search.gallery_names]] = True
        except KeyError as error:
            raise ValueError(
                f"{path}: the gallery of query {row} lists the frame {error}, which is not in "
                f"annotation/pool.mat"
            ) from None
    return mask
