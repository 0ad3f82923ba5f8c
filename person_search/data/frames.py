"""Frames with people, made into detectron2 dataset dicts or into a search protocol.

Letters: F frames, M people in one frame, Q queries, T true (query, frame) pairs.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from person_search.data.protocol import SearchProtocol
from reid_heads.labels import UNLABELED_PID
from reid_heads.listed_files import hint_at_missing
from reid_heads.pictures import ImageError, read_image_size

logger = logging.getLogger(__name__)

_SHOWN = 3  # how many culprits an error message names
_HEADER_THREADS = 8  # opening files waits for the disk, not for the processor


@dataclass(frozen=True)
class Frame:
    """One image and the people annotated in it."""

    name: str
    """Distinct within its data set; becomes ``image_id`` and the protocol's frame name."""
    path: Path
    cam_id: int | None
    boxes: np.ndarray
    """(M, 4) of (x1, y1, x2, y2) in original pixels, not yet clipped to the image."""
    pids: np.ndarray
    """(M,) int64: 0..P-1, or ``UNLABELED_PID``."""
    size: tuple[int, int] | None = None
    """(width, height) in pixels that the boxes are of, where their file says so."""


@dataclass(frozen=True)
class Query:
    """One person to search for."""

    frame: str
    """Name of the frame that the query is cut from."""
    box: np.ndarray
    """(4,) of (x1, y1, x2, y2) in original pixels, not yet clipped to the image."""
    pid: int


def check_split(split: str) -> None:
    """Raise a ValueError unless the split is ``train`` or ``test``."""
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; expected 'train' or 'test'")


def check_distinct(names: Sequence[str], source: str | Path) -> None:
    """Raise a ValueError that names the frames listed more than once in a source."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{source} lists {len(repeated)} frame name(s) more than once, first "
            f"{repeated[:_SHOWN]}; "
            "frame names must be distinct"
        )


def check_query_frames(
    queries: Sequence[Query], names: Sequence[str] | set[str], source: str | Path
) -> None:
    """Raise a ValueError that names a query whose frame is not among the given frame names."""
    known = set(names)
    for row, query in enumerate(queries):
        if query.frame not in known:
            raise ValueError(
                f"{source}: query {row} is cut from the frame {query.frame!r}, "
                f"which is not among the {len(known)} test frames"
            )


def read_image_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Read (width, height) of images from their headers, turned upright as their EXIF says.

    Args:
        paths: image files.

    Returns:
        One (width, height) a path, in pixels.

    Raises:
        FileNotFoundError: some files are missing; all are checked before.
        ValueError: some files are no images.
    """
    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        results = list(pool.map(_read_size, paths))
    missing = [path for path, size in zip(paths, results, strict=True) if size is None]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} image files are missing, first: "
            + ", ".join(str(path) for path in missing[:_SHOWN])
            + hint_at_missing(missing[0])
        )
    broken = [reason for reason in results if isinstance(reason, str)]
    if broken:
        raise ValueError(
            f"{len(broken)} of {len(paths)} files cannot be read as images, first: "
            + "; ".join(broken[:_SHOWN])
        )
    return [size for size in results if isinstance(size, tuple)]


def _read_size(path: Path) -> tuple[int, int] | str | None:
    """Return (width, height), why it cannot be read, or None where it is missing."""
    try:
        return read_image_size(path)
    except FileNotFoundError:
        return None
    except (ImageError, OSError) as error:
        return str(error)


def build_dataset_dicts(
    frames: Sequence[Frame], queries: Sequence[Query] | None, source: str | Path
) -> list[dict[str, Any]]:
    """Make detectron2 dataset dicts, with boxes clipped to their image.

    People of zero area after clipping are dropped; both counts are logged once.

    Args:
        frames: the frames of one split.
        queries: the queries in the protocol's order; None for a training split.
        source: where the boxes come from, for messages.

    Returns:
        One dict a frame with ``file_name, image_id, height, width, cam_id, annotations`` and, where
        queries are given, ``queries``: those that lie in this frame. Boxes are lists (x1, y1, x2,
        y2) of floats in original pixels.

    Raises:
        FileNotFoundError: images are missing.
        ValueError: frame names repeat, an image has another size than its boxes are of, a query's
            frame is unknown, or its box lies outside the frame or has no area.
    """
    check_distinct([frame.name for frame in frames], source)
    sizes = read_image_sizes([frame.path for frame in frames])
    _check_stated_sizes(frames, sizes, source)
    counts: Counter[str] = Counter()
    dicts = [_build_dict(frame, size, counts) for frame, size in zip(frames, sizes, strict=True)]
    if queries is not None:
        _attach_queries(dicts, queries, source, counts)
    if counts["clipped"]:
        logger.warning("%s: %d boxes stick out of their image; clipped", source, counts["clipped"])
    if counts["dropped"]:
        logger.warning(
            "%s: %d people dropped: nothing of their box lies in the image",
            source,
            counts["dropped"],
        )
    return dicts


def _check_stated_sizes(
    frames: Sequence[Frame], sizes: Sequence[tuple[int, int]], source: str | Path
) -> None:
    wrong = [
        (frame, size)
        for frame, size in zip(frames, sizes, strict=True)
        if frame.size not in (None, size)
    ]
    if not wrong:
        return
    frame, size = wrong[0]
    said = frame.size or size
    is_swapped = said == size[::-1]
    turned = " as shown; the file is turned by its EXIF note, or they are swapped there"
    raise ValueError(
        f"{source}: {len(wrong)} of {len(frames)} images have another size than their width and "
        f"height there, first {frame.path}: {said[0]}x{said[1]} there, {size[0]}x{size[1]} pixels "
        f"in the file{turned if is_swapped else ''}; give boxes, width and height in the pixels of "
        "the files as they are shown, or save the files as they were annotated"
    )


