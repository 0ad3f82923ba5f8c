import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers_crop_layouts import (
    MARKET_FILES,
    make_cuhk03_np,
    make_cuhk03_release,
    make_duke,
    make_market,
    make_msmt17,
    write_crops,
    write_market_attributes,
)
from helpers_cross_modality import make_regdb, make_sysu
from helpers_small_sets import (
    make_cuhk02,
    make_grid,
    make_ilids,
    make_prid,
    make_viper,
    touch,
)

from reid_heads.data.builtin import check_people_are_new, register_all_crops, register_own_crops

NAMES = {
    "market1501_train": ("market1501", 751),
    "market1501_all": ("market1501", 1501),
    "market1501_test": ("market1501", None),
    "market1501_500k_test": ("market1501", None),
    "dukemtmc_train": ("dukemtmc", 702),
    "dukemtmc_all": ("dukemtmc", 1812),
    "dukemtmc_test": ("dukemtmc", None),
    "msmt17_train": ("msmt17", 1041),
    "msmt17_trainval": ("msmt17", 1041),
    "msmt17_all": ("msmt17", 4101),
    "msmt17_test": ("msmt17", None),
    "cuhk03_labeled_train": ("cuhk03", 767),
    "cuhk03_labeled_all": ("cuhk03", 1467),
    "cuhk03_labeled_test": ("cuhk03", None),
    "cuhk03_detected_train": ("cuhk03", 767),
    "cuhk03_detected_all": ("cuhk03", 1467),
    "cuhk03_detected_test": ("cuhk03", None),
    "cuhk03_classic_labeled_train": ("cuhk03_classic", 1367),
    "cuhk03_classic_labeled_test": ("cuhk03_classic", None),
    "cuhk03_classic_detected_train": ("cuhk03_classic", 1367),
    "cuhk03_classic_detected_test": ("cuhk03_classic", None),
    "sysu_mm01_train": ("sysu_mm01", 296),
    "sysu_mm01_trainval": ("sysu_mm01", 395),
    "sysu_mm01_test": ("sysu_mm01", None),
    "drawn_sysu_train": ("sysu_mm01", None),
    "drawn_sysu_trainval": ("sysu_mm01", None),
    "drawn_sysu_test": ("sysu_mm01", None),
    **{f"regdb_{trial}_train": ("regdb", 206) for trial in range(1, 11)},
    **{f"regdb_{trial}_test": ("regdb", None) for trial in range(1, 11)},
    **{f"drawn_regdb_{trial}_train": ("regdb", None) for trial in range(1, 11)},
    **{f"drawn_regdb_{trial}_test": ("regdb", None) for trial in range(1, 11)},
    "cuhk02_all": ("market1501", 1816),
    "cuhk_sysu_crops_all": ("market1501", 11934),
    **{
        f"{name}_{trial}_test": ("market1501", None)
        for name in ("viper", "grid", "prid", "ilids")
        for trial in range(1, 11)
    },
    **{
        f"drawn_{name}_{split}": ("market1501", None)
        for name in ("market", "noon", "dusk", "mall", "vhs")
        for split in ("train", "all", "test")
    },
}


@pytest.fixture
def root(tmp_path):
    register_all_crops(tmp_path)
    yield tmp_path
    register_all_crops()


@pytest.fixture
def own_name():
    yield "own_crops_of_the_test"
    if "own_crops_of_the_test" in DatasetCatalog.list():
        DatasetCatalog.remove("own_crops_of_the_test")
        MetadataCatalog.remove("own_crops_of_the_test")


def test_all_names_are_registered_and_nothing_is_read(root):
    assert set(NAMES) <= set(DatasetCatalog.list())
    assert not list(root.iterdir())
    found = {}
    for name in NAMES:
        metadata = MetadataCatalog.get(name)
        assert metadata.evaluator_type == "reid"
        found[name] = (metadata.protocol, metadata.get("num_identities"))
    assert found == NAMES


