"""Write tiny data sets in the official on-disk layouts, with the nesting and the types of the real
files."""

import json
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

IMAGE_SIZE = (64, 48)


def write_image(path, size=IMAGE_SIZE):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path)


def struct_array(fields, rows):
    """A (1, N) struct array; the values are stored as they are."""
    array = np.empty((1, len(rows)), dtype=[(name, "O") for name in fields])
    for position, row in enumerate(rows):
        array[0, position] = tuple(row)
    return array


def cell_array(items):
    """An (N, 1) cell array."""
    array = np.empty((len(items), 1), dtype=object)
    for position, item in enumerate(items):
        array[position, 0] = item
    return array


def box_array(box):
    """A (1, 4) array in the smallest of uint8, uint16 and int16 that holds the numbers, as MATLAB
    saved them."""
    if box is None:
        return np.zeros((1, 0))
    kinds = (np.uint8, np.uint16, np.int16)
    kind = next(k for k in kinds if np.iinfo(k).min <= min(box) and max(box) <= np.iinfo(k).max)
    return np.array([box], dtype=kind)


def _places(rows):
    """Rows of (frame, box xywh or None) as the struct of Gallery and scene."""
    hard = np.zeros((1, 1), dtype=np.uint8)
    return struct_array(
        ["imname", "idlocate", "ishard"], [(name, box_array(box), hard) for name, box in rows]
    )


def search_struct(searches):
    """Rows of (query frame, query box, person name, gallery places) as the struct of TestG*.mat."""
    hard = np.zeros((1, 1), dtype=np.uint8)
    return struct_array(
        ["Query", "Gallery"],
        [
            (
                struct_array(
                    ["imname", "idlocate", "ishard", "idname"],
                    [(frame, box_array(box), hard, person)],
                ),
                _places(gallery),
            )
            for frame, box, person, gallery in searches
        ],
    )


def save_mat(path, **variables):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, variables, do_compression=True)


def write_cuhk_sysu(root, people, pool, train, searches, subsets=None, size=IMAGE_SIZE):
    """Write a set in CUHK-SYSU's layout; all boxes are (x, y, w, h).

    people: frame name to its boxes. pool: the test frames. train: one list of (frame, box) a
    training person. searches: gallery size to rows of (query frame, query box, person name,
    [(frame, box or None)]). subsets: the same for "occlusion" and "resolution".
    """
    annotation = Path(root) / "annotation"
    for name in people:
        write_image(Path(root) / "Image" / "SSM" / name, size)
    rows = []
    for name, boxes in people.items():
        places = [(box_array(box), np.zeros((1, 1), np.uint8)) for box in boxes]
        rows.append(
            (name, np.array([[len(boxes)]], np.uint8), struct_array(["idlocate", "ishard"], places))
        )
    save_mat(annotation / "Images.mat", Img=struct_array(["imname", "nAppear", "box"], rows))
    save_mat(annotation / "pool.mat", pool=cell_array(pool))
    items = [
        struct_array(
            ["idname", "nAppear", "scene"],
            [(f"p{number}", np.array([[len(scenes)]], np.uint8), _places(scenes))],
        )
        for number, scenes in enumerate(train)
    ]
    folder = annotation / "test" / "train_test"
    save_mat(folder / "Train.mat", Train=cell_array(items))
    for gallery_size, rows in searches.items():
        name = f"TestG{gallery_size}"
        save_mat(folder / f"{name}.mat", **{name: search_struct(rows)})
    files = {"occlusion": ("Occlusion", "Occlusion1"), "resolution": ("Resolution", "Test_Size")}
    for subset, rows in (subsets or {}).items():
        file, key = files[subset]
        save_mat(annotation / "test" / "subset" / f"{file}.mat", **{key: search_struct(rows)})
    return Path(root)


def write_prw(root, frames, train, test, queries, train_ids, test_ids, line_end="\r\n", keys=None):
    """Write a set in PRW's layout.

    frames: frame name without .jpg to rows of (id, x, y, w, h). queries: rows of (id, x, y, w, h,
    frame). keys: frame name to its annotation key, where it is not box_new.
    """
    root = Path(root)
    for name, rows in frames.items():
        write_image(root / "frames" / f"{name}.jpg")
        table = np.array(rows, dtype=np.float64).reshape(-1, 5)
        save_mat(
            root / "annotations" / f"{name}.jpg.mat", **{(keys or {}).get(name, "box_new"): table}
        )
    save_mat(root / "frame_train.mat", img_index_train=cell_array(train))
    save_mat(root / "frame_test.mat", img_index_test=cell_array(test))
    save_mat(root / "ID_train.mat", ID_train=np.array([train_ids], dtype=np.float64))
    save_mat(root / "ID_test.mat", ID_test2=np.array([test_ids], dtype=np.float64))
    text = line_end.join(" ".join(str(field) for field in row) for row in queries) + line_end
    (root / "query_info.txt").write_bytes(text.encode())
    return root


