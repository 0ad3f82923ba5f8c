import argparse

import pytest
from helpers_layouts import make_cuhk_sysu, make_prw, write_coco_person

from person_search.commands import info as command
from person_search.data import info


def _run(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def _cells(text):
    """Map each line's first cell to the others."""
    lines = [line.split("  ") for line in text.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {row[0]: row[1:] for row in rows if row}


def test_counts_stand_beside_the_published_numbers(tmp_path, capsys):
    make_prw(tmp_path)
    assert _run("--dataset", "prw", "--root", str(tmp_path)) == 0
    cells = _cells(capsys.readouterr().out)
    assert cells["images"] == ["2", "5,704", "5", "6,112"]
    assert cells["boxes"] == ["3", "18,048", "9", "25,062"]
    assert cells["labelled boxes"] == ["2", "14,907", "7", "-"]
    assert cells["identities"] == ["2", "483", "2", "450"]
    assert cells["queries"] == ["0", "-", "2", "2,057"]
    assert "DIFFERS: test queries: found 2, published 2,057" in cells


def test_equal_numbers_are_said_to_be_equal(tmp_path, capsys, monkeypatch):
    make_cuhk_sysu(tmp_path)
    published = {"train": {"images": 2, "boxes": 4, "identities": 2}, "test": {"queries": 3}}
    monkeypatch.setitem(info.PUBLISHED, "cuhk_sysu", published)
    _run("--dataset", "cuhk_sysu", "--root", str(tmp_path))
    assert capsys.readouterr().out.endswith("All numbers are the published ones.\n")


def test_drawn_sets_have_no_published_numbers(tmp_path, capsys, monkeypatch):
    make_cuhk_sysu(tmp_path / "drawn-cuhk")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    _run("--dataset", "drawn_cuhk")
    text = capsys.readouterr().out
    assert _cells(text)["images"] == ["2", "4"]
    assert "published" not in text


def test_a_json_file_is_one_split(tmp_path, capsys):
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(3)]
    annotations = [
        {"id": n, "image_id": n, "bbox": [1, 1, 9, 9], "category_id": 1, "person_id": n // 2}
        for n in range(3)
    ]
    path = write_coco_person(tmp_path, images, annotations)
    _run("--dataset", str(path))
    cells = _cells(capsys.readouterr().out)
    assert (cells["images"], cells["identities"], cells["queries"]) == (["3"], ["2"], ["1"])


def test_unknown_and_missing_data_sets_are_named(tmp_path):
    with pytest.raises(ValueError, match="'market' is unknown; choose one of cuhk_sysu, prw"):
        _run("--dataset", "market")
    with pytest.raises(FileNotFoundError, match=r"no folder .*gone"):
        _run("--dataset", "prw", "--root", str(tmp_path / "gone"))


def test_long_tails(tmp_path, capsys):
    make_prw(tmp_path)
    _run("--dataset", "prw", "--root", str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    # In the test frames person 30 has four boxes, 40 three: 4 / 7 = 57.1 %.
    assert (
        "test: 3 to 4 boxes per identity, median 3.5; the most frequent tenth has 57.1% of the "
        "labelled boxes"
    ) in lines
    assert sum(line.startswith("train: 1 to 1 boxes per identity, median 1;") for line in lines)


def test_the_most_frequent_tenth():
    # 11 identities: the tenth is two of them. 10 + 4 of 10 + 4 + 9 boxes = 60.9 %.
    pids = [*[0] * 10, *[1] * 4, *range(2, 11), -1]
    dicts = [{"annotations": [{"person_id": pid}]} for pid in pids]
    assert info.describe_tail(dicts) == (
        "1 to 10 boxes per identity, median 1; the most frequent tenth has 60.9% of the labelled "
        "boxes"
    )
    assert info.describe_tail(dicts[-1:]) == "nobody has an identity"
    assert info.describe_tail([]) == "nobody has an identity"