def test_every_name_reads_its_own_folder(root):
    for folder in ("Market-1501-v15.09.15", "drawn-market"):
        make_market(root / folder)
    for number, name in enumerate(("noon", "dusk", "mall", "vhs"), start=1):
        make_market(root / f"drawn-{name}")
        extra = [f"0002_c1s1_00000{row}_00.jpg" for row in range(number)]
        touch(root / f"drawn-{name}" / "bounding_box_train", extra)
    write_crops(root / "Market-1501-v15.09.15" / "images", ["1.jpg", "2.jpg"])
    make_duke(root / "DukeMTMC-reID")
    make_msmt17(root / "MSMT17_V1")
    make_cuhk03_np(root / "cuhk03-np")
    make_cuhk03_release(root / "cuhk03_release")
    for folder in ("SYSU-MM01", "drawn-sysu"):
        make_sysu(root / folder)
    for folder in ("RegDB", "drawn-regdb"):
        make_regdb(root / folder, trials=range(1, 11))
    make_cuhk02(root / "cuhk02" / "Dataset")
    touch(root / "cuhk_sysu" / "cropped_images", ["p1_s1_1.jpg", "p2_s1_1.jpg"])
    make_viper(root / "VIPeR", people=7)
    make_grid(root / "GRID")
    make_prid(root / "prid2011" / "prid_2011")
    make_ilids(root / "QMUL-iLIDS", "images", people=5)
    counts = {name: len(DatasetCatalog.get(name)) for name in NAMES}
    assert counts == {
        "market1501_train": 5,
        "market1501_all": 5 + 2 + 3,
        "market1501_test": 2 + 4,
        "market1501_500k_test": 2 + 6,
        "dukemtmc_train": 2,
        "dukemtmc_all": 2 + 1 + 2,
        "dukemtmc_test": 1 + 2,
        "msmt17_train": 2,
        "msmt17_trainval": 3,
        "msmt17_all": 3 + 1 + 2,
        "msmt17_test": 1 + 2,
        "cuhk03_labeled_train": 3,
        "cuhk03_labeled_all": 3 + 2 + 2,
        "cuhk03_labeled_test": 2 + 2,
        "cuhk03_detected_train": 4,
        "cuhk03_detected_all": 4 + 2 + 2,
        "cuhk03_detected_test": 2 + 2,
        # Split 0 tests the one person with four images, as queries and as gallery.
        "cuhk03_classic_labeled_train": 6,
        "cuhk03_classic_labeled_test": 4 + 4,
        "cuhk03_classic_detected_train": 6,
        "cuhk03_classic_detected_test": 4 + 4,
        **{f"{name}_train": 9 for name in ("sysu_mm01", "drawn_sysu")},
        **{f"{name}_trainval": 12 for name in ("sysu_mm01", "drawn_sysu")},
        **{f"{name}_test": 4 + 10 for name in ("sysu_mm01", "drawn_sysu")},
        **{f"{prefix}regdb_{n}_train": 8 for prefix in ("", "drawn_") for n in range(1, 11)},
        **{f"{prefix}regdb_{n}_test": 6 + 6 for prefix in ("", "drawn_") for n in range(1, 11)},
        "cuhk02_all": 60,
        "cuhk_sysu_crops_all": 2,
        **{f"viper_{trial}_test": 4 + 4 for trial in range(1, 11)},
        **{f"grid_{trial}_test": 3 + 6 for trial in range(1, 11)},
        **{f"prid_{trial}_test": 100 + 105 for trial in range(1, 11)},
        **{f"ilids_{trial}_test": 3 + 3 for trial in range(1, 11)},
        **{
            f"drawn_{name}_{split}": count + (0 if split == "test" else number)
            for number, name in enumerate(("market", "noon", "dusk", "mall", "vhs"))
            for split, count in (("train", 5), ("all", 5 + 2 + 3), ("test", 2 + 4))
        },
    }


def test_each_trial_is_a_test_set_of_its_own(root):
    make_viper(root / "viper" / "VIPeR", people=40)
    drawn = {
        tuple(d["person_id"] for d in DatasetCatalog.get(f"viper_{trial}_test"))
        for trial in range(1, 11)
    }
    assert len(drawn) == 10
    assert MetadataCatalog.get("viper_10_test").describe() == "VIPeR, split 10, query + gallery"
    for name in ("viper_test", "viper_0_test", "viper_11_test", "cuhk02_test"):
        assert name not in DatasetCatalog.list()


def test_all_images_are_recorded_as_such(root):
    make_msmt17(root / "MSMT17_V1")
    described = {
        "market1501_all": "Market-1501, all images (train + query + gallery)",
        "msmt17_all": "MSMT17 V1, all images (trainval + query + gallery)",
        "cuhk03_detected_all": "CUHK03 detected, all images (train + query + gallery)",
        "cuhk02_all": "CUHK02, all images",
        "cuhk_sysu_crops_all": "CUHK-SYSU crops, all images",
    }
    assert {name: MetadataCatalog.get(name).describe() for name in described} == described


def test_all_images_of_drawn_domains_have_people_of_their_own(root):
    make_market(root / "drawn-vhs")
    dicts = DatasetCatalog.get("drawn_vhs_all")
    # Neither junk nor the distractor of the gallery.
    names = [name for files in MARKET_FILES.values() for name in files]
    assert {d["image_id"].split("/")[1] for d in dicts} == {
        name for name in names if not name.startswith(("-1", "0000"))
    }
    assert {d["person_id"] for d in dicts} == {0, 1, 2, 3, 4}


def test_queries_come_first_and_images_are_unique_within_a_split(root):
    make_market(root / "drawn-market")
    dicts = DatasetCatalog.get("drawn_market_test")
    assert [d["split"] for d in dicts] == ["query"] * 2 + ["gallery"] * 4
    assert len({(d["split"], d["image_id"]) for d in dicts}) == len(dicts)


def test_attribute_groups_are_read_when_asked_for(root):
    folder = make_market(root / "market1501" / "Market-1501-v15.09.15")
    make_duke(root / "DukeMTMC-reID")
    load = MetadataCatalog.get("market1501_train").load_attribute_groups
    assert load() == ()
    write_market_attributes(folder / "market_attribute.mat")
    groups = load()
    assert groups[0] == ("gender", ("male", "female"))
    (first, *_) = DatasetCatalog.get("market1501_train")
    assert len(first["attributes"]) == len(groups)
    assert MetadataCatalog.get("dukemtmc_train").load_attribute_groups() == ()
    assert MetadataCatalog.get("msmt17_train").load_attribute_groups() == ()