def write_coco_person(folder, images, annotations, queries=None, size=IMAGE_SIZE):
    """Write a COCO JSON file and its images; returns the path of the file."""
    folder = Path(folder)
    for image in images:
        write_image(folder / image["file_name"], size)
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    if queries is not None:
        content["queries"] = queries
    path = folder / "people.json"
    path.write_text(json.dumps(content))
    return path


def make_cuhk_sysu(root):
    """A set of two training and four test frames, with three test people.

    Its boxes are such that every rule matters: x + w beyond 255, an empty box, a repeated frame, a
    box without width.
    """
    people = {
        "s4.jpg": [(200, 5, 100, 40), (10, 10, 8, 20)],
        "s1.jpg": [(1, 2, 10, 20), (30, 2, 10, 20), (30, 2, 10, 20)],
        "s3.jpg": [(5, 6, 10, 20), (40, 1, 0, 9)],
        "s2.jpg": [(2, 2, 12, 30)],
        "s6.jpg": [(250, 100, 40, 90), (20, 30, 10, 25)],
        "s5.jpg": [(300, 20, 40, 90)],
    }
    pool = ["s6.jpg", "s3.jpg", "s5.jpg", "s4.jpg"]
    train = [[("s2.jpg", (2, 2, 12, 30))], [("s1.jpg", (30, 2, 10, 20)), ("s2.jpg", (9, 9, 9, 9))]]
    g50 = [
        ("s6.jpg", (250, 100, 40, 90), "p7", [("s5.jpg", (300, 20, 40, 90)), ("s3.jpg", None)]),
        ("s3.jpg", (5, 6, 10, 20), "p8", [("s4.jpg", (10, 10, 8, 20))]),
        ("s6.jpg", (20, 30, 10, 25), "p9", [("s5.jpg", None)]),
    ]
    g100 = [
        (*g50[0][:3], [*g50[0][3], ("s4.jpg", None)]),
        (*g50[1][:3], [("s4.jpg", (10, 10, 8, 20)), ("s5.jpg", None), ("s4.jpg", (10, 10, 8, 20))]),
        # As the official queries 493 and 2132: the query's own frame is listed.
        (*g50[2][:3], [("s6.jpg", (20, 30, 10, 25)), ("s5.jpg", None)]),
    ]
    subsets = {"occlusion": [g100[1]], "resolution": [g100[2], g100[0]]}
    return write_cuhk_sysu(
        root, people, pool, train, {50: g50, 100: g100}, subsets, size=(400, 200)
    )


def make_prw(root, line_end="\r\n"):
    """A set of two training and five test frames of two cameras, with two test people, 30 and
    40."""
    frames = {
        "c1s1_000001": [(5, 1, 1, 10, 20), (932, 20, 1, 10, 20)],
        "c2s1_000002": [(-2, 1.9, 1.2, 10.6, 20.1)],
        "c1s1_000011": [(30, -3.5, 2, 10.7, 20), (40, 20, 2, 10, 20)],
        "c1s1_000012": [(30, 5.6, 2.6, 10.6, 20.6), (30, 30, 2, 10, 20), (5, 1, 1, 5, 9)],
        "c2s1_000013": [(40, 1, 2, 10, 20), (30, 20, 2, 10, 20), (-2, 40, 2, 10, 20)],
        "c2s1_000014": [(40, 1, 2, 10, 20)],
        "c2s1_000015": [],
    }
    queries = [
        (30, -3.5, 2.0, 10.7, 20.0, "c1s1_000011"),
        (40, 1, 2, 10, 20, "c2s1_000013"),
    ]
    return write_prw(
        root,
        frames,
        train=["c1s1_000001", "c2s1_000002"],
        test=["c1s1_000011", "c1s1_000012", "c2s1_000013", "c2s1_000014", "c2s1_000015"],
        queries=queries,
        train_ids=[5, 932],
        test_ids=[30, 40],
        line_end=line_end,
        keys={"c1s1_000001": "anno_file", "c2s1_000002": "anno_previous"},
    )
