"""CUHK-SYSU (Xiao et al., CVPR 2017) in its official layout, and its search protocol.

The rules follow the authors' evaluation code (psdb). Boxes on disk are (x, y, w, h) in original
pixels, x2 = x + w.
"""

from pathlib import Path
from typing import Any

import numpy as np

from person_search.data.cuhk_sysu_files import (
    Label,
    Search,
    assign_pids,
    read_images,
    read_pool,
    read_searches,
    read_train_labels,
)
from person_search.data.frames import (
    Frame,
    Query,
    build_dataset_dicts,
    check_query_frames,
    check_split,
)
from person_search.data.protocol import SearchProtocol
from reid_heads.listed_files import check_listed

FULL_GALLERY = -1
_SUBSETS = {
    "occlusion": ("Occlusion.mat", "Occlusion1"),
    "resolution": ("Resolution.mat", "Test_Size"),
}
_SUBSET_GALLERY_SIZE = 100


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
    boxes = read_images(root)
    pool = read_pool(root, boxes)
    queries = None
    if split == "train":
        names = sorted(set(boxes) - set(pool))
        source = _test_folder(root) / "Train.mat"
        pids = assign_pids(boxes, read_train_labels(source), source)
    else:
        names = pool
        source, searches = _read_reference(root)
        identities = _number_people(searches)
        pids = assign_pids(boxes, _get_test_labels(searches, identities), source)
        queries = _get_queries(searches, identities)
    for name in names:
        check_listed(name, root / "Image" / "SSM", str(source))
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
            official set (4000: about 5 GB of memory, a minute), or -1 for the full set: the
            protocol's 50 frames and all other frames of the pool but the query's.
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
    boxes = read_images(root)
    pool = read_pool(root, boxes)
    reference_path, reference = _read_reference(root)
    identities = _number_people(reference)
    pids = assign_pids(boxes, _get_test_labels(reference, identities), reference_path)
    searches = reference if path == reference_path else read_searches(path, key)
    for search in searches:  # a subset may hold people that the reference does not
        identities.setdefault(search.person, len(identities))
    queries = _get_queries(searches, identities)
    check_query_frames(queries, pool, path)
    rows = {frame: row for row, frame in enumerate(pool)}
    query_frames = np.array([rows[query.frame] for query in queries], dtype=np.int64)
    gallery_mask = _build_gallery_mask(searches, rows, path)
    if gallery_size == FULL_GALLERY:
        _add_other_frames(gallery_mask, query_frames)
    return SearchProtocol(
        name=f"{title}, {name}",
        frame_names=tuple(pool),
        frame_boxes=tuple(boxes[frame].astype(np.float32) for frame in pool),
        frame_pids=tuple(pids[frame] for frame in pool),
        query_frames=query_frames,
        query_boxes=np.array([query.box for query in queries], dtype=np.float32).reshape(-1, 4),
        query_pids=np.array([query.pid for query in queries], dtype=np.int64),
        gallery_mask=gallery_mask,
        **_list_true_rows(searches, rows),
    )


def _list_true_rows(searches: list[Search], rows: dict[str, int]) -> dict[str, np.ndarray]:
    """Return the protocol's three arrays of true people."""
    frames = [rows[frame] for search in searches for frame in search.true_names]
    boxes = [np.zeros((0, 4)), *(search.true_boxes for search in searches)]
    counts = [len(search.true_names) for search in searches]
    return {
        "true_queries": np.repeat(np.arange(len(searches), dtype=np.int64), counts),
        "true_frames": np.array(frames, dtype=np.int64),
        "true_boxes": np.concatenate(boxes).astype(np.float32),
    }


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


def _read_reference(root: Path) -> tuple[Path, list[Search]]:
    path, key = _find_reference(root)
    return path, read_searches(path, key)


def _number_people(searches: list[Search]) -> dict[str, int]:
    """Number the queries' people from 0; in the official set this is the query's row."""
    identities: dict[str, int] = {}
    for search in searches:
        identities.setdefault(search.person, len(identities))
    return identities


def _get_queries(searches: list[Search], identities: dict[str, int]) -> list[Query]:
    return [
        Query(search.query_name, search.query_box, identities[search.person]) for search in searches
    ]


def _get_test_labels(searches: list[Search], identities: dict[str, int]) -> list[Label]:
    labels = []
    for search in searches:
        pid = identities[search.person]
        labels.append((search.query_name, search.query_box, pid))
        for name, box in zip(search.true_names, search.true_boxes, strict=True):
            labels.append((name, box, pid))
    return labels


def _build_gallery_mask(searches: list[Search], rows: dict[str, int], path: Path) -> np.ndarray:
    """Mark the listed gallery frames: (Q, F) bool."""
    mask = np.zeros((len(searches), len(rows)), dtype=bool)
    for row, search in enumerate(searches):
        try:
            mask[row, [rows[name] for name in search.gallery_names]] = True
        except KeyError as error:
            raise ValueError(
                f"{path}: the gallery of query {row} lists the frame {error}, which is not in "
                "annotation/pool.mat"
            ) from None
    return mask


def _add_other_frames(mask: np.ndarray, query_frames: np.ndarray) -> None:
    """Mark, in place, every frame but the query's own, which is searched only where it is listed.

    psdb counts the query's frame as tested before it goes through the rest of the pool.
    """
    own = np.arange(len(mask)), query_frames
    is_listed = mask[own]
    mask[:] = True
    mask[own] = is_listed
