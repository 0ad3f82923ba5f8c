"""The CSV file of known faces."""

import numpy as np
import pytest
from PIL import Image

from reid_heads.faces.alignment import TEMPLATE
from reid_heads.faces.face_list import BOX_COLUMNS, POINT_COLUMNS, read_face_list

HEADER = ",".join(("path", *BOX_COLUMNS))
LONG = ",".join((HEADER, *POINT_COLUMNS))
POINTS = ",".join(str(value) for value in (TEMPLATE + 10).ravel())
MIRRORED = ",".join(str(value) for value in (TEMPLATE[[1, 0, 2, 4, 3]]).ravel())


@pytest.fixture
def write(tmp_path):
    """Two pictures, and a list with the given lines beside them."""
    (tmp_path / "deep").mkdir()
    for name in ("a.png", "deep/b.png"):
        Image.fromarray(np.zeros((140, 150, 3), np.uint8)).save(tmp_path / name)

    def make(*lines, encoding="utf-8"):
        path = tmp_path / "faces.csv"
        path.write_bytes("\n".join(lines).encode(encoding))
        return path

    return make


def test_boxes_by_picture(write, tmp_path, monkeypatch):
    found = read_face_list(
        write(HEADER, "a.png,1,2,30,40.5", "deep/b.png,0,0,9,9", "a.png,5,5,9,9")
    )
    monkeypatch.chdir(tmp_path / "deep")
    faces = found(tmp_path / "deep" / ".." / "a.png").faces
    assert [face.box_xyxy for face in faces] == [(1, 2, 30, 40.5), (5, 5, 9, 9)]
    assert faces[0].points is None
    # A picture is the same by whatever path it is named.
    (face,) = found(type(tmp_path)("b.png")).faces
    assert face.box_xyxy == (0, 0, 9, 9)


def test_points_columns_in_any_order_and_further_ones(write, tmp_path):
    names = ["score", *POINT_COLUMNS, *BOX_COLUMNS, "path"]
    path = write(", ".join(names), f"0.9,{POINTS},1,2,3,4,a.png", encoding="utf-8-sig")
    (face,) = read_face_list(path)(tmp_path / "a.png").faces
    np.testing.assert_array_equal(face.points, TEMPLATE + 10)
    assert face.box_xyxy == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1: the header '' lacks path, x1"),
        (["path|x1|y1|x2|y2", "a.png|1|2|3|4"], "lacks path, .* separated by commas"),
        (["path;x1;y1;x2;y2", "a.png;3;2;3;4"], r"line 2: the box \[3.0, 2.0, 3.0, 4.0\] has no"),
        ([HEADER + ",lx1"], "lacks ly1, lx2, .*, ly5; expected"),
        ([HEADER + ",x1"], "has x1 twice"),
        ([HEADER], "lists no face"),
        ([HEADER, "a.png,1,2,3"], "line 2: y2 is ''; expected a number"),
        ([HEADER, "a.png,1,2,3,4", "a.png,1,two,3,4"], "line 3: y1 is 'two'; expected a number"),
        ([HEADER, "a.png,nan,2,3,4"], "line 2: x1 is 'nan'"),
        ([HEADER, "a.png,3,2,3,4"], r"line 2: the box \[3.0, 2.0, 3.0, 4.0\] has no area"),
        ([LONG, "a.png,1,2,3,4"], "line 2: lx1 is ''"),
        ([LONG, "a.png,1,2,3,4" + ",5" * 10], "line 2: points: .* lie on one spot"),
        ([LONG, "a.png,1,2,3,4," + MIRRORED], "line 2: points: .* left and right exchanged"),
        ([HEADER, "../a.png,1,2,3,4"], "line 2 names '../a.png', which is outside of"),
        ([HEADER, "/etc/passwd,1,2,3,4"], "line 2 names '/etc/passwd', which is outside of"),
        ([HEADER, '"a.png,1,2,3,4'], "line 2: unexpected end of data; is it a CSV"),
    ],
)
def test_what_is_no_list_is_refused_by_its_line(write, lines, message):
    with pytest.raises(ValueError, match=r"faces\.csv.*" + message):
        read_face_list(write(*lines))


def test_missing_files(write, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no list of faces .*gone\.csv"):
        read_face_list(tmp_path / "gone.csv")
    with pytest.raises(FileNotFoundError, match=r"line 3: there is no picture 'b\.png' in"):
        read_face_list(write(HEADER, "a.png,1,2,3,4", "b.png,1,2,3,4"))
    with pytest.raises(ValueError, match="is no text in UTF-8"):
        read_face_list(write(HEADER, "ä.png,1,2,3,4", encoding="latin-1"))
    found = read_face_list(write(HEADER, "a.png,1,2,3,4"))
    with pytest.raises(ValueError, match=r"faces\.csv has no face of .*b\.png; expected a row"):
        found(tmp_path / "deep" / "b.png")


def test_decimal_commas_and_paths_of_windows(write, tmp_path):
    found = read_face_list(write("path;x1;y1;x2;y2", ".\\deep\\b.png;1,5;2;30;40,25"))
    (face,) = found(tmp_path / "deep" / "b.png").faces
    assert face.box_xyxy == (1.5, 2, 30, 40.25)


def test_boxes_that_are_shares_of_the_picture_are_refused(write):
    """A face of less than a pixel was embedded, without a word."""
    with pytest.raises(ValueError, match=r"boxes of 0 to 1, such as \[0\.1, 0\.2, 0\.5, 0\.6\];"):
        read_face_list(write(HEADER, "a.png,0.1,0.2,0.5,0.6"))


def test_a_picture_of_another_name_is_hinted_at(write):
    with pytest.raises(FileNotFoundError, match=r"no picture 'A\.PNG' .*; there is 'a\.png'"):
        read_face_list(write(HEADER, "A.PNG,1,2,30,40"))
