"""Write a drawn world in the layout of Market-1501: crops, named by person and camera.

Layout (research notes, section 6): ``bounding_box_train/``, ``bounding_box_test/`` and ``query/``
with 128x64 crops such as ``0002_c1s1_000451_03.jpg``: person, camera, sequence, frame and box. In
``bounding_box_test`` person 0000 is a distractor (a passer-by, an object, background) and -1 junk
(a badly placed box of somebody searched for). Box 00 is hand-drawn: queries have it.
``market_attribute.mat`` holds the attributes of both splits.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2

from person_search.synthetic.market_attributes import write_market_attributes
from person_search.synthetic.market_crops import DISTRACTOR, HAND_DRAWN, JUNK, Crop, cut_crops
from person_search.synthetic.market_plan import market_world
from person_search.synthetic.output_folder import (
    is_already_drawn,
    run_on_frames,
    save_record,
    spec_record,
    staged_folder,
)
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import MarketSpec, WorldSpec

logger = logging.getLogger(__name__)

LAYOUT = "Market-1501"
FOLDERS = ("bounding_box_train", "bounding_box_test", "query")


@dataclass(frozen=True)
class EncodedCrop:
    """A crop as it goes to disk."""

    split: str
    camera: int
    identity: int
    number: int
    stem: str
    visible: float
    jpeg: bytes
    pixels_sha256: str
    """Of the pixels before JPEG compression."""


def write_market1501(spec: WorldSpec, root: str | Path, processes: int = 1) -> Path:
    """Draw a world and cut its crops into ``root``; do nothing when they are there already.

    Args:
        spec: The world, a ``MarketSpec``.
        root: Folder to make; the one that then contains ``bounding_box_train/``.
        processes: How many to draw with.

    Returns:
        ``root``.

    Raises:
        TypeError: ``spec`` is no ``MarketSpec``.
        ValueError: It has more cameras or identities than the file names have digits, or so few
            frames that nobody can be searched for.
        FileExistsError: ``root`` holds something else.
        OSError: It cannot be written; nothing half-written stays.
    """
    if not isinstance(spec, MarketSpec):
        raise TypeError(f"Market-1501's layout needs a MarketSpec, got the WorldSpec {spec.name}")
    if spec.train_cameras > 9 or spec.train_identities + spec.test_identities > 9999:
        raise ValueError(
            "Market-1501's file names have one digit for the camera and four for the person; the "
            f"spec has {spec.train_cameras} cameras and "
            f"{spec.train_identities + spec.test_identities} identities"
        )
    root = Path(root)
    if is_already_drawn(spec, LAYOUT, root):
        logger.info("%s is already drawn in %s", spec.name, root)
        return root
    with staged_folder(root) as staging:
        world = market_world(spec)
        indices = [plan.index for plan in world.plans]
        make_world = partial(market_world, spec)
        cameras = [plan.camera for plan in world.plans]
        cut = run_on_frames(
            make_world, _cut_and_encode, indices, indices, processes, cameras=cameras
        )
        files = _file_crops(spec, [crop for crops in cut for crop in crops])
        _write_crops(staging, files)
        _write_attributes(spec, world, files, staging / "market_attribute.mat")
        counts = {"frames": len(indices)} | {f: len(files[f]) for f in FOLDERS}
        save_record(spec_record(spec, LAYOUT), counts, _digest(files), staging)
    return root


def _cut_and_encode(world: World, index: int, _: int) -> list[EncodedCrop]:
    quality = world.scene(world.plans[index].camera).camera.jpeg_quality
    return [_encode(crop, quality) for crop in cut_crops(world, index)]


def _encode(crop: Crop, quality: int) -> EncodedCrop:
    ok, data = cv2.imencode(".jpg", crop.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError(f"could not encode the crop {crop.stem} as JPEG")
    return EncodedCrop(
        split=crop.split,
        camera=crop.camera,
        identity=crop.identity,
        number=crop.number,
        stem=crop.stem,
        visible=crop.visible,
        jpeg=data.tobytes(),
        pixels_sha256=hashlib.sha256(crop.image.tobytes()).hexdigest(),
    )


def person_numbers(spec: MarketSpec) -> list[int]:
    """Return for each identity of the world its number in file names, from 1.

    As in the real set, training and test people are mixed in one row of numbers.
    """
    total = spec.train_identities + spec.test_identities
    return [int(n) + 1 for n in make_rng(spec.seed, Stream.CROP, 1).permutation(total)]


def _file_crops(spec: MarketSpec, crops: list[EncodedCrop]) -> dict[str, dict[str, EncodedCrop]]:
    """Return for each folder the crops by file name."""
    numbers = person_numbers(spec)
    prefixes = {DISTRACTOR: "0000", JUNK: "-1"}
    prefixes |= {identity: f"{number:04d}" for identity, number in enumerate(numbers)}
    by_folder = {
        "bounding_box_train": [c for c in crops if c.split == "train"],
        "bounding_box_test": [c for c in crops if c.split == "test" and c.number != HAND_DRAWN],
        "query": choose_queries(spec, crops),
    }
    for folder, members in by_folder.items():
        if not members:
            raise ValueError(
                f"{folder} of {spec.name} would be empty: the spec has too few frames or people"
            )
    return {
        folder: {f"{prefixes[c.identity]}_{c.stem}.jpg": c for c in members}
        for folder, members in by_folder.items()
    }


def choose_queries(spec: MarketSpec, crops: list[EncodedCrop]) -> list[EncodedCrop]:
    """Choose one hand-drawn box per test identity and camera, ``spec.max_queries`` at most.

    Only identities detected in two cameras are asked for, there and where another camera detected
    them. Of two random boxes the better visible one is taken. Where there are too many, every
    identity loses its last cameras, at random, before any loses its first.
    """
    detected, drawn = defaultdict(set), defaultdict(list)
    for crop in crops:
        if crop.split != "test" or crop.identity < 0:
            continue
        if crop.number == HAND_DRAWN:
            drawn[crop.identity, crop.camera].append(crop)
        else:
            detected[crop.identity].add(crop.camera)
    turns = Counter[int]()
    queries: list[tuple[int, EncodedCrop]] = []
    for identity in sorted(detected):
        rng = make_rng(spec.seed, Stream.CROP, 2, identity)
        for camera in (int(c) for c in rng.permutation(spec.train_cameras)):
            boxes = drawn[identity, camera]
            if not boxes or len(detected[identity]) < 2:
                continue
            some = [boxes[int(k)] for k in rng.permutation(len(boxes))[:2]]
            queries.append((turns[identity], max(some, key=lambda c: c.visible)))
            turns[identity] += 1
    # The sort is stable: within a turn they stay in the order of identities.
    chosen = [crop for _, crop in sorted(queries, key=lambda q: q[0])[: spec.max_queries]]
    return sorted(chosen, key=lambda c: (c.identity, c.camera))


def _write_crops(root: Path, files: dict[str, dict[str, EncodedCrop]]) -> None:
    for folder in FOLDERS:
        (root / folder).mkdir()
        for name, crop in files[folder].items():
            (root / folder / name).write_bytes(crop.jpeg)


def _write_attributes(
    spec: MarketSpec, world: World, files: dict[str, dict[str, EncodedCrop]], path: Path
) -> None:
    """Write the attributes of everybody who has a crop."""
    numbers = person_numbers(spec)
    people = {}
    for split in ("train", "test"):
        crops = files[f"bounding_box_{split}"].values()
        shown = sorted({c.identity for c in crops if c.identity >= 0})
        people[split] = {numbers[i]: world.identity(i) for i in shown}
    write_market_attributes(path, people)


def _digest(files: dict[str, dict[str, EncodedCrop]]) -> str:
    digest = hashlib.sha256()
    for folder in FOLDERS:
        for name, crop in files[folder].items():
            digest.update(f"{folder}/{name} {crop.pixels_sha256}\n".encode())
    return digest.hexdigest()
