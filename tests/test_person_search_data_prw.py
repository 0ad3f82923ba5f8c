import logging

import numpy as np
import pytest
from helpers_layouts import cell_array, make_prw, save_mat

from person_search.data.prw import load_prw, load_prw_protocol


@pytest.fixture
def root(tmp_path):
    return make_prw(tmp_path / "PRW")


def _people(entry):
    return [(tuple(p["bbox"]), p["person_id"]) for p in entry["annotations"]]


def test_train_ids_are_remapped_and_all_three_annotation_keys_are_read(root):
    dicts = load_prw(root, "train")
    assert [entry["image_id"] for entry in dicts] == ["c1s1_000001.jpg", "c2s1_000002.jpg"]
    assert [entry["cam_id"] for entry in dicts] == [1, 2]
    assert dicts[0]["file_name"] == str(root / "frames" / "c1s1_000001.jpg")
    assert (dicts[0]["width"], dicts[0]["height"]) == (64, 48)
    assert _people(dicts[0]) == [((1, 1, 11, 21), 0), ((20, 1, 30, 21), 1)]
    # -2 has no identity; 1.9 + 10.6 = 12.5 and 1.2 + 20.1 = 21.3, fractions cut off after the sum.
    assert _people(dicts[1]) == [((1, 1, 12, 21), -1)]
    assert "queries" not in dicts[0]


def test_test_people_with_another_id_are_kept_without_identity(root):
    dicts = load_prw(root, "test")
    assert _people(dicts[1]) == [((5, 2, 16, 23), 0), ((30, 2, 40, 22), 0), ((1, 1, 6, 10), -1)]
    assert _people(dicts[2]) == [((1, 2, 11, 22), 1), ((20, 2, 30, 22), 0), ((40, 2, 50, 22), -1)]
    assert dicts[4]["annotations"] == []


def test_labelled_recall_counts_other_ids_as_the_official_scorer_does(root):
    protocol = load_prw_protocol(root)
    assert [pids.tolist() for pids in protocol.frame_pids] == [
        [0, 1],
        [0, 0, 2],  # 5 is a training id: numbered after the two test ids
        [1, 0, -1],
        [1],
        [],
    ]
    assert protocol.frame_boxes[4].shape == (0, 4)


def test_boxes_and_queries_are_rounded_by_their_own_rules(root):
    """Annotations clip x = -3.5 to 0 before adding w = 10.7, queries cut -3.5 + 10.7 = 7.2
    first."""
    protocol = load_prw_protocol(root)
    assert protocol.frame_boxes[0][0].tolist() == [0, 2, 10, 22]
    assert protocol.query_boxes[0].tolist() == [0, 2, 7, 22]
    assert load_prw(root, "test")[0]["queries"] == [
        {"query_id": 0, "bbox": [0.0, 2.0, 7.0, 22.0], "person_id": 0}
    ]


def _true(protocol):
    return [
        (int(query), protocol.frame_names[frame], tuple(box))
        for query, frame, box in zip(
            protocol.true_queries, protocol.true_frames, protocol.true_boxes.tolist(), strict=True
        )
    ]


def test_protocol_searches_all_other_frames_and_takes_the_first_of_two_boxes(root):
    protocol = load_prw_protocol(root)
    assert protocol.name == "PRW, all cameras"
    assert protocol.query_frames.tolist() == [0, 2]
    assert protocol.query_pids.tolist() == [0, 1]
    assert protocol.gallery_mask.tolist() == [
        [False, True, True, True, True],
        [True] * 2 + [False] + [True] * 2,
    ]
    assert _true(protocol) == [
        (0, "c1s1_000012.jpg", (5, 2, 16, 23)),  # person 30 stands there twice
        (0, "c2s1_000013.jpg", (20, 2, 30, 22)),
        (1, "c1s1_000011.jpg", (20, 2, 30, 22)),
        (1, "c2s1_000014.jpg", (1, 2, 11, 22)),
    ]


def test_multi_view_leaves_out_the_querys_camera(root):
    protocol = load_prw_protocol(root, multi_view=True, title="drawn")
    assert protocol.name == "drawn, other cameras only"
    assert protocol.gallery_mask.tolist() == [
        [False, False, True, True, True],
        [True] * 2 + [False] * 3,
    ]
    assert [row[:2] for row in _true(protocol)] == [(0, "c2s1_000013.jpg"), (1, "c1s1_000011.jpg")]


def test_query_file_may_end_its_lines_either_way(tmp_path):
    windows = load_prw_protocol(make_prw(tmp_path / "a", line_end="\r\n"))
    unix = load_prw_protocol(make_prw(tmp_path / "b", line_end="\n"))
    np.testing.assert_array_equal(windows.query_boxes, unix.query_boxes)
    np.testing.assert_array_equal(windows.query_frames, unix.query_frames)


