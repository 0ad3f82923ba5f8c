import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers_layouts import make_cuhk_sysu, make_prw

from person_search.data.builtin import register_all


@pytest.fixture
def root(tmp_path):
    register_all(tmp_path)
    yield tmp_path
    register_all()


def test_all_names_are_registered_and_nothing_is_read(root):
    names = {
        f"{d}_{s}"
        for d in ("cuhk_sysu", "prw", "drawn_cuhk", "drawn_prw")
        for s in ("train", "test")
    }
    assert names <= set(DatasetCatalog.list())
    assert not list(root.iterdir())
    for name in names:
        metadata = MetadataCatalog.get(name)
        assert (metadata.thing_classes, metadata.evaluator_type) == (["person"], "person_search")
        assert hasattr(metadata, "load_protocol") == name.endswith("test")
    numbers = {name: MetadataCatalog.get(name).get("num_identities") for name in sorted(names)}
    assert numbers == {
        "cuhk_sysu_test": 2900,
        "cuhk_sysu_train": 5532,
        "drawn_cuhk_test": None,
        "drawn_cuhk_train": None,
        "drawn_prw_test": None,
        "drawn_prw_train": None,
        "prw_test": 450,
        "prw_train": 483,
    }


def test_each_name_reads_its_own_folder(root):
    make_cuhk_sysu(root / "drawn-cuhk")
    make_prw(root / "PRW")
    assert len(DatasetCatalog.get("drawn_cuhk_train")) == 2
    assert len(DatasetCatalog.get("prw_test")) == 5
    drawn = MetadataCatalog.get("drawn_cuhk_test")
    assert drawn.layout == "cuhk_sysu"
    assert drawn.load_protocol(gallery_size=50).name == "drawn-cuhk, gallery size 50"
    prw = MetadataCatalog.get("prw_test").load_protocol(multi_view=True)
    assert prw.name == "PRW, other cameras only"


def test_dicts_and_protocol_agree_on_frames_and_queries(root):
    make_cuhk_sysu(root / "CUHK-SYSU")
    make_prw(root / "drawn-prw")
    for name in ("cuhk_sysu_test", "drawn_prw_test"):
        dicts = DatasetCatalog.get(name)
        protocol = MetadataCatalog.get(name).load_protocol()
        assert [entry["image_id"] for entry in dicts] == list(protocol.frame_names)
        for frame, entry in enumerate(dicts):
            for query in entry["queries"]:
                row = query["query_id"]
                assert protocol.query_frames[row] == frame
                assert protocol.query_boxes[row].tolist() == query["bbox"]
                assert protocol.query_pids[row] == query["person_id"]


def test_another_root_replaces_the_first_and_the_same_root_does_nothing(root):
    load = DatasetCatalog["prw_train"]
    register_all(root)
    assert DatasetCatalog["prw_train"] is load
    make_prw(root / "elsewhere" / "PRW")
    register_all(root / "elsewhere")
    assert len(DatasetCatalog.get("prw_train")) == 2
    assert MetadataCatalog.get("prw_train").root == str(root / "elsewhere" / "PRW")


def test_default_root_is_the_environments(root, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root / "from_env"))
    register_all()
    assert MetadataCatalog.get("prw_test").root == str(root / "from_env" / "PRW")


def test_a_missing_data_set_is_answered_with_the_folder_and_the_variable(root):
    with pytest.raises(FileNotFoundError, match=r"no folder .*PRW: set DETECTRON2_DATASETS"):
        DatasetCatalog.get("prw_train")
