"""Write a drawn world in the layout of CUHK-SYSU: its loader and protocols run on it.

Layout (research notes 3.1): ``Image/SSM/s*.jpg``, ``annotation/{Images,pool}.mat`` and
``annotation/test/{train_test,subset}/*.mat``. Boxes are (x, y, w, h) in the smallest unsigned type
that holds them, as MATLAB saved the real ones: uint8 where all four fit, else uint16.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.io import savemat

from person_search.synthetic.output_folder import (
    ALL_SPLITS,
    WrittenFrame,
    is_already_drawn,
    staged_folder,
    write_frames,
    write_record,
)
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.world import DrawnPerson
from person_search.synthetic.world_spec import WorldSpec

logger = logging.getLogger(__name__)

LAYOUT = "CUHK-SYSU"
GALLERY_SIZES = (50, 100, 200, 500, 1000, 2000, 4000)
MAX_TRUE_FRAMES = 40
"""Most frames of the queried person in one gallery, so that a frequent one leaves others room in
the smallest; the frames left over are in no gallery of that query."""
HARD_BELOW = 0.8
"""A person less visible than this is marked as hard."""

Appearance = tuple[WrittenFrame, DrawnPerson]


def write_cuhk_sysu(
    spec: WorldSpec,
    root: str | Path,
    processes: int = 1,
    splits: Sequence[str] = ALL_SPLITS,
) -> Path:
    """Draw a world into ``root``; do nothing when it is there already.

    Args:
        spec: The world.
        root: Folder to make; the one that then contains ``Image/`` and ``annotation/``.
        processes: How many to draw with.
        splits: What to draw; ``("test",)`` leaves the training frames out.

    Returns:
        ``root``.

    Raises:
        FileExistsError: ``root`` holds something else.
        OSError: It cannot be written; nothing half-written stays.
    """
    root = Path(root)
    if is_already_drawn(spec, LAYOUT, root, splits):
        logger.info("%s is already drawn in %s", spec.name, root)
        return root
    with staged_folder(root) as staging:
        images = staging / "Image" / "SSM"
        images.mkdir(parents=True)
        frames = write_frames(
            spec, images, lambda plan: f"s{plan.index + 1}.jpg", processes, splits
        )
        _write_annotations(spec, frames, staging / "annotation")
        write_record(spec, LAYOUT, staging, frames, splits)
    return root


def _write_annotations(spec: WorldSpec, frames: list[WrittenFrame], folder: Path) -> None:
    protocols, subsets = folder / "test" / "train_test", folder / "test" / "subset"
    protocols.mkdir(parents=True)
    subsets.mkdir()
    train = [f for f in frames if f.plan.split == "train"]
    test = [f for f in frames if f.plan.split == "test"]
    savemat(folder / "Images.mat", {"Img": _images_struct(frames)}, do_compression=True)
    savemat(folder / "pool.mat", {"pool": _cell_column([np.array([f.name]) for f in test])})
    savemat(protocols / "Train.mat", {"Train": _train_cell(train)}, do_compression=True)
    appearances = _appearances(test)
    queries = choose_queries(spec, appearances)
    for size in GALLERY_SIZES:
        # Loaders take identities from TestG50, and 100 is the default size: both always exist.
        if size <= 100 or size < len(test):
            table = _protocol_struct(spec, queries, appearances, test, size)
            savemat(protocols / f"TestG{size}.mat", {f"TestG{size}": table}, do_compression=True)
    size = min(100, len(test) - 1)
    hidden = hardest_tenth(queries, lambda person: person.visible)
    table = _protocol_struct(spec, hidden, appearances, test, size, has_occlusion=True)
    savemat(subsets / "Occlusion.mat", {"Occlusion1": table}, do_compression=True)
    small = hardest_tenth(queries, lambda person: person.box[3])
    table = _protocol_struct(spec, small, appearances, test, size)
    savemat(subsets / "Resolution.mat", {"Test_Size": table}, do_compression=True)


def _appearances(frames: list[WrittenFrame]) -> dict[int, list[Appearance]]:
    found: dict[int, list[Appearance]] = defaultdict(list)
    for frame in frames:
        for person in frame.people:
            if person.identity >= 0:
                found[person.identity].append((frame, person))
    return found


def choose_queries(spec: WorldSpec, appearances: dict[int, list[Appearance]]) -> list[Appearance]:
    """Choose at most one query per test identity: the best visible of three random appearances.

    Only identities with another frame to be found in are asked for.

    Args:
        spec: The world.
        appearances: All appearances of each test identity.
    """
    queries = []
    for identity in sorted(appearances):
        shown = appearances[identity]
        if len(shown) < 2:
            continue
        rng = make_rng(spec.seed, Stream.PROTOCOL, identity)
        some = [shown[int(k)] for k in rng.permutation(len(shown))[:3]]
        queries.append(max(some, key=lambda a: a[1].visible))
    return queries[: spec.max_queries]


def hardest_tenth(
    queries: list[Appearance], ease: Callable[[DrawnPerson], float]
) -> list[Appearance]:
    """Return the tenth of the queries, at least one, where ``ease`` is least, in their order.

    CUHK-SYSU's low-resolution subset is a tenth of its queries too.
    """
    ranked = sorted(range(len(queries)), key=lambda k: ease(queries[k][1]))
    return [queries[k] for k in sorted(ranked[: max(1, len(queries) // 10)])]


def gallery_of(
    spec: WorldSpec, query: Appearance, appearances: dict[int, list[Appearance]],
    frames: list[WrittenFrame], size: int,
) -> list[tuple[WrittenFrame, DrawnPerson | None]]:  # fmt: skip
    """Return a query's gallery: frames of that person, then others; never the query's own.

    Galleries of different sizes are nested, as are the real ones.
    """
    frame, person = query
    rng = make_rng(spec.seed, Stream.PROTOCOL, person.identity, frame.plan.index)
    found = [a for a in appearances[person.identity] if a[0].name != frame.name]
    true = [found[int(k)] for k in rng.permutation(len(found))[: min(MAX_TRUE_FRAMES, size)]]
    shown = {a[0].name for a in appearances[person.identity]}
    others = [f for f in frames if f.name not in shown]
    order = rng.permutation(len(others))[: max(0, size - len(true))]
    return [*true, *((others[int(k)], None) for k in order)]


def _protocol_struct(
    spec: WorldSpec, queries: list[Appearance], appearances: dict[int, list[Appearance]],
    frames: list[WrittenFrame], size: int, has_occlusion: bool = False,
) -> np.ndarray:  # fmt: skip
    names = ["Query", "Gallery", *(["occlusion"] if has_occlusion else [])]
    table = np.empty((1, len(queries)), [(name, object) for name in names])
    for k, (frame, person) in enumerate(queries):
        query = _struct(("imname", "idlocate", "ishard", "idname"), 1)
        query[0, 0] = (frame.name, _box(person), _hard(person), f"p{person.identity + 1:05d}")
        gallery = gallery_of(spec, (frame, person), appearances, frames, size)
        rows = _struct(("imname", "idlocate", "ishard"), len(gallery))
        for j, (other, match) in enumerate(gallery):
            rows[0, j] = (other.name, _box(match), _hard(match))
        table["Query"][0, k], table["Gallery"][0, k] = query, rows
        if has_occlusion:
            table["occlusion"][0, k] = np.array([[1.0 - person.visible]])
    return table


def _images_struct(frames: list[WrittenFrame]) -> np.ndarray:
    table = _struct(("imname", "nAppear", "box"), len(frames))
    for k, frame in enumerate(frames):
        boxes = _struct(("idlocate", "ishard"), len(frame.people))
        for j, person in enumerate(frame.people):
            boxes[0, j] = (_box(person), _hard(person))
        table[0, k] = (frame.name, np.array([[len(frame.people)]], np.uint8), boxes)
    return table


def _train_cell(frames: list[WrittenFrame]) -> np.ndarray:
    items = []
    for identity, shown in sorted(_appearances(frames).items()):
        scenes = _struct(("imname", "idlocate", "ishard"), len(shown))
        for j, (frame, person) in enumerate(shown):
            scenes[0, j] = (frame.name, _box(person), _hard(person))
        item = _struct(("idname", "nAppear", "scene"), 1)
        item[0, 0] = (f"p{identity + 1:05d}", np.array([[len(shown)]], np.uint16), scenes)
        items.append(item)
    return _cell_column(items)


def _struct(fields: tuple[str, ...], count: int) -> np.ndarray:
    return np.empty((1, count), [(name, object) for name in fields])


def _cell_column(items: list[np.ndarray]) -> np.ndarray:
    cell = np.empty((len(items), 1), object)
    for k, item in enumerate(items):
        cell[k, 0] = item
    return cell


def _box(person: DrawnPerson | None) -> np.ndarray:
    if person is None:
        return np.zeros((1, 0))
    return np.array([person.box], np.uint8 if max(person.box) < 256 else np.uint16)


def _hard(person: DrawnPerson | None) -> np.ndarray:
    if person is None:
        return np.zeros((1, 0))
    return np.array([[person.visible < HARD_BELOW]], np.uint8)
