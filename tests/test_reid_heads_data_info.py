import runpy
import sys

import pytest
from helpers_crop_layouts import make_market, make_msmt17, write_crops
from helpers_small_sets import make_cuhk02, make_grid, make_ilids, make_prid, make_viper, touch

from reid_heads.data import info


def _cells(text):
    """Map each line's first cell to the others."""
    lines = [line.split("  ") for line in text.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {row[0]: row[1:] for row in rows if row}


@pytest.mark.parametrize("folder", ["", "Market-1501-v15.09.15"])
def test_counts_stand_beside_the_published_numbers(tmp_path, capsys, folder):
    make_market(tmp_path / folder)
    assert info.main(["--dataset", "market1501", "--root", str(tmp_path)]) == 0
    cells = _cells(capsys.readouterr().out)
    assert cells["images"] == ["5", "12,936", "2", "3,368", "4", "15,913", "10", "29,419"]
    assert cells["identities"] == ["3", "751", "2", "750", "3", "751", "5", "1,501"]
    assert cells["cameras"] == ["4", "6", "2", "6", "4", "6", "5", "6"]
    assert "DIFFERS: gallery images: found 4, published 15,913" in cells
    assert sum(line.startswith("DIFFERS") for line in cells) == 12


def test_equal_numbers_are_said_to_be_equal(tmp_path, capsys, monkeypatch):
    make_msmt17(tmp_path / "MSMT17_V1")
    published = {"train": {"images": 2}, "trainval": {"images": 3, "identities": 2, "cameras": 3}}
    monkeypatch.setitem(info.PUBLISHED, "msmt17", published)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    info.main(["--dataset", "msmt17"])
    text = capsys.readouterr().out
    assert text.endswith("All numbers are the published ones.\n")
    assert _cells(text)["images"] == ["2", "2", "3", "3", "1", "-", "2", "-", "6", "-"]


def test_drawn_sets_have_no_published_numbers(tmp_path, capsys):
    make_market(tmp_path / "drawn-market")
    info.main(["--dataset", "drawn_market", "--root", str(tmp_path)])
    text = capsys.readouterr().out
    assert _cells(text)["images"] == ["5", "2", "4", "10"]
    assert "published" not in text


def test_own_folders_and_files(tmp_path, capsys):
    write_crops(tmp_path / "query", ["8_c1.jpg"])
    write_crops(tmp_path / "gallery", ["8_c2.jpg", "9_c2.jpg"])
    assert info.main(["--dataset", str(tmp_path)]) == 0
    assert _cells(capsys.readouterr().out)["images"] == ["1", "2"]
    (tmp_path / "own.csv").write_text(
        "path,person,camera\nquery/8_c1.jpg,8,1\ngallery/8_c2.jpg,8,2\ngallery/9_c2.jpg,9,2\n"
    )
    assert info.main(["--dataset", "own.csv", "--root", str(tmp_path)]) == 0
    cells = _cells(capsys.readouterr().out)
    assert (cells["images"], cells["identities"], cells["cameras"]) == (["3"], ["2"], ["2"])


@pytest.mark.parametrize(
    ("dataset", "root", "message"),
    [
        ("market", ".", "'market' is unknown; choose one of market1501, market1501_500k"),
        ("market1501", "gone", "there is no folder"),
        ("market1501", ".", "bounding_box_train: is the root right"),
        ("empty", ".", "holds no crops"),
    ],
)
def test_bad_input_is_one_line_and_a_status(tmp_path, capsys, dataset, root, message):
    (tmp_path / "empty").mkdir()
    assert info.main(["--dataset", dataset, "--root", str(tmp_path / root)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not captured.out


def test_published_numbers_are_of_sets_and_splits_that_exist():
    for name, splits in info.PUBLISHED.items():
        dataset = info.CROP_DATASETS[name]
        assert set(splits) == {*dataset.train_splits, *dataset.test_splits}
        for numbers in splits.values():
            assert set(numbers) <= {"images", "identities", "cameras"}
    # The training sets' numbers of identities are those that the catalogs give.
    for name, dataset in info.CROP_DATASETS.items():
        for split in dataset.train_splits if name in info.PUBLISHED else ():
            published = dataset.published_identities(split)
            assert info.PUBLISHED[name][split]["identities"] == published


def test_all_images_are_the_sum_of_the_parts():
    for name, splits in info.PUBLISHED.items():
        if {"all", "query", "gallery"} <= set(splits):
            parts = info.CROP_DATASETS[name].combined
            # Market-1501's gallery has 2,798 distractors, of one number.
            images, identities = (2798, 1) if name == "market1501" else (0, 0)
            assert splits["all"]["images"] == sum(splits[part]["images"] for part in parts) - images
            people = splits[parts[0]]["identities"] + splits["gallery"]["identities"]
            assert splits["all"]["identities"] == people - identities


def test_the_module_is_a_program(tmp_path, capsys, monkeypatch):
    make_market(tmp_path)
    command = ["reid_heads.data", "--dataset", "market1501", "--root", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as status:
        runpy.run_module("reid_heads.data", run_name="__main__")
    assert status.value.code == 0
    assert "12,936" in capsys.readouterr().out


SMALL_SETS = {"viper": make_viper, "prid": make_prid, "ilids": make_ilids, "grid": make_grid}


@pytest.mark.parametrize("name", SMALL_SETS)
def test_small_sets_are_counted_by_one_split(tmp_path, capsys, name):
    SMALL_SETS[name](tmp_path)
    assert info.main(["--dataset", name, "--root", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    published = info.PUBLISHED[name]
    query, expected, *_ = _cells(text)["images"]
    assert (query == expected) == (name == "prid")
    assert expected == f"{published['query']['images']:,}"
    last = "This is split 1 of 10; the others have as many images and identities."
    assert text.splitlines()[-1] == last


def test_a_split_with_other_counts_is_named():
    counts = {"query": {"images": 4, "identities": 4, "cameras": 2}}
    other = {"query": {"images": 4, "identities": 3, "cameras": 1}}
    assert info.compare_trials([counts, other, counts]) == (
        "DIFFERS: query identities of split 2: found 3, in split 1 4"
    )


def test_sets_for_training_only_have_one_split(tmp_path, capsys):
    make_cuhk02(tmp_path / "cuhk02")
    touch(tmp_path / "CUHK-SYSU" / "cropped_image", ["p1_n1_s1.png", "p2_n1_s1.png"])
    info.main(["--dataset", "cuhk02", "--root", str(tmp_path)])
    assert _cells(capsys.readouterr().out)["identities"] == ["15", "1,816"]
    info.main(["--dataset", "cuhk_sysu_crops", "--root", str(tmp_path)])
    text = capsys.readouterr().out
    assert _cells(text)["images"] == ["2", "34,574"] and "split 1" not in text
