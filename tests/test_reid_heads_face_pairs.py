"""Pair lists in LFW's format."""

from unicodedata import normalize

import numpy as np
import pytest
from sklearn.model_selection import KFold

from reid_heads.face_pairs import image_stem, read_pairs

LINES = [
    "2\t1",
    "Ann_Lee\t1\t3",
    "Ann_Lee\t2\tBo\t12",
    "Bo\t1\t2",
    "Bo\t1\tCid\t1",
]


@pytest.fixture
def write(tmp_path):
    def write_lines(lines):
        path = tmp_path / "pairs.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write_lines


@pytest.mark.parametrize("is_spaced", [False, True])
def test_folds_of_two_kinds(write, is_spaced):
    pairs = read_pairs(write([line.replace("\t", "  ") if is_spaced else line for line in LINES]))
    assert pairs.first == ("Ann_Lee/Ann_Lee_0001", "Ann_Lee/Ann_Lee_0002", *["Bo/Bo_0001"] * 2)
    assert pairs.second[1:] == ("Bo/Bo_0012", "Bo/Bo_0002", "Cid/Cid_0001")
    assert pairs.is_genuine.tolist() == [True, False, True, False]
    assert pairs.folds.tolist() == [0, 0, 1, 1]
    assert len(pairs.names()) == 7


def test_a_single_number_is_one_fold(write):
    """As in LFW's development lists; names with spaces are kept where tabs part the fields."""
    pairs = read_pairs(write(["1", "Ann Lee\t1\t3", "Ann Lee\t2\tBo\t12", ""]))
    assert pairs.folds.tolist() == [0, 0]
    assert pairs.first[0] == "Ann Lee/Ann Lee_0001"


def test_stems_of_images():
    assert image_stem("lfw/Bo/Bo_0001.jpg") == image_stem("Bo/Bo_0001.png") == "Bo/Bo_0001"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1: expected the number of folds"),
        (["ten 300"], "line 1: expected the number of folds .* got 'ten 300'"),
        (["0 1"], "line 1"),
        (LINES[:-1], "has 3 pairs, but its first line says 2 folds of 1"),
        ([*LINES[:2], "Bo 1 Bo 2", *LINES[3:]], "line 3: a pair of two persons names Bo twice"),
        ([*LINES[:2], "Bo 1 2", *LINES[3:]], "line 3: expected a pair of two persons"),
        ([LINES[0], LINES[2], *LINES[2:]], "line 2: expected a pair of one person"),
        ([LINES[0], "Bo 1", *LINES[2:]], "line 2: expected 'name i j' or .* got 'Bo 1'"),
        ([LINES[0], "Bo 1 two", *LINES[2:]], "line 2: .* got 'Bo 1 two'"),
        ([LINES[0], "Bo 1 -2", *LINES[2:]], "line 2"),
    ],
)
def test_bad_lists(write, lines, message):
    with pytest.raises(ValueError, match=message):
        read_pairs(write(lines))


def test_missing_and_unreadable(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such pair list"):
        read_pairs(tmp_path / "pairs.txt")
    (tmp_path / "pairs.txt").write_bytes(b"\xfa1 1")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        read_pairs(tmp_path / "pairs.txt")


def test_real_file_names_in_place_of_numbers(write):
    lines = ["2\t1", "Ann\ta.jpg\tAnn/b.PNG", "Ann\t1\tBo\tx.y.pgm", *LINES[3:]]
    pairs = read_pairs(write(lines))
    assert pairs.first == ("Ann/a", "Ann/Ann_0001", *["Bo/Bo_0001"] * 2)
    assert pairs.second[:2] == ("Ann/b", "Bo/x.y")


@pytest.mark.parametrize(
    "lines",
    [
        ["ann/1.jpg bo/2.jpg 0", "faces/ann/1.jpg ann/3.png 1"],
        ["ann/1.jpg,bo/2.jpg,0", "", "ann/1.jpg, ann/3.png, 1"],
        ["first\tsecond\tsame", "ann/1.jpg\tbo/2.jpg\t0", "ann\\1.jpg\tann\\3.png\t1"],
        ["0 ann/1.jpg bo/2.jpg", "1 ann/1.jpg ann/3.png"],
    ],
)
def test_lists_of_two_paths_and_whether_they_show_one_person(write, lines):
    pairs = read_pairs(write(lines))
    assert pairs.first == ("ann/1", "ann/1") and pairs.second == ("bo/2", "ann/3")
    assert pairs.is_genuine.tolist() == [False, True]
    assert pairs.folds.tolist() == [0, 1]


def test_pairs_of_paths_are_put_into_ten_folds_as_scikit_learn_does(write):
    pairs = read_pairs(write([f"a/{n}.jpg b/{n}.jpg 0" for n in range(40)]))
    expected = np.empty(40)
    for fold, (_, rows) in enumerate(KFold(10).split(np.zeros(40))):
        expected[rows] = fold
    np.testing.assert_array_equal(pairs.folds, expected)


@pytest.mark.parametrize("line", ["a/1.jpg b/2.jpg 2", "a/1.jpg 1", "a/1.jpg 0 b/2.jpg", "a 1 2"])
def test_a_line_that_is_no_pair_of_paths(write, line):
    with pytest.raises(ValueError, match=rf"line 3: expected two paths .* got '{line}'"):
        read_pairs(write(["a/1.jpg b/2.jpg 0", "", line]))


@pytest.mark.parametrize(
    "line",
    [
        "ann b/1.jpg,bo/2.jpg,True",
        '"ann b/1.jpg","bo/2.jpg",1',
        '"ann b/1.jpg" bo/2.jpg 1.0',
        "1\tann b/1.jpg\tbo/2.jpg",
    ],
)
def test_pairs_of_paths_in_quotes_or_with_other_labels(write, line):
    pairs = read_pairs(write([line, "bo/2.jpg,cid/1.jpg,-1"]))
    assert (pairs.first[0], pairs.second[0]) == ("ann b/1", "bo/2")
    assert pairs.is_genuine.tolist() == [True, False]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["x/ann/1.jpg y/ann/1.jpg 1"], "line 1: x/ann/1 and y/ann/1 are one image by their last"),
        (["x/ann/1.jpg bo/1.jpg 0", "y/ann/1.jpg bo/1.jpg 0"], "line 2: x/ann/1 and y/ann/1 are"),
        (["ann/1.jpg ./ann/1.png 1"], "line 1: the pair is of one image, ann/1.jpg"),
        (["ann/1.jpg bo/1.jpg 0", "bo/1.jpg ann/1.jpg 1"], "line 2: .* said to be 0 and 1"),
    ],
)
def test_pairs_that_compare_something_else_than_they_say(write, lines, message):
    """An image was compared with itself, which is always the same person."""
    with pytest.raises(ValueError, match=message):
        read_pairs(write(lines))


def test_names_are_the_same_however_their_letters_are_composed(write):
    decomposed = normalize("NFD", "Zoë/Zoë_0001.jpg")
    assert image_stem(decomposed) == image_stem(normalize("NFC", decomposed))
    pairs = read_pairs(write(["1", f"{normalize('NFD', 'Zoë')}\t1\t2", "Bo\t1\tCid\t1"]))
    assert pairs.first[0] == image_stem(decomposed)
