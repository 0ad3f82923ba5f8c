"""Write a drawn world in the layout of PRW: its loader and protocols run on it.

Layout (research notes 3.4): ``frames/c{cam}s{seq}_{frame:06d}.jpg``; ``annotations/*.jpg.mat``, one
per frame, with rows [pid, x, y, w, h] under ``box_new``; ``frame_train.mat``, ``frame_test.mat``,
``ID_train.mat`` and ``ID_test.mat`` (whose key is ``ID_test2``); ``query_box/*.jpg``; and
``query_info.txt`` with CRLF line ends. Identity numbers start at 1; -2 is a person without one.
"""

import logging
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from person_search.synthetic.output_folder import (
    WrittenFrame,
    is_already_drawn,
    staged_folder,
    write_frames,
    write_record,
)
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.world import DrawnPerson, FramePlan
from person_search.synthetic.world_spec import WorldSpec

logger = logging.getLogger(__name__)

LAYOUT = "PRW"
PRW_UNLABELLED = -2
Query = tuple[WrittenFrame, DrawnPerson]

_FRAME_STEP = 25
_FRAMES_PER_SEQUENCE = 400


def frame_name(plan: FramePlan) -> str:
    """Return the file name; camera and sequence count from 1, frames rise in steps."""
    sequence = plan.index // _FRAMES_PER_SEQUENCE + 1
    number = plan.index % _FRAMES_PER_SEQUENCE * _FRAME_STEP + 1
    return f"c{plan.camera + 1}s{sequence}_{number:06d}.jpg"


def write_prw(spec: WorldSpec, root: str | Path, processes: int = 1) -> Path:
    """Draw a world into ``root``; do nothing when it is there already.

    Args:
        spec: The world; its test frames come from the training cameras (``shares_cameras``), nine
            at most.
        root: Folder to make; the one that then contains ``frames/`` and ``annotations/``.
        processes: How many to draw with.

    Returns:
        ``root``.

    Raises:
        ValueError: The spec has cameras that PRW's file names have no room for.
        FileExistsError: ``root`` holds something else.
        OSError: It cannot be written; nothing half-written stays.
    """
    root = Path(root)
    cameras = spec.train_cameras + (0 if spec.shares_cameras else spec.test_cameras)
    if max(cameras, spec.test_cameras) > 9:
        raise ValueError(
            f"PRW's file names have one digit for the camera; the spec has {cameras} cameras"
        )
    if is_already_drawn(spec, LAYOUT, root):
        logger.info("%s is already drawn in %s", spec.name, root)
        return root
    with staged_folder(root) as staging:
        images = staging / "frames"
        images.mkdir()
        frames = write_frames(spec, images, frame_name, processes)
        _write_annotations(frames, staging)
        _write_queries(spec, frames, staging)
        write_record(spec, LAYOUT, staging, frames)
    return root


def _pid(person: DrawnPerson) -> int:
    return person.identity + 1 if person.identity >= 0 else PRW_UNLABELLED


def _write_annotations(frames: list[WrittenFrame], root: Path) -> None:
    folder = root / "annotations"
    folder.mkdir()
    for frame in frames:
        rows = np.array([[_pid(p), *p.box] for p in frame.people], float).reshape(-1, 5)
        savemat(folder / f"{frame.name}.mat", {"box_new": rows})
    for split, key in (("train", "ID_train"), ("test", "ID_test2")):
        members = [f for f in frames if f.plan.split == split]
        names = np.empty((len(members), 1), object)
        for k, frame in enumerate(members):
            names[k, 0] = np.array([Path(frame.name).stem])
        savemat(root / f"frame_{split}.mat", {f"img_index_{split}": names})
        pids = sorted({_pid(p) for f in members for p in f.people if p.identity >= 0})
        savemat(root / f"ID_{split}.mat", {key: np.array([pids], np.uint16)})


def choose_queries(spec: WorldSpec, frames: list[WrittenFrame]) -> list[Query]:
    """Choose up to ``spec.max_queries`` queries: one per test identity and camera, as in PRW."""
    shown: dict[int, dict[int, list[Query]]] = defaultdict(lambda: defaultdict(list))
    for frame in frames:
        for person in frame.people:
            if frame.plan.split == "test" and person.identity >= 0:
                shown[person.identity][frame.plan.camera].append((frame, person))
    rounds: dict[int, list[Query]] = defaultdict(list)
    for identity in sorted(shown):
        cameras = shown[identity]
        if sum(len(found) for found in cameras.values()) < 2:
            continue
        rng = make_rng(spec.seed, Stream.PROTOCOL, identity)
        for turn, k in enumerate(rng.permutation(len(cameras))):
            found = cameras[sorted(cameras)[int(k)]]
            rounds[turn].append(found[int(rng.integers(0, len(found)))])
    queries = [query for turn in sorted(rounds) for query in rounds[turn]][: spec.max_queries]
    return sorted(queries, key=lambda q: (q[1].identity, q[0].plan.camera))


def _write_queries(spec: WorldSpec, frames: list[WrittenFrame], root: Path) -> None:
    folder = root / "query_box"
    folder.mkdir()
    lines = []
    for frame, person in choose_queries(spec, frames):
        x, y, w, h = person.box
        stem = Path(frame.name).stem
        lines.append(f"{_pid(person)} {x:.6f} {y:.6f} {w:.6f} {h:.6f} {stem}\r\n")
        path = root / "frames" / frame.name
        image = cv2.imread(str(path))
        if image is None:
            raise OSError(f"could not read back {path}")
        ok, data = cv2.imencode(".jpg", image[y : y + h, x : x + w])
        if not ok:
            raise OSError(f"could not encode the query crop of {frame.name}")
        (folder / f"{_pid(person):03d}_{stem}.jpg").write_bytes(data.tobytes())
    (root / "query_info.txt").write_text("".join(lines), encoding="utf-8", newline="")
