"""PRW (Zheng et al., CVPR 2017) in its official layout, and its search protocol.

The protocol is the one that papers report (SeqNet's evaluation), not that of the authors' MATLAB
code.
"""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from person_search.data.frames import (
    Frame,
    Query,
    build_all_frames_protocol,
    build_dataset_dicts,
    check_split,
)
from person_search.data.protocol import SearchProtocol
from reid_heads.data.datasets.mat_files import (
    read_mat,
    read_strings,
    read_whole_numbers,
)
from reid_heads.labels import UNLABELED_PID
from reid_heads.listed_files import check_listed
from reid_heads.text_files import read_text

logger = logging.getLogger(__name__)

_ANNOTATION_KEYS = ("box_new", "anno_file", "anno_previous")


def load_prw(root: str | Path, split: str) -> list[dict[str, Any]]:
    """Load PRW as detectron2 dataset dicts.

    Training identities are 0..482 in the order of ID_train.mat, test identities 0..449 in the order
    of ID_test.mat. People whom nobody searches for (ambiguous, or in test frames with another id
    than the 450) are kept without identity.

    Args:
        root: the folder with ``frames/``, ``annotations/`` and ``query_info.txt``.
        split: ``train`` or ``test``.

    Returns:
        One dict a frame, in the order of the official frame list.

    Raises:
        FileNotFoundError: a file of the data set is missing.
        ValueError: an annotation is not as it should be.
    """
    check_split(split)
    root = Path(root)
    identities = _read_identities(root, split)
    frames = []
    num_others = 0
    for frame in _read_frames(root, split, identities):
        is_other = frame.pids >= len(identities)
        num_others += int(is_other.sum())
        pids = np.where(is_other, UNLABELED_PID, frame.pids)
        frames.append(Frame(frame.name, frame.path, frame.cam_id, frame.boxes, pids))
    if num_others:
        logger.info(
            "%s: %d people of the %s frames have an id that ID_%s.mat does not list; "
            "kept without identity",
            root,
            num_others,
            split,
            split,
        )
    if split == "train":
        return build_dataset_dicts(frames, None, root / "annotations")
    return build_dataset_dicts(frames, _read_queries(root, identities), root / "query_info.txt")


def load_prw_protocol(
    root: str | Path, multi_view: bool = False, title: str = "PRW"
) -> SearchProtocol:
    """Load the search protocol of PRW. Images are not needed.

    Each query is searched in all test frames but its own. In ``frame_pids`` people with an id that
    is not among the 450 test ids are numbered from 450 on: they change nothing in the search, but
    the official labelled recall counts them as labelled.

    Args:
        root: the folder with ``annotations/`` and ``query_info.txt``.
        multi_view: leave out all frames of the query's camera.
        title: the name of the data set.

    Returns:
        The protocol, boxes as the official scorer has them: not clipped to the images but at 0.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: an annotation is not as it should be.
    """
    root = Path(root)
    identities = _read_identities(root, "test")
    frames = _read_frames(root, "test", identities)
    queries = _read_queries(root, identities)
    name = f"{title}, {'other cameras only' if multi_view else 'all cameras'}"
    return build_all_frames_protocol(name, frames, queries, root / "query_info.txt", multi_view)


def _read_identities(root: Path, split: str) -> dict[int, int]:
    """Map the ids on disk to 0..P-1, in the order of the file."""
    path = root / f"ID_{split}.mat"
    # The test file's variable is really called ID_test2.
    name = "ID_train" if split == "train" else "ID_test2"
    ids = read_whole_numbers(read_mat(path, name), path, name)
    identities = {int(pid): row for row, pid in enumerate(ids)}
    if len(identities) != len(ids):
        raise ValueError(f"{path} lists a person id more than once")
    return identities


def _read_frames(root: Path, split: str, identities: dict[int, int]) -> list[Frame]:
    """Read the frames of a split; ids that are not among the identities are numbered after them."""
    path = root / f"frame_{split}.mat"
    names = read_strings(read_mat(path, f"img_index_{split}"), path)
    numbers = dict(identities)
    frames = []
    for stem in names:
        name = f"{stem.removesuffix('.jpg')}.jpg"
        check_listed(name, root / "frames", str(path))
        ids, boxes = _read_annotation(root / "annotations" / f"{name}.mat")
        # -2 is the official mark of people whose identity is unsure.
        pids = [
            UNLABELED_PID if pid < 0 else numbers.setdefault(pid, len(numbers))
            for pid in ids.tolist()
        ]
        cam_id = _read_camera(name, path)
        frames.append(
            Frame(name, root / "frames" / name, cam_id, boxes, np.array(pids, dtype=np.int64))
        )
    return frames


def _read_annotation(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one frame's (M,) int64 ids, as on disk, and (M, 4) int64 boxes (x1, y1, x2, y2)."""
    rows = np.asarray(read_mat(path, *_ANNOTATION_KEYS))
    is_table = rows.size == 0 or rows.shape[-1] == 5
    if not is_table or rows.dtype.kind not in "iuf" or not np.isfinite(rows).all():
        raise ValueError(f"{path}: expected rows of id, x, y, w, h, got shape {rows.shape}")
    if (rows.reshape(-1, 5)[:, 0] % 1 != 0).any():
        raise ValueError(f"{path}: expected whole numbers as ids, got {rows.reshape(-1, 5)[:, 0]}")
    # Widened before the sum, for files that hold small integers.
    rows = rows.reshape(-1, 5).astype(np.float64)
    # As SeqNet rounds: clip all four numbers at 0, add, cut the fraction off. Some x are negative.
    boxes = np.clip(rows[:, 1:], 0, None)
    boxes[:, 2:] += boxes[:, :2]
    return rows[:, 0].astype(np.int64), boxes.astype(np.int64)


def _read_camera(name: str, source: Path) -> int:
    match = re.match(r"c(\d+)s", name)
    if match is None:
        raise ValueError(
            f"{source}: the frame name {name!r} does not begin with its camera, as c1s1_000151"
        )
    return int(match.group(1))


def _read_queries(root: Path, identities: dict[int, int]) -> list[Query]:
    """Read ``query_info.txt``: lines ``id x y w h frame`` with either kind of line end."""
    path = root / "query_info.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: is the data set unpacked completely?")
    queries = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            person, x, y, w, h = (float(field) for field in fields[:5])
            (frame,) = fields[5:]
        except ValueError:
            raise ValueError(
                f"{path}, line {number}: expected 'id x y w h frame', got {line!r}"
            ) from None
        if person not in identities:
            raise ValueError(f"{path}, line {number}: the person {person:g} is not in ID_test.mat")
        # As SeqNet rounds queries: add, cut the fraction off, clip at 0. It differs from the
        # annotations' rule.
        box = np.clip(np.array([x, y, x + w, y + h]).astype(np.int64), 0, None)
        queries.append(Query(f"{frame.removesuffix('.jpg')}.jpg", box, identities[int(person)]))
    return queries
