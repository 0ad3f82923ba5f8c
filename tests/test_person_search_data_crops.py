from itertools import islice

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data import detection_utils as utils
from detectron2.structures import BoxMode
from helpers_layouts import make_cuhk_sysu, make_prw, write_coco_person
from PIL import Image

from person_search.data.builtin import register_all
from person_search.data.crops import NO_CAMERA, frames_to_crops, register_crops
from person_search.data.own_data import register_coco_person
from reid_heads.config import add_crop_reid_config
from reid_heads.data.builtin import register_own_crops
from reid_heads.data.loaders import build_train_loader, load_train_crops
from reid_heads.data.mapper import CropMapper
from reid_heads.labels import UNLABELED_PID

TRAIN_SETS = ["cuhk_sysu_train", "prw_train", "drawn_cuhk_train", "drawn_prw_train"]


@pytest.fixture
def root(tmp_path):
    register_all(tmp_path)
    yield tmp_path
    register_all()


@pytest.fixture
def forget():
    """Take the names out of the catalogs afterwards."""
    names = []
    yield names
    for name in names:
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)


def make_cfg(*names, num_identities):
    cfg = get_cfg()
    add_crop_reid_config(cfg)
    cfg.DATASETS.TRAIN = names
    cfg.SOLVER.IMS_PER_BATCH = 8
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.REID.IMAGES_PER_IDENTITY = 2
    cfg.DATALOADER.REID.SAMPLER = "identity_uniform"
    cfg.INPUT.REID.SIZE = (16, 8)
    cfg.INPUT.REID.PADDING = 0
    cfg.INPUT.REID.BOX_JITTER = 0.1
    cfg.MODEL.REID_HEAD.NUM_IDENTITIES = num_identities
    cfg.SEED = 0
    return cfg


# --- dicts -----------------------------------------------------------------------------------


def test_one_dict_a_labelled_box(write_frames):
    frames = write_frames([[2, UNLABELED_PID, 0], [], [UNLABELED_PID], [1, 2]])
    frames[3]["cam_id"] = 4
    crops = frames_to_crops(frames)
    assert [crop["person_id"] for crop in crops] == [2, 0, 1, 2]
    assert [crop["image_id"] for crop in crops] == ["0.jpg#0", "0.jpg#2", "3.jpg#0", "3.jpg#1"]
    assert [crop["cam_id"] for crop in crops] == [NO_CAMERA, NO_CAMERA, 4, 4]
    assert [crop["file_name"] for crop in crops] == [frames[n]["file_name"] for n in (0, 0, 3, 3)]
    boxes = [frames[n]["annotations"][m]["bbox"] for n, m in ((0, 0), (0, 2), (3, 0), (3, 1))]
    assert [crop["bbox"] for crop in crops] == boxes
    assert frames_to_crops(frames[1:3]) == frames_to_crops([]) == []


def test_crowds_are_left_out_and_other_forms_of_boxes_converted(write_frames):
    frames = write_frames([[0, 1, 2]])
    crowd, other, _ = frames[0]["annotations"]
    crowd["iscrowd"] = 1
    other.update(bbox=[5.0, 6.0, 10.0, 20.0], bbox_mode=BoxMode.XYWH_ABS)
    crops = frames_to_crops(frames)
    assert [crop["person_id"] for crop in crops] == [1, 2]
    assert list(crops[0]["bbox"]) == [5, 6, 15, 26]


def test_the_mapper_cuts_what_the_frame_shows(write_frames):
    frames = write_frames([[0, 1], [2]], size=[(96, 160), (120, 100)])
    mapper = CropMapper(make_cfg(num_identities=3), False)
    for crop in frames_to_crops(frames):
        x1, y1, x2, y2 = (int(value) for value in crop["bbox"])
        person = utils.read_image(crop["file_name"], "BGR")[y1:y2, x1:x2, ::-1]
        expected = np.asarray(Image.fromarray(person).resize((8, 16), Image.BILINEAR))[..., ::-1]
        mapped = mapper(crop)
        np.testing.assert_array_equal(mapped["image"].permute(1, 2, 0).numpy(), expected)
        assert (mapped["person_id"], mapped["cam_id"]) == (crop["person_id"], NO_CAMERA)


# --- registration ----------------------------------------------------------------------------


def test_every_builtin_training_set_has_crops_and_nothing_is_read(root):
    assert {f"{name}_crops" for name in TRAIN_SETS} <= set(DatasetCatalog.list())
    assert not [name for name in DatasetCatalog.list() if name.endswith("_test_crops")]
    assert not list(root.iterdir())
    metadata = MetadataCatalog.get("prw_train_crops")
    assert metadata.evaluator_type == "reid"
    assert metadata.load_attribute_groups() == ()
    assert metadata.describe() == "labelled boxes of prw_train"