def _build_dict(frame: Frame, size: tuple[int, int], counts: Counter[str]) -> dict[str, Any]:
    # Protocols, which need nothing of detectron2, are read by this module too.
    from detectron2.structures import BoxMode

    boxes = clip_boxes(frame.boxes, size)
    has_area = have_area(boxes)
    counts["clipped"] += int((boxes != frame.boxes).any(axis=1)[has_area].sum())
    counts["dropped"] += int((~has_area).sum())
    return {
        "file_name": str(frame.path),
        "image_id": frame.name,
        "height": size[1],
        "width": size[0],
        "cam_id": frame.cam_id,
        "annotations": [
            {
                "bbox": box.tolist(),
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": 0,
                "person_id": int(pid),
                "iscrowd": 0,
            }
            for box, pid in zip(boxes[has_area], frame.pids[has_area], strict=True)
        ],
    }


def _attach_queries(
    dicts: list[dict[str, Any]],
    queries: Sequence[Query],
    source: str | Path,
    counts: Counter[str],
) -> None:
    by_name = {entry["image_id"]: entry for entry in dicts}
    check_query_frames(queries, set(by_name), source)
    for entry in dicts:
        entry["queries"] = []
    for row, query in enumerate(queries):
        entry = by_name[query.frame]
        raw = np.asarray(query.box).reshape(1, 4)
        box = clip_boxes(raw, (entry["width"], entry["height"]))
        if not have_area(box)[0]:
            raise ValueError(
                f"{source}: the box {raw[0].tolist()} (x1, y1, x2, y2) of query {row} has no area "
                f"inside "
                f"{entry['file_name']} ({entry['width']}x{entry['height']} pixels)"
            )
        counts["clipped"] += int((box != raw).any())
        entry["queries"].append({"query_id": row, "bbox": box[0].tolist(), "person_id": query.pid})


def clip_boxes(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clip boxes to an image.

    Args:
        boxes: (M, 4) of (x1, y1, x2, y2) in original pixels.
        size: width and height.

    Returns:
        (M, 4) float64.
    """
    width, height = size
    return np.clip(boxes.astype(np.float64), 0, [width, height, width, height])


def have_area(boxes: np.ndarray) -> np.ndarray:
    """Return which of the boxes (M, 4) have an area; (M,) bool."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def build_all_frames_protocol(
    name: str,
    frames: Sequence[Frame],
    queries: Sequence[Query],
    source: str | Path,
    multi_view: bool,
) -> SearchProtocol:
    """Make the protocol in which a query is searched in all other frames (PRW and own data).

    A person is true in every searched frame that shows its identity; where a frame shows it twice,
    in the first box only.

    Args:
        name: name of the protocol.
        frames: the test frames, with boxes as annotated.
        queries: the queries, with boxes as annotated.
        source: where the queries come from, for messages.
        multi_view: leave out the frames of the query's own camera.

    Raises:
        ValueError: frame names repeat, a query's frame is unknown, or multi_view is asked without
            cameras.
    """
    names = tuple(frame.name for frame in frames)
    check_distinct(names, source)
    check_query_frames(queries, names, source)
    rows = {frame_name: row for row, frame_name in enumerate(names)}
    query_frames = np.array([rows[query.frame] for query in queries], dtype=np.int64)
    gallery_mask = np.ones((len(queries), len(frames)), dtype=bool)
    gallery_mask[np.arange(len(queries)), query_frames] = False
    if multi_view:
        cameras = _get_cameras(frames)
        gallery_mask &= cameras[None, :] != cameras[query_frames][:, None]
    appearances = _find_appearances(frames)
    true = [
        (query_row, frame_row, box)
        for query_row, query in enumerate(queries)
        for frame_row, box in appearances.get(query.pid, [])
        if gallery_mask[query_row, frame_row]
    ]
    return SearchProtocol(
        name=name,
        frame_names=names,
        frame_boxes=tuple(frame.boxes.astype(np.float32).reshape(-1, 4) for frame in frames),
        frame_pids=tuple(frame.pids.astype(np.int64) for frame in frames),
        query_frames=query_frames,
        query_boxes=np.array([query.box for query in queries], dtype=np.float32).reshape(-1, 4),
        query_pids=np.array([query.pid for query in queries], dtype=np.int64),
        gallery_mask=gallery_mask,
        true_queries=np.array([row for row, _, _ in true], dtype=np.int64),
        true_frames=np.array([row for _, row, _ in true], dtype=np.int64),
        true_boxes=np.array([box for _, _, box in true], dtype=np.float32).reshape(-1, 4),
    )


def _find_appearances(frames: Sequence[Frame]) -> dict[int, list[tuple[int, np.ndarray]]]:
    """Map each identity to (row of the frame, its first box there), by ascending row."""
    appearances: dict[int, list[tuple[int, np.ndarray]]] = {}
    for row, frame in enumerate(frames):
        pids, first = np.unique(frame.pids, return_index=True)
        for pid, position in zip(pids.tolist(), first.tolist(), strict=True):
            if pid != UNLABELED_PID:
                appearances.setdefault(pid, []).append((row, frame.boxes[position]))
    return appearances


def _get_cameras(frames: Sequence[Frame]) -> np.ndarray:
    without = [frame.name for frame in frames if frame.cam_id is None]
    if without:
        raise ValueError(
            f"multi_view needs the camera of every frame; {len(without)} have no cam_id, "
            f"first {without[:_SHOWN]}"
        )
    return np.array([frame.cam_id for frame in frames], dtype=np.int64)
