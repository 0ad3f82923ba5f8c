"""What a model's files were when it was made."""

import pytest

from person_search.inference.recorded_files import RECORD_NAME, compare_files, record_files


@pytest.fixture
def folder(tmp_path):
    for name in ("model.json", "detector.onnx", "model.card.json"):
        (tmp_path / name).write_text(name)
    record_files(tmp_path)
    return tmp_path


def test_nothing_is_known_before_it_is_recorded(tmp_path):
    assert compare_files(tmp_path) is None


def test_files_that_are_what_they_were_differ_in_nothing(folder):
    (folder / "model.threshold.json").write_text("{}")  # calibrated since
    assert compare_files(folder) == []


def test_each_difference_is_named(folder):
    (folder / "detector.onnx").write_text("detector.onnX")
    (folder / "model.card.json").unlink()
    (folder / "model.onnx").touch()  # would be taken in place of model.json
    changed, gone, new = sorted(compare_files(folder))
    assert changed.startswith("detector.onnx was changed: it is {'bytes': 13, 'sha256': '")
    assert gone == "model.card.json is gone"
    assert new == "model.onnx was not there when the model was made"
    record_files(folder)
    assert compare_files(folder) == []


def test_a_damaged_record_is_named(folder):
    (folder / RECORD_NAME).write_text("{")
    with pytest.raises(ValueError, match=r"model\.files\.json is no JSON"):
        compare_files(folder)