def test_msmt17_says_its_version_and_prefers_the_first(root):
    describe = MetadataCatalog.get("msmt17_trainval").describe
    make_msmt17(root / "MSMT17_V2", "V2")
    assert describe() == "MSMT17 V2, trainval"
    assert "mask_train_v2" in DatasetCatalog.get("msmt17_train")[0]["file_name"]
    make_msmt17(root / "msmt17" / "MSMT17_V1")
    assert describe() == "MSMT17 V1, trainval"
    assert MetadataCatalog.get("market1501_test").describe() == "Market-1501, query + gallery"


def test_every_split_of_regdb_is_its_own(root):
    make_regdb(root / "regdb" / "RegDB", trials=range(1, 11))
    first = {
        (name, DatasetCatalog.get(f"regdb_{trial}_{name}")[0]["image_id"])
        for trial in (1, 2, 3)
        for name in ("train", "test")
    }
    assert len(first) == 2 + 3
    assert MetadataCatalog.get("regdb_10_test").describe() == "RegDB, split 10, query + gallery"


def test_permutations_are_read_when_asked_for(root):
    load = MetadataCatalog.get("sysu_mm01_test").load_permutations
    folder = make_sysu(root / "sysu-mm01" / "SYSU-MM01")
    assert load()[1, 3].shape == (10, 3)
    (folder / "exp" / "rand_perm_cam.mat").unlink()
    assert load() is None
    assert "load_permutations" not in MetadataCatalog.get("regdb_1_test").as_dict()


def test_another_root_replaces_the_first_and_the_same_root_does_nothing(root, tmp_path):
    load = DatasetCatalog["market1501_train"]
    register_all_crops(root)
    assert DatasetCatalog["market1501_train"] is load
    make_market(root / "elsewhere" / "Market-1501-v15.09.15")
    register_all_crops(root / "elsewhere")
    assert len(DatasetCatalog.get("market1501_train")) == 5
    assert MetadataCatalog.get("market1501_train").root == str(root / "elsewhere")


def test_default_root_is_the_environments(root, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root / "from_env"))
    register_all_crops()
    assert MetadataCatalog.get("dukemtmc_test").root == str(root / "from_env")


def test_a_missing_data_set_is_answered_with_the_folders_and_the_variable(root):
    with pytest.raises(
        FileNotFoundError, match=r"no folder Market-1501-.* in .*: set DETECTRON2_DATASETS"
    ):
        DatasetCatalog.get("market1501_train")
    with pytest.raises(FileNotFoundError, match="no folder DukeMTMC-reID"):
        MetadataCatalog.get("dukemtmc_train").load_attribute_groups()


def test_own_crops(tmp_path, own_name):
    write_crops(tmp_path / "query", ["8_c1.jpg"])
    write_crops(tmp_path / "gallery", ["8_c2.jpg", "9_c2.jpg"])
    register_own_crops(own_name, tmp_path, "test")
    assert [d["person_id"] for d in DatasetCatalog.get(own_name)] == [8, 8, 9]
    metadata = MetadataCatalog.get(own_name)
    assert (metadata.evaluator_type, metadata.protocol) == ("reid", "market1501")
    assert metadata.load_attribute_groups() == ()
    assert metadata.describe() == f"{tmp_path}, query + gallery"
    register_own_crops(own_name, tmp_path, "test")
    with pytest.raises(ValueError, match=f"'{own_name}' is already registered"):
        register_own_crops(own_name, tmp_path, "train")


def test_own_crops_cannot_take_a_built_in_name_or_another_split(tmp_path, own_name):
    with pytest.raises(ValueError, match="'market1501_train' is already registered"):
        register_own_crops("market1501_train", tmp_path, "train")
    with pytest.raises(ValueError, match="is 'gallery', expected 'train' or 'test'"):
        register_own_crops(own_name, tmp_path, "gallery")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("market1501_all", "market1501_test"),
        ("market1501_all", "market1501_500k_test"),
        ("cuhk03_detected_all", "cuhk03_labeled_test"),
        ("regdb_1_train", "regdb_2_test"),
    ],
)
def test_a_test_set_that_is_trained_on_is_refused(root, train, test):
    """RegDB's published test script scores the first split's model on all ten."""
    with pytest.raises(ValueError, match=f"people of the test set {test} are in .* {train}"):
        check_people_are_new(["dukemtmc_train", train], ["msmt17_test", test])


def test_other_test_sets_are_fine(root):
    train = ["market1501_train", "dukemtmc_all", "regdb_3_train", "drawn_regdb_1_train"]
    check_people_are_new(train, ["market1501_test", "cuhk03_labeled_test", "regdb_3_test"])
    check_people_are_new(["drawn_market_train"], ["viper_1_test", "drawn_regdb_2_test"])
