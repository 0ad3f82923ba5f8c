import logging

import numpy as np
import pytest
import scipy.io
from helpers_layouts import (
    cell_array,
    make_cuhk_sysu,
    save_mat,
    search_struct,
    write_cuhk_sysu,
    write_image,
)
from numpy.lib.recfunctions import repack_fields

from person_search.data.cuhk_sysu import load_cuhk_sysu, load_cuhk_sysu_protocol


@pytest.fixture
def root(tmp_path):
    return make_cuhk_sysu(tmp_path / "CUHK-SYSU")


def _people(entry):
    return [(tuple(p["bbox"]), p["person_id"]) for p in entry["annotations"]]


def test_train_is_everything_outside_the_pool_sorted_with_ids_by_item(root):
    dicts = load_cuhk_sysu(root, "train")
    assert [entry["image_id"] for entry in dicts] == ["s1.jpg", "s2.jpg"]
    assert dicts[0]["file_name"] == str(root / "Image" / "SSM" / "s1.jpg")
    assert (dicts[0]["width"], dicts[0]["height"], dicts[0]["cam_id"]) == (400, 200, None)
    # Two boxes of s1 are equal to the label of person 1: the first one gets it.
    assert _people(dicts[0]) == [((1, 2, 11, 22), -1), ((30, 2, 40, 22), 1), ((30, 2, 40, 22), -1)]
    assert _people(dicts[1]) == [((2, 2, 14, 32), 0)]
    assert all("queries" not in entry for entry in dicts)


def test_label_without_equal_box_is_counted_in_a_warning(root, caplog):
    with caplog.at_level(logging.WARNING):
        load_cuhk_sysu(root, "train")
    (message,) = [r.getMessage() for r in caplog.records if "equal no box" in r.getMessage()]
    assert "Train.mat: 1 of 3 labelled boxes" in message and "s2.jpg" in message


def test_test_dicts_carry_identities_and_queries_in_protocol_order(root):
    dicts = load_cuhk_sysu(root, "test")
    assert [entry["image_id"] for entry in dicts] == ["s6.jpg", "s3.jpg", "s5.jpg", "s4.jpg"]
    assert _people(dicts[0]) == [((250, 100, 290, 190), 0), ((20, 30, 30, 55), 2)]
    assert _people(dicts[1]) == [((5, 6, 15, 26), 1)]  # the box of width 0 is gone
    assert _people(dicts[3]) == [((200, 5, 300, 45), -1), ((10, 10, 18, 30), 1)]
    assert dicts[0]["queries"] == [
        {"query_id": 0, "bbox": [250.0, 100.0, 290.0, 190.0], "person_id": 0},
        {"query_id": 2, "bbox": [20.0, 30.0, 30.0, 55.0], "person_id": 2},
    ]
    assert dicts[1]["queries"][0]["query_id"] == 1
    assert dicts[2]["queries"] == []


def test_narrow_integers_are_widened_before_the_sum(root):
    """x 250 and w 40 are uint8 on disk, where they would add up to 34."""
    stored = scipy.io.loadmat(root / "annotation" / "Images.mat")["Img"][0, 4]["box"][0, 0]
    assert stored["idlocate"].dtype == np.uint8
    protocol = load_cuhk_sysu_protocol(root, 50)
    assert protocol.query_boxes[0].tolist() == [250, 100, 290, 190]
    assert protocol.frame_boxes[0][0].tolist() == [250, 100, 290, 190]


def _gallery(protocol, query):
    return {protocol.frame_names[row] for row in np.flatnonzero(protocol.gallery_mask[query])}


def _true(protocol):
    return [
        (int(query), protocol.frame_names[frame], tuple(box))
        for query, frame, box in zip(
            protocol.true_queries, protocol.true_frames, protocol.true_boxes.tolist(), strict=True
        )
    ]


