"""What a model sees in pictures: printed, written, read back as boxes for another model."""

import json
import re

import numpy as np
import pytest
from helpers_demo import ColorFinder, draw_colors
from PIL import Image

from person_search.cli import main
from person_search.commands import find
from person_search.footage.images import read_image
from person_search.inference.found_people import load_boxes


@pytest.fixture
def pictures(monkeypatch, tmp_path):
    """Two people, and nobody; a finder of colours in the model's place."""
    monkeypatch.setattr(find, "load_finder", lambda args, min_score: ColorFinder())
    names = []
    for name, colors in (("two.png", ["red", "blue"]), ("nobody.png", [])):
        Image.fromarray(draw_colors(colors)).save(tmp_path / name)
        names.append(str(tmp_path / name))
    return names


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_people_are_printed_and_written_and_read_back(pictures, tmp_path, capsys, suffix):
    output, drawn = tmp_path / f"people{suffix}", tmp_path / "drawn.png"
    assert main(["find", *pictures, "--output", str(output), "--save", str(drawn)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{pictures[0]}: 2 people" and lines[3] == f"{pictures[1]}: 0 people"
    assert drawn.is_file()
    two, nobody = ColorFinder().find(map(read_image, pictures))
    two = two.from_left_to_right()
    if suffix == ".json":
        written = {name: np.array(x) for name, x in json.loads(output.read_text()).items()}
    else:
        written = dict(np.load(output))
    assert written["image_names"].tolist() == pictures
    assert written["image_index"].tolist() == [0, 0]
    np.testing.assert_allclose(written["embeddings"], two.embeddings, atol=1e-6)
    np.testing.assert_allclose(written["scores"], two.scores)
    boxes = load_boxes(output)
    assert list(boxes) == pictures and len(boxes[pictures[1]]) == len(nobody) == 0
    np.testing.assert_array_equal(boxes[pictures[0]], two.boxes)


def test_given_boxes_are_embedded_in_their_order(pictures, tmp_path, capsys):
    (people,) = ColorFinder().find([read_image(pictures[0])])
    last_first = people.from_left_to_right().select(np.array([1, 0]))
    given, output = tmp_path / "boxes.json", tmp_path / "people.npz"
    rows = [0] * len(last_first)
    content = {"image_names": pictures[:1], "image_index": rows, "boxes": last_first.boxes.tolist()}
    given.write_text(json.dumps(content))
    assert main(["find", pictures[0], "--boxes", str(given), "--output", str(output)]) == 0
    written = np.load(output)
    np.testing.assert_array_equal(written["boxes"], last_first.boxes)
    np.testing.assert_allclose(written["embeddings"], last_first.embeddings, atol=1e-6)
    assert written["scores"].tolist() == [1, 1]
    assert main(["find", pictures[1], "--boxes", str(given)]) == 2
    assert f"has nothing on {pictures[1]}" in capsys.readouterr().err


def test_nobody_is_a_status_of_its_own(pictures):
    assert main(["find", pictures[1]]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no file of boxes"),
        ("[]", "no image_names, image_index, boxes"),
        ('{"image_names": ["a"], "boxes": []}', "no image_index; expected image_names"),
        (
            '{"image_names": ["a"], "image_index": [1], "boxes": [[0, 0, 1, 1]]}',
            "1 rows for 1 boxes and 1 names",
        ),
        ('{"image_names": ["a"], "image_index": [0], "boxes": [[0, 0, 1]]}', "shape (1, 3)"),
        # Frames of two folders in predictions.npz, which names them without: the last was taken.
        (
            '{"image_names": ["1.jpg", "2.jpg", "1.jpg"], "image_index": [], "boxes": []}',
            "image_names has 1.jpg more than once",
        ),
        # The corners of two boxes, four rows of two.
        (
            '{"image_names": ["a"], "image_index": [0, 0], "boxes": [[0, 9], [0, 0], [5, 9], [9, 9]'
            "]}",
            "boxes have shape (4, 2); expected (N, 4)",
        ),
        ('{"image_names": ["a"], "image_index": [0], "boxes": [null]}', "is no file of boxes"),
    ],
)
def test_a_file_of_boxes_that_is_none_is_refused(tmp_path, content, message):
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_boxes(path)


def test_what_cannot_be_written_is_refused_before_anything_is_done(
    pictures, tmp_path, capsys, monkeypatch
):
    """A folder that takes nothing was named by a temporary file, after the people were found."""
    assert main(["find", pictures[0], "--output", str(tmp_path / "people.txt")]) == 2
    assert "expected a name in .npz or .json" in capsys.readouterr().err
    assert main(["find", pictures[0], "--save", str(tmp_path / "gone/out.png")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / "taken.png").mkdir()
    (tmp_path / "taken.npz").mkdir()
    for option, name, message in (
        ("--output", "gone/out.npz", "there is no folder"),
        ("--output", "taken.npz", "is a folder"),
        ("--save", "taken.png", "is a folder"),
        ("--output", "/proc/out.npz", "cannot be written: "),
        ("--save", "/proc/out.png", "cannot be written: "),
    ):
        monkeypatch.setattr(find, "load_finder", None)
        assert main(["find", pictures[0], option, str(tmp_path / name)]) == 2
        talk = capsys.readouterr().err
        assert f"{option} {tmp_path / name}" in talk and message in talk and "[Errno" not in talk
    with pytest.raises(FileNotFoundError, match="there is no file of boxes"):
        load_boxes(tmp_path / "gone.npz")
