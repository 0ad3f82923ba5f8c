"""Wrong labels: how many, to whom, and that both lists load."""

import csv

import numpy as np
import pytest
from PIL import Image

from reid_heads.data.crop_lists import write_crop_list
from reid_heads.data.datasets.own_crops import load_own_crops
from reid_heads.data.label_noise import (
    find_look_alikes,
    flip_labels,
    main,
    read_wrong_labels,
)
from reid_heads.labels import THERMAL, VISIBLE

PIDS = np.repeat(np.arange(5), 8)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.85])
def test_the_share_is_exact_and_everyone_keeps_a_crop(share):
    for seed in range(10):
        noisy = flip_labels(PIDS, share, seed)
        wrong = noisy != PIDS
        assert wrong.sum() == round(share * len(PIDS))
        assert set(PIDS[~wrong]) == set(range(5))
        assert noisy.min() >= 0 and noisy.max() <= 4


def test_uniform_flips_reach_every_other_identity_evenly():
    pids = np.repeat(np.arange(4), 3000)
    noisy = flip_labels(pids, 0.5, 0)
    counts = np.zeros((4, 4))
    np.add.at(counts, (pids[noisy != pids], noisy[noisy != pids]), 1)
    others = counts[~np.eye(4, dtype=bool)]
    # 6000 wrong labels over 12 pairs: 500 each.
    assert np.diag(counts).tolist() == [0, 0, 0, 0]
    assert abs(others - 500).max() < 100


def test_seeds():
    assert (flip_labels(PIDS, 0.4, 1) == flip_labels(PIDS, 0.4, 1)).all()
    assert (flip_labels(PIDS, 0.4, 1) != flip_labels(PIDS, 0.4, 2)).any()


def test_look_alikes_get_the_crops():
    look_alikes = np.array([[1, 2], [0, 2], [3, 4], [4, 2], [3, 2]])
    noisy = flip_labels(PIDS, 0.6, 3, look_alikes)
    assert all(new == old or new in look_alikes[old] for old, new in zip(PIDS, noisy, strict=True))
    assert (noisy != PIDS).sum() == 24


@pytest.mark.parametrize(
    ("pids", "share", "message"),
    [
        (PIDS, 1.0, "0 <= share < 1"),
        (PIDS, -0.1, "0 <= share < 1"),
        (PIDS, 0.9, r"is 36, but each of the 5 identities keeps one: at most 0\.875"),
        (np.zeros(4, int), 0.5, "two at least"),
    ],
)
def test_bad_shares(pids, share, message):
    with pytest.raises(ValueError, match=message):
        flip_labels(pids, share, 0)


COLORS = {1: (200, 0, 0), 2: (0, 200, 0), 3: (190, 0, 10), 4: (0, 190, 10)}


@pytest.fixture
def folder(tmp_path):
    """Four people, the first alike to the third and the second to the fourth, three crops each."""
    for person, color in COLORS.items():
        for n in range(3):
            image = Image.new("RGB", (8, 16), tuple(min(c + n, 255) for c in color))
            image.save(tmp_path / f"{person}_c{n + 1}.png")
    return tmp_path


def test_look_alikes_have_the_nearest_colours(folder):
    # Persons 1, 2, 3, 4 are 0, 1, 2, 3 here.
    crops = load_own_crops(folder, "train")
    assert find_look_alikes(crops, 1).tolist() == [[2], [3], [0], [1]]
    assert find_look_alikes(crops).shape == (4, 3)


def test_the_command_writes_two_lists(folder, tmp_path, capsys, monkeypatch):
    # A list elsewhere may name crops below the data sets' folder.
    monkeypatch.setenv("DETECTRON2_DATASETS", str(folder))
    noisy, truth = tmp_path / "noisy.csv", tmp_path / "elsewhere/truth.csv"
    arguments = ["--dataset", str(folder), "--share", "0.5", "--seed", "3"]
    assert main([*arguments, "--output", str(noisy), "--truth", str(truth)]) == 0
    assert "12 crops of 4 people, 6 wrong labels" in capsys.readouterr().out
    original = load_own_crops(folder, "train")
    assert [c["person_id"] for c in load_own_crops(truth, "train")] == [
        c["person_id"] for c in original
    ]
    wrong = read_wrong_labels(truth)
    for before, after in zip(original, load_own_crops(noisy, "train"), strict=True):
        assert after["file_name"] == before["file_name"]
        assert after["cam_id"] == before["cam_id"]
        assert wrong[after["file_name"]] == (before["person_id"] != after["person_id"])
    assert sum(wrong.values()) == 6
    rows = list(csv.reader(noisy.open()))
    assert rows[0] == ["path", "person", "camera"]
    assert rows[1][0] == "1_c1.png"  # below the list's folder
    assert next(csv.DictReader(truth.open()))["path"] == str(folder / "1_c1.png")


def test_the_command_takes_look_alikes_and_refuses_nonsense(folder, tmp_path, capsys):
    files = ["--output", str(tmp_path / "a.csv"), "--truth", str(tmp_path / "b.csv")]
    start = ["--dataset", str(folder), *files]
    assert main([*start, "--share", "0.25", "--to", "look_alikes"]) == 0
    assert main([*start, "--share", "0.9"]) == 2
    assert "keeps one" in capsys.readouterr().err
    assert main(["--dataset", "nothing", *files, "--share", "0.1"]) == 2
    assert "unknown" in capsys.readouterr().err


def test_lists_keep_modalities(folder, tmp_path):
    crops = load_own_crops(folder, "train")
    for n, crop in enumerate(crops):
        crop["modality"] = (VISIBLE, THERMAL)[n % 2]
    path = tmp_path / "list.csv"
    write_crop_list(path, crops, [c["person_id"] for c in crops])
    again = load_own_crops(path, "train")
    assert [c["modality"] for c in again] == [c["modality"] for c in crops]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": (0, 0, 1, 1)}, "box of the frame"),
        ({"modality": VISIBLE}, "1 of 12 crops have a modality"),
    ],
)
def test_crops_that_a_list_cannot_name(folder, tmp_path, change, message):
    crops = load_own_crops(folder, "train")
    crops[3] = {**crops[3], **change}
    with pytest.raises(ValueError, match=message):
        write_crop_list(tmp_path / "list.csv", crops, [0] * 12)
    assert not (tmp_path / "list.csv").exists()


def test_bad_truth_lists(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="--truth"):
        read_wrong_labels(tmp_path / "none.csv")
    path = tmp_path / "list.csv"
    crops = load_own_crops(folder, "train")
    write_crop_list(path, crops, [0] * 12)
    with pytest.raises(ValueError, match="labeled_as"):
        read_wrong_labels(path)
