"""Write tiny sets of crops in the official on-disk layouts, with the nesting and the types of the
real files."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image

CROP_SIZE = (4, 8)

MARKET_FILES = {
    "bounding_box_train": [
        "0002_c1s1_000451_03.jpg",
        "0002_c2s1_000451_01.jpg",
        "0011_c1s2_000100_01.jpg",
        "0011_c6s2_000100_01.jpg",
        "0007_c3s3_077419_03.jpg",
    ],
    "query": ["0001_c1s1_001051_00.jpg", "0003_c2s1_001051_00.jpg"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg",
        "0000_c1s1_000151_01.jpg",
        "0001_c2s1_001051_01.jpg",
        "0003_c3s1_001051_01.jpg",
        "0003_c4s1_001051_02.jpg",
    ],
}

MARKET_UPPER = ["black", "white", "red", "purple", "yellow", "gray", "blue", "green"]
MARKET_LOWER = ["black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown"]
MARKET_FLAGS = [f"up{colour}" for colour in MARKET_UPPER]
MARKET_FLAGS += [f"down{colour}" for colour in MARKET_LOWER]
MARKET_PLAIN = ["gender", "hair", "up", "down", "clothes", "hat", "backpack", "bag", "handbag"]
MARKET_PLAIN += ["age"]
DUKE_UPPER = ["black", "white", "red", "purple", "gray", "blue", "green", "brown"]
DUKE_LOWER = ["black", "white", "red", "gray", "blue", "green", "brown"]
DUKE_FLAGS = [f"up{colour}" for colour in DUKE_UPPER]
DUKE_FLAGS += [f"down{colour}" for colour in DUKE_LOWER]
DUKE_PLAIN = ["gender", "top", "boots", "hat", "backpack", "bag", "handbag", "shoes"]


def write_crops(folder, names):
    """Write one small image a name."""
    for name in names:
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", CROP_SIZE, (90, 120, 150)).save(path)


def make_market(root):
    """Training persons 2, 7, 11; test persons 1 and 3, a distractor and junk."""
    for folder, names in MARKET_FILES.items():
        write_crops(Path(root) / folder, names)
        (Path(root) / folder / "Thumbs.db").write_bytes(b"no image")
    return Path(root)


def make_duke(root):
    """Training persons 1 and 8; test person 5, and person 9 in the gallery only."""
    write_crops(Path(root) / "bounding_box_train", ["0001_c2_f0046182.jpg", "0008_c8_f0046985.jpg"])
    write_crops(Path(root) / "query", ["0005_c2_f0046985.jpg"])
    write_crops(Path(root) / "bounding_box_test", ["0005_c5_f0051341.jpg", "0009_c7_f0051342.jpg"])
    return Path(root)


def attribute_fields(pids, plain, flags, order=1, **values):
    """Fields of an attribute struct: all values 1 but those given, a list of one value a person.

    ``order`` -1 turns the order of the fields round.
    """
    fields = {name: np.ones((1, len(pids)), dtype=np.uint8) for name in [*plain, *flags][::order]}
    for name, column in values.items():
        fields[name] = np.array([column], dtype=np.uint8)
    index = np.empty((1, len(pids)), dtype=object)
    index[0] = [f"{pid:04d}" for pid in pids]
    fields["image_index"] = index
    return fields


def write_attributes(path, train, test):
    """Write an attribute file; its variable has the file's name."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {Path(path).stem: {"train": train, "test": test}})


def write_market_attributes(path, train_pids=(2, 7, 11), test_pids=(1, 3)):
    """Person number n of a part has the upper colour n and the lower colour n + 1, from black."""

    def fields(pids, order):
        colours = {}
        for side, first in (("up", 0), ("down", 1)):
            names = [name for name in MARKET_FLAGS if name.startswith(side)]
            for row in range(len(pids)):
                column = np.ones(len(pids), dtype=np.uint8)
                column[row] = 2
                colours[names[first + row]] = column
        return attribute_fields(pids, MARKET_PLAIN, MARKET_FLAGS, order, **colours)

    write_attributes(path, fields(train_pids, 1), fields(test_pids, -1))


MSMT17_LISTS = {
    "train": [
        "0000/0000_000_01_0303morning_0015_0.jpg 0",
        "0001/0001_000_15_0303noon_0001_1.jpg 1",
    ],
    "val": ["0000/0000_001_05_0303morning_0020_0.jpg 0"],
    "query": ["0000/0000_000_02_0303morning_0015_0.jpg 0"],
    "gallery": [
        "0000/0000_001_03_0303morning_0016_0.jpg 0",
        "0001/0001_000_04_0303noon_0001_0.jpg 1",
    ],
}