def test_boxes_beyond_the_image_are_clipped_in_the_dicts_only(root, caplog):
    path = root / "annotations" / "c2s1_000014.jpg.mat"
    save_mat(path, box_new=np.array([[40.0, 60, 2, 10, 20], [30, 70, 2, 9, 9]]))
    with caplog.at_level(logging.WARNING):
        dicts = load_prw(root, "test")
    assert _people(dicts[3]) == [((60, 2, 64, 22), 1)]
    messages = [record.getMessage() for record in caplog.records]
    assert sum("1 boxes stick out" in message for message in messages) == 1
    assert sum("1 people dropped" in message for message in messages) == 1
    kept = load_prw_protocol(root).frame_boxes[3]
    assert kept.tolist() == [[60, 2, 70, 22], [70, 2, 79, 11]]


def test_a_missing_key_is_answered_with_the_keys_there_are(root):
    path = root / "annotations" / "c2s1_000014.jpg.mat"
    save_mat(path, boxes=np.zeros((1, 5)), extra=1)
    expected = r"c2s1_000014.jpg.mat has the keys \['boxes', 'extra'\], but none of .*box_new"
    with pytest.raises(ValueError, match=expected):
        load_prw_protocol(root)


def test_an_unreadable_mat_file_is_named(root):
    path = root / "frame_test.mat"
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(ValueError, match=r"frame_test.mat cannot be read as a MATLAB file"):
        load_prw_protocol(root)


def test_annotations_of_another_width_are_named(root):
    save_mat(root / "annotations" / "c2s1_000014.jpg.mat", box_new=np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"000014.jpg.mat: expected rows of id, x, y, w, h"):
        load_prw_protocol(root)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.arange(10.0).reshape(5, 2), r"expected rows of id, x, y, w, h, got shape \(5, 2\)"),
        (np.array([[30.5, 1, 2, 3, 4]]), r"expected whole numbers as ids, got \[30\.5\]"),
    ],
)
def test_tables_that_lie_on_their_side_or_have_no_ids_are_named(root, table, message):
    """Columns were read as rows: ids as places, and places as ids."""
    save_mat(root / "annotations" / "c2s1_000014.jpg.mat", box_new=table)
    with pytest.raises(ValueError, match=rf"000014.jpg.mat: {message}"):
        load_prw_protocol(root)


def test_frames_may_be_listed_with_their_suffix(root):
    expected = load_prw_protocol(root)
    stems = [name.removesuffix(".jpg") for name in expected.frame_names]
    save_mat(root / "frame_test.mat", img_index_test=cell_array([f"{stem}.jpg" for stem in stems]))
    assert load_prw_protocol(root).frame_names == expected.frame_names


@pytest.mark.parametrize("ids", [[30.0, np.nan], [30.5, 40.0]])
def test_ids_that_are_no_whole_numbers_are_named(root, ids):
    save_mat(root / "ID_test.mat", ID_test2=np.array([ids]))
    with pytest.raises(ValueError, match=r"ID_test\.mat: expected whole numbers in 'ID_test2'"):
        load_prw_protocol(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("30 1 2 3 c1s1_000011", "line 3: expected 'id x y w h frame', got '30 1 2 3"),
        ("30 1 2 x 4 c1s1_000011", "line 3: expected 'id x y w h frame'"),
        ("30 1 2 3 4 c1s1 000011", "line 3: expected 'id x y w h frame'"),
        ("99 1 2 3 4 c1s1_000011", "line 3: the person 99 is not in ID_test.mat"),
        ("30 1 2 3 4 c9s1_000011", "query 2 is cut from the frame 'c9s1_000011.jpg'"),
    ],
)
def test_bad_query_lines_are_named(root, line, message):
    with (root / "query_info.txt").open("a", newline="") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        load_prw_protocol(root)


def test_a_query_without_area_in_its_image_is_named(root):
    with (root / "query_info.txt").open("a", newline="") as file:
        file.write("30 64 2 10 20 c1s1_000012\n")
    with pytest.raises(ValueError, match=r"query 2 has no area inside .*c1s1_000012.jpg \(64x48"):
        load_prw(root, "test")


def test_a_missing_query_file_is_named(root):
    (root / "query_info.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"query_info.txt is missing"):
        load_prw_protocol(root)


def test_a_frame_listed_twice_is_named(root):
    save_mat(root / "frame_test.mat", img_index_test=cell_array(["c1s1_000011"] * 2))
    with pytest.raises(ValueError, match=r"frame name.*more than once.*c1s1_000011.jpg"):
        load_prw_protocol(root)


def test_a_frame_name_without_camera_is_named(root):
    (root / "annotations" / "x.jpg.mat").write_bytes(
        (root / "annotations" / "c2s1_000014.jpg.mat").read_bytes()
    )
    save_mat(root / "frame_test.mat", img_index_test=cell_array(["x"]))
    with pytest.raises(ValueError, match=r"frame_test.mat: the frame name 'x.jpg' does not begin"):
        load_prw_protocol(root)


def test_a_repeated_person_id_is_named(root):
    save_mat(root / "ID_test.mat", ID_test2=np.array([[30.0, 40.0, 30.0]]))
    with pytest.raises(ValueError, match=r"ID_test.mat lists a person id more than once"):
        load_prw_protocol(root)