def test_protocol_lists_galleries_and_every_true_row(root):
    protocol = load_cuhk_sysu_protocol(root)
    assert protocol.name == "CUHK-SYSU, gallery size 100"
    assert protocol.frame_names == ("s6.jpg", "s3.jpg", "s5.jpg", "s4.jpg")
    assert protocol.query_frames.tolist() == [0, 1, 0]
    assert protocol.query_pids.tolist() == [0, 1, 2]
    assert _gallery(protocol, 0) == {"s5.jpg", "s3.jpg", "s4.jpg"}
    assert _gallery(protocol, 1) == {"s4.jpg", "s5.jpg"}
    assert _gallery(protocol, 2) == {"s6.jpg", "s5.jpg"}  # its own frame is listed
    assert _true(protocol) == [
        (0, "s5.jpg", (300, 20, 340, 110)),
        (1, "s4.jpg", (10, 10, 18, 30)),
        (1, "s4.jpg", (10, 10, 18, 30)),  # listed twice, counted twice
        (2, "s6.jpg", (20, 30, 30, 55)),
    ]
    assert [pids.tolist() for pids in protocol.frame_pids] == [[0, 2], [1], [0], [-1, 1]]
    assert {protocol.query_boxes.dtype, protocol.true_boxes.dtype} == {np.dtype(np.float32)}
    integers = (protocol.query_frames, protocol.query_pids, protocol.true_queries)
    assert {array.dtype for array in integers} == {np.dtype(np.int64)}


def test_full_gallery_is_the_pool_without_the_querys_frame(root):
    protocol = load_cuhk_sysu_protocol(root, gallery_size=-1)
    assert protocol.name == "CUHK-SYSU, full gallery"
    for query in range(3):
        own = protocol.frame_names[protocol.query_frames[query]]
        assert _gallery(protocol, query) == set(protocol.frame_names) - {own}
    # Query 2 is in no frame of TestG50.
    assert protocol.true_queries.tolist() == [0, 1]


def test_full_gallery_keeps_the_querys_frame_where_the_protocol_lists_it(root):
    own = ("s6.jpg", (20, 30, 10, 25))
    search_rows = [(*own, "p9", [own, ("s5.jpg", None)])]
    path = root / "annotation" / "test" / "train_test" / "TestG50.mat"
    save_mat(path, TestG50=search_struct(search_rows))
    protocol = load_cuhk_sysu_protocol(root, gallery_size=-1)
    assert protocol.gallery_mask.all()


def test_subsets_use_the_identities_of_the_whole_test_set(root):
    occlusion = load_cuhk_sysu_protocol(root, subset="occlusion")
    assert occlusion.name == "CUHK-SYSU, occlusion subset"
    assert occlusion.query_pids.tolist() == [1]
    resolution = load_cuhk_sysu_protocol(root, subset="resolution", title="drawn")
    assert resolution.name == "drawn, resolution subset"
    assert resolution.query_pids.tolist() == [2, 0]
    assert resolution.true_queries.tolist() == [0, 1]


def test_protocol_needs_no_images_and_keeps_boxes_that_stick_out(root):
    for path in (root / "Image" / "SSM").iterdir():
        path.unlink()
    write_image(root / "Image" / "SSM" / "s6.jpg", (100, 100))
    assert load_cuhk_sysu_protocol(root).query_boxes[0].tolist() == [250, 100, 290, 190]


def test_a_set_of_one_of_each_is_read_like_a_large_one(tmp_path):
    """MATLAB squeezes lists of one item; so does savemat's reader."""
    people = {"s1.jpg": [(1, 1, 9, 9)], "s2.jpg": [(2, 2, 9, 9)]}
    gallery = [("s2.jpg", (2, 2, 9, 9))]
    searches = {50: [("s2.jpg", (2, 2, 9, 9), "p1", gallery)]}
    root = write_cuhk_sysu(tmp_path, people, ["s2.jpg"], [[("s1.jpg", (1, 1, 9, 9))]], searches)
    (train,) = load_cuhk_sysu(root, "train")
    assert _people(train) == [((1, 1, 10, 10), 0)]
    (test,) = load_cuhk_sysu(root, "test")
    assert len(test["queries"]) == 1
    protocol = load_cuhk_sysu_protocol(root, 50)
    assert protocol.gallery_mask.shape == (1, 1)
    assert protocol.true_boxes.tolist() == [[2, 2, 11, 11]]


def test_frames_without_people_and_empty_galleries_are_kept(tmp_path):
    people = {"s1.jpg": [], "s2.jpg": [(2, 2, 9, 9)]}
    searches = {50: [("s2.jpg", (2, 2, 9, 9), "p1", [])]}
    root = write_cuhk_sysu(tmp_path, people, ["s2.jpg"], [], searches)
    assert load_cuhk_sysu(root, "train")[0]["annotations"] == []
    protocol = load_cuhk_sysu_protocol(root, 50)
    assert not protocol.gallery_mask.any()
    assert protocol.true_boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gallery_size": 77}, r"TestG77.mat does not exist; choose one of \[50, 100\], or -1"),
        ({"subset": "night"}, r"'night'; expected None or one of \['occlusion', 'resolution'\]"),
        ({"subset": "occlusion", "gallery_size": -1}, "gallery_size is -1; the occlusion subset"),
    ],
)
def test_wrong_options_are_named(root, options, message):
    with pytest.raises(ValueError, match=message):
        load_cuhk_sysu_protocol(root, **options)