def test_crops_follow_their_set_to_another_root(root):
    make_cuhk_sysu(root / "drawn-cuhk")
    make_prw(root / "elsewhere" / "PRW")
    crops = DatasetCatalog.get("drawn_cuhk_train_crops")
    frames = DatasetCatalog.get("drawn_cuhk_train")
    assert crops == frames_to_crops(frames)
    assert {crop["person_id"] for crop in crops} == {0, 1}
    register_all(root / "elsewhere")
    (first, second) = DatasetCatalog.get("prw_train_crops")
    # Ids 5 and 932 on disk, camera 1.
    assert [first["person_id"], second["person_id"], first["cam_id"]] == [0, 1, 1]
    assert first["bbox"] == [1, 1, 11, 21]
    assert first["file_name"].startswith(str(root / "elsewhere"))


def test_own_training_data_have_crops_and_test_data_none(tmp_path, forget):
    image = {"id": 1, "file_name": "a.jpg"}
    people = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": [4 * n, 2, 9, 20], "person_id": pid}
        for n, pid in enumerate((70, -1, 8))
    ]
    path = write_coco_person(tmp_path, [image], people)
    forget += ["toy_frames", "toy_frames_crops", "toy_gallery"]
    for _ in range(2):
        register_coco_person("toy_frames", path, tmp_path, "train")
        register_coco_person("toy_gallery", path, tmp_path, "test")
    crops = DatasetCatalog.get("toy_frames_crops")
    assert [(crop["person_id"], crop["bbox"]) for crop in crops] == [
        (1, [0, 2, 9, 22]),
        (0, [8, 2, 17, 22]),
    ]
    assert "toy_gallery_crops" not in DatasetCatalog.list()


def test_a_taken_name_is_refused_before_anything_is_registered(tmp_path, forget):
    forget += ["toy_taken", "toy_taken_crops"]
    register_own_crops("toy_taken_crops", tmp_path, "train")
    with pytest.raises(ValueError, match=r"'toy_taken_crops' is already registered, but the crops"):
        register_coco_person("toy_taken", tmp_path / "x.json", tmp_path, "train")
    assert "toy_taken" not in DatasetCatalog.list()


# --- training --------------------------------------------------------------------------------


@pytest.fixture
def joined(write_frames, tmp_path, forget):
    """Frames of 3 people, and an extra set of ready-made crops of 2; returns both names."""
    frames = write_frames([[0, 1, UNLABELED_PID], [2, 0], [1, 2]])
    forget += ["toy_scenes", "toy_scenes_crops", "toy_extra"]
    DatasetCatalog.register("toy_scenes", lambda: frames)
    register_crops("toy_scenes")
    (tmp_path / "extra").mkdir()
    for name in ("7_c1_a", "7_c2_b", "9_c1_c"):
        Image.new("RGB", (8, 16), (200, 30, 30)).save(tmp_path / "extra" / f"{name}.png")
    register_own_crops("toy_extra", tmp_path / "extra", "train")
    return "toy_scenes_crops", "toy_extra"


def test_ids_of_an_extra_set_go_on(joined):
    crops = load_train_crops(make_cfg(*joined, num_identities=5))
    assert [crop["person_id"] for crop in crops] == [0, 1, 2, 0, 1, 2, 3, 3, 4]
    assert [crop["domain"] for crop in crops] == [0] * 6 + [1] * 3
    assert ["bbox" in crop for crop in crops] == [True] * 6 + [False] * 3


def test_batches_of_both_sets_resume_exactly(joined):
    """Jitter included, with and without kept pixels."""
    cfg = make_cfg(*joined, num_identities=5)
    loader, _ = build_train_loader(cfg)
    batches = list(islice(loader, 6))
    assert {sample["person_id"] for batch in batches for sample in batch} == {0, 1, 2, 3, 4}
    assert {tuple(sample["image"].shape) for batch in batches for sample in batch} == {(3, 16, 8)}
    cfg.INPUT.REID.CACHE_MB = 1
    resumed, sampler = build_train_loader(cfg)
    sampler.start_iteration = 3
    for straight, again in zip(batches[3:], islice(resumed, 3), strict=True):
        assert [s["image_id"] for s in straight] == [s["image_id"] for s in again]
        for one, two in zip(straight, again, strict=True):
            np.testing.assert_array_equal(one["image"], two["image"])
