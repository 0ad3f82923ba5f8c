"""The file of enrolled people."""

import numpy as np
import pytest

from reid_heads.faces.people_file import EnrolledPeople, load_people, save_people

ROWS = np.eye(3, 4, dtype=np.float32)
PEOPLE = EnrolledPeople(("Ann Lee", "Bo", "Zoë"), ROWS, "d1" * 32)


def test_people_come_back(tmp_path):
    path = tmp_path / "deep" / "people.npz"
    save_people(path, PEOPLE)
    again = load_people(path, "d1" * 32, 4)
    assert again.names == PEOPLE.names and again.model_digest == PEOPLE.model_digest
    assert again.embeddings.dtype == np.float32
    np.testing.assert_array_equal(again.embeddings, ROWS)
    # Personal data are for their owner alone.
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        (("a", "a", "b"), ROWS, "got one twice"),
        (("a", "", "b"), ROWS, "or an empty one"),
        (("a", "nobody", "b"), ROWS, "a person is called 'nobody'"),
        (("a", "b"), ROWS, "got 3 embeddings of 2 names"),
        (("a", "b", "c"), 2 * ROWS, "that of 'a' has norm 2, expected 1"),
        (("a", "b", "c"), ROWS * np.nan, "embeddings: NaN or infinity"),
        ((), ROWS[:0], "at least one of each"),
    ],
)
def test_impossible_people_are_refused(names, rows, message):
    with pytest.raises(ValueError, match=message):
        EnrolledPeople(names, rows, "d")


def test_another_model_is_refused(tmp_path):
    path = tmp_path / "people.npz"
    save_people(path, PEOPLE)
    with pytest.raises(ValueError, match=r"another model: its digest is d1d1d1d1d1d1 .* e2e2"):
        load_people(path, "e2" * 32, 4)
    with pytest.raises(ValueError, match=r"its embeddings have 4 values, here .* and 8; use"):
        load_people(path, "d1" * 32, 8)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "people.npz"
    with pytest.raises(FileNotFoundError, match=r"there is no file of people .* enroll again"):
        load_people(path, "", 4)
    path.write_text("no archive")
    with pytest.raises(ValueError, match=r"people\.npz: no \.npz archive"):
        load_people(path, "", 4)
    np.savez(path, names=np.array(["a"]))
    with pytest.raises(ValueError, match="no array named embeddings, model_digest"):
        load_people(path, "", 4)
    np.savez(path, names=np.arange(3), embeddings=ROWS, model_digest=np.array("d"))
    with pytest.raises(ValueError, match="names and model_digest are no text"):
        load_people(path, "", 4)
    np.savez(path, names=np.array(["a", None]), embeddings=ROWS, model_digest=np.array("d"))
    with pytest.raises(ValueError, match=r"names: .*pickle"):
        load_people(path, "", 4)


def test_a_damaged_file_is_an_error_or_still_right(tmp_path):
    """Every 7th byte in turn is changed, and the file cut off there."""
    path = tmp_path / "people.npz"
    save_people(path, PEOPLE)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        for damaged in (whole[:place], whole[:place] + b"\xa5" + whole[place + 1 :]):
            path.write_bytes(damaged)
            try:
                people = load_people(path, "d1" * 32, 4)
            except ValueError as error:
                assert str(path) in str(error)
            else:
                np.testing.assert_array_equal(people.embeddings, ROWS)