def make_msmt17(root, version="V1"):
    folders = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}[version]
    for split, lines in MSMT17_LISTS.items():
        folder = folders[split in ("query", "gallery")]
        write_crops(Path(root) / folder, [line.split()[0] for line in lines])
        (Path(root) / f"list_{split}.txt").write_text("\n".join(lines) + "\n")
    return Path(root)


def make_cuhk03_np(root):
    """Training persons 2 and 4; labeled as PNG, detected as JPEG."""
    for boxes, suffix in (("labeled", "png"), ("detected", "jpg")):
        folder = Path(root) / boxes
        names = ["0002_c1_1", "0002_c2_6", "0004_c1_10"]
        names += ["0004_c2_7"] if boxes == "detected" else []
        write_crops(folder / "bounding_box_train", [f"{name}.{suffix}" for name in names])
        write_crops(folder / "query", [f"0001_c1_1.{suffix}", f"0001_c2_6.{suffix}"])
        write_crops(folder / "bounding_box_test", [f"0001_c1_2.{suffix}", f"0001_c2_7.{suffix}"])
    return Path(root)


# Camera pair and person to the numbers (1..10) of its images; the first five are of camera 1.
CUHK03_PEOPLE = {(1, 1): (1, 2, 6, 7), (1, 2): (1, 6), (2, 1): (3, 10), (2, 2): (5, 9)}
CUHK03_TEST_SETS = [[(1, 1)], [(1, 2), (2, 1)]]


def cuhk03_image(pair, person, number):
    """The image of a person, (H, W, 3) uint8, which differs from all others and in all corners."""
    image = np.zeros((6, 4, 3), dtype=np.uint8)
    image[0, 0], image[-1, 0], image[0, -1] = (pair, person, number), (200, 0, 0), (0, 0, 100)
    return image


def cuhk03_name(pair, person, number):
    return f"{pair}_{person:03d}_{1 if number <= 5 else 2}_{number:02d}.png"


def make_cuhk03_release(root):
    """Write cuhk-03.mat and the lists of the new protocol, in which person (1, 1) is the test's."""
    Path(root).mkdir(parents=True, exist_ok=True)
    write_cuhk03_mat(Path(root) / "cuhk-03.mat")
    for boxes in ("labeled", "detected"):
        write_cuhk03_config(Path(root) / f"cuhk03_new_protocol_config_{boxes}.mat")
    return Path(root)


def write_cuhk03_config(path, **changes):
    """Persons are numbered from 1; changes replace variables."""
    people = enumerate(CUHK03_PEOPLE.items(), start=1)
    rows = [(label, (*key, n)) for label, (key, numbers) in people for n in numbers]
    names = np.empty((len(rows), 1), dtype=object)
    names[:, 0] = [cuhk03_name(*image) for _, image in rows]
    content = {
        "filelist": names,
        "labels": np.array([[label] for label, _ in rows], dtype=np.uint16),
        "camId": np.array([[1 if image[2] <= 5 else 2] for _, image in rows], dtype=np.uint8),
        "query_idx": np.array([[1], [3]], dtype=np.uint16),
        "gallery_idx": np.array([[2], [4]], dtype=np.uint16),
        "train_idx": np.array([[row] for row in range(5, len(rows) + 1)], dtype=np.uint16),
    }
    scipy.io.savemat(path, {**content, **changes})


def write_cuhk03_mat(path):
    """Write the HDF5 file as MATLAB does: cells of references, all axes reversed."""
    with h5py.File(path, "w") as file:

        def store(data):
            return file.create_dataset(f"#refs#/{len(file.require_group('#refs#'))}", data=data).ref

        def store_cell(name, rows):
            cell = np.array(rows, dtype=h5py.ref_dtype).T
            return file.create_dataset(name, data=cell, dtype=h5py.ref_dtype).ref

        for boxes in ("labeled", "detected"):
            pairs = []
            for pair in (1, 2):
                people = [key for key in CUHK03_PEOPLE if key[0] == pair]
                cells = [
                    [
                        store(cuhk03_image(*key, number).T)
                        if number in CUHK03_PEOPLE[key]
                        else store(np.zeros(2, dtype=np.uint64))
                        for number in range(1, 11)
                    ]
                    for key in people
                ]
                name = f"#refs#/{len(file['#refs#'])}"
                pairs.append([store_cell(name, cells)])
            store_cell(boxes, pairs)
        test_sets = [[store(np.array(people, dtype=np.float64).T)] for people in CUHK03_TEST_SETS]
        store_cell("testsets", test_sets)