def test_unknown_split_is_named(root):
    with pytest.raises(ValueError, match="'val'; expected 'train' or 'test'"):
        load_cuhk_sysu(root, "val")


def test_missing_mat_file_is_named(root):
    (root / "annotation" / "pool.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"pool.mat is missing"):
        load_cuhk_sysu(root, "train")


def test_repeated_and_unknown_pool_frames_are_named(root):
    path = root / "annotation" / "pool.mat"
    save_mat(path, pool=cell_array(["s6.jpg", "s3.jpg", "s6.jpg"]))
    with pytest.raises(ValueError, match=r"pool.mat lists 1 frame name.*s6.jpg"):
        load_cuhk_sysu_protocol(root)
    save_mat(path, pool=cell_array(["s6.jpg", "s99.jpg"]))
    with pytest.raises(ValueError, match=r"pool.mat lists 1 frames .*s99.jpg"):
        load_cuhk_sysu_protocol(root)


def test_query_and_gallery_frames_outside_the_pool_are_named(root):
    path = root / "annotation" / "pool.mat"
    save_mat(path, pool=cell_array(["s6.jpg", "s5.jpg", "s4.jpg"]))
    with pytest.raises(ValueError, match=r"TestG100.mat: query 1 is cut from the frame 's3.jpg'"):
        load_cuhk_sysu_protocol(root)
    save_mat(path, pool=cell_array(["s6.jpg", "s3.jpg", "s4.jpg"]))
    with pytest.raises(ValueError, match=r"gallery of query 0 lists the frame 's5.jpg'"):
        load_cuhk_sysu_protocol(root)


def test_label_in_an_unknown_frame_is_named(tmp_path):
    people = {"s1.jpg": [(1, 1, 9, 9)], "s2.jpg": [(2, 2, 9, 9)]}
    root = write_cuhk_sysu(tmp_path, people, ["s2.jpg"], [[("s7.jpg", (1, 1, 9, 9))]], {})
    with pytest.raises(ValueError, match=r"Train.mat: the frame 's7.jpg' is not in"):
        load_cuhk_sysu(root, "train")


def test_a_query_box_without_width_is_named(root):
    path = root / "annotation" / "test" / "train_test" / "TestG100.mat"
    rows = [("s6.jpg", (250, 100, 0, 90), "p7", [])]
    save_mat(path, TestG100=search_struct(rows))
    with pytest.raises(ValueError, match=r"TestG100.mat: the box of query 0, in s6.jpg, has no w"):
        load_cuhk_sysu_protocol(root)


def test_people_without_a_name_are_known_by_their_place(root):
    """A subset's query finds its identity in the whole test set, also without any idname."""
    folder = root / "annotation" / "test"
    for path in (folder / "train_test" / "TestG50.mat", folder / "subset" / "Occlusion.mat"):
        ((key, table),) = [(k, v) for k, v in scipy.io.loadmat(path).items() if k[0] != "_"]
        for row in range(table.shape[1]):
            query = table["Query"][0, row][["imname", "idlocate", "ishard"]]
            table["Query"][0, row] = repack_fields(query)
        save_mat(path, **{key: table})
    assert load_cuhk_sysu_protocol(root, subset="occlusion").query_pids.tolist() == [1]


def test_struct_fields_may_have_other_names(root):
    """The official code reads the frames' structs by position, so their names are not relied on."""
    path = root / "annotation" / "Images.mat"
    table = scipy.io.loadmat(path)["Img"]
    table.dtype.names = ("name", "count", "people")
    expected = load_cuhk_sysu_protocol(root).frame_boxes
    save_mat(path, Img=table)
    for boxes, same in zip(load_cuhk_sysu_protocol(root).frame_boxes, expected, strict=True):
        np.testing.assert_array_equal(boxes, same)


def test_a_struct_with_too_few_fields_is_named(root):
    path = root / "annotation" / "Images.mat"
    table = scipy.io.loadmat(path)["Img"]
    save_mat(path, Img=repack_fields(table[["imname", "nAppear"]]))
    with pytest.raises(ValueError, match=r"Images.mat: a struct has the fields .* no field 'box'"):
        load_cuhk_sysu_protocol(root)
    save_mat(path, Img=np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"Images.mat: expected a struct with the field 'imname'"):
        load_cuhk_sysu_protocol(root)
