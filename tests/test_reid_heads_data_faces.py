"""Aligned-face folders and pair lists: loaded, registered, trained on and scored."""

import json

import numpy as np
import pytest
from conftest import CONFIGS, overrides_of
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from PIL import Image

from reid_heads.config import load_config
from reid_heads.data import info
from reid_heads.data.datasets.face_folders import load_face_folder, load_paired_faces
from reid_heads.data.face_catalog import register_all_faces, register_own_faces
from reid_heads.data.own_data import register_own_data
from reid_heads.evaluate import main as evaluate
from reid_heads.train_net import main

PEOPLE = ("Ann_Lee", "Bo", "Cid")
PAIRS = ["2 1", "Ann_Lee 1 2", "Ann_Lee 1 Bo 2", "Cid 1 2", "Bo 1 Cid 1"]

TINY = """
MODEL.DEVICE cpu
MODEL.WEIGHTS ''
MODEL.RESNETS.DEPTH 18
MODEL.RESNETS.STEM_OUT_CHANNELS 8
MODEL.RESNETS.RES2_OUT_CHANNELS 8
MODEL.REID_HEAD.NUM_IDENTITIES 3
INPUT.REID.SIZE (32,32)
DATALOADER.NUM_WORKERS 0
DATALOADER.REID.IMAGES_PER_IDENTITY 2
SOLVER.IMS_PER_BATCH 4
SOLVER.REID.EPOCHS 0
SOLVER.MAX_ITER 4
SOLVER.CHECKPOINT_PERIOD 4
SOLVER.STEPS ()
SOLVER.WARMUP_ITERS 0
TEST.EVAL_PERIOD 2
MODEL.CROP_REID.FLIP_TEST True
"""


def make_faces(folder, people=PEOPLE, images=2, suffix="jpg"):
    """A folder a person, each of a colour of its own."""
    for number, person in enumerate(people):
        (folder / person).mkdir(parents=True)
        for i in range(1, images + 1):
            colour = (70 * number + 30, 255 - 90 * number, 20 * i)
            image = Image.fromarray(np.full((8, 8, 3), colour, np.uint8))
            image.save(folder / person / f"{person}_{i:04d}.{suffix}")


def write_pairs(path, lines=PAIRS):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_folders_become_dicts(tmp_path):
    make_faces(tmp_path)
    (tmp_path / "pairs.txt").write_text("passed over")
    (tmp_path / ".cache").mkdir()
    faces = load_face_folder(tmp_path)
    assert [(f["image_id"], f["person_id"]) for f in faces] == [
        (f"{person}/{person}_{i:04d}.jpg", pid) for pid, person in enumerate(PEOPLE) for i in (1, 2)
    ]
    assert faces[0]["file_name"] == str(tmp_path / "Ann_Lee" / "Ann_Lee_0001.jpg")
    assert all(f["cam_id"] == 0 and "split" not in f for f in faces)


def test_bad_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_face_folder(tmp_path / "gone")
    with pytest.raises(ValueError, match="holds no folders"):
        load_face_folder(tmp_path)
    make_faces(tmp_path, ["Ann"])
    with pytest.raises(ValueError, match="all 2 crops show person 0"):
        load_face_folder(tmp_path)
    (tmp_path / "Bo").mkdir()
    with pytest.raises(ValueError, match="Bo holds no image"):
        load_face_folder(tmp_path)


def test_a_pair_list_chooses_its_images_whatever_their_format(tmp_path):
    make_faces(tmp_path / "faces", suffix="png")
    pairs = write_pairs(tmp_path / "pairs.txt")
    faces = load_paired_faces(tmp_path / "faces", pairs)
    assert [f["image_id"] for f in faces] == [
        *("Ann_Lee/Ann_Lee_0001.png", "Ann_Lee/Ann_Lee_0002.png", "Bo/Bo_0001.png"),
        *("Bo/Bo_0002.png", "Cid/Cid_0001.png", "Cid/Cid_0002.png"),
    ]


def test_missing_images_are_named(tmp_path):
    make_faces(tmp_path / "faces")
    pairs = write_pairs(tmp_path / "pairs.txt", [*PAIRS[:3], "Cid 1 9", "Bo 1 Dora 1"])
    message = r"pairs.txt names 2 images that are not in .*faces, Cid/Cid_0009 first"
    with pytest.raises(FileNotFoundError, match=message):
        load_paired_faces(tmp_path / "faces", pairs)


def test_builtin_sets(tmp_path, capsys):
    make_faces(tmp_path / "drawn-faces/train", ["p1", "p2", "p3", "p4"])
    make_faces(tmp_path / "drawn-faces/test", images=3)
    write_pairs(tmp_path / "drawn-faces/pairs.txt")
    make_faces(tmp_path / "lfw")
    write_pairs(tmp_path / "lfw/pairs.txt")
    register_all_faces(tmp_path)
    try:
        counts = {
            name: len(DatasetCatalog.get(name))
            for name in DatasetCatalog.list()
            if name.startswith(("drawn_faces", "lfw"))
        }
        metadata = MetadataCatalog.get("drawn_faces_test")
        assert metadata.load_pairs().folds.tolist() == [0, 0, 1, 1]
        assert (metadata.protocol, metadata.describe()) == ("verification", "drawn-faces, test")
        assert MetadataCatalog.get("lfw_recall").protocol == "recall"
    finally:
        register_all_faces()
    assert counts == {
        **{"drawn_faces_train": 8, "drawn_faces_test": 6, "drawn_faces_recall": 9},
        **{"lfw_test": 6, "lfw_recall": 6},
    }
    for root in (tmp_path, tmp_path / "drawn-faces"):
        assert info.main(["--dataset", "drawn_faces", "--root", str(root)]) == 0
        assert capsys.readouterr().out.splitlines()[2].split()[-3:] == ["8", "6", "9"]
    assert info.main(["--dataset", "lfw", "--root", str(tmp_path / "lfw")]) == 0
    with pytest.raises(FileNotFoundError, match="there is no folder drawn-faces in"):
        DatasetCatalog.get("drawn_faces_train")


def test_names_that_are_taken(tmp_path):
    register_own_faces("toy_faces", tmp_path, "train")
    try:
        register_own_faces("toy_faces", tmp_path, "train")
        with pytest.raises(ValueError, match="already registered"):
            register_own_faces("toy_faces", tmp_path, "recall")
    finally:
        DatasetCatalog.remove("toy_faces")
        MetadataCatalog.remove("toy_faces")
    cfg = load_config("", ["DATASETS.FACES", "[['mine', 'folder']]"])
    with pytest.raises(ValueError, match=r"DATASETS\.FACES has \['mine', 'folder'\]"):
        register_own_data(cfg)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("kind", ["verification", "recall"])
def test_trains_on_faces_and_scores_them(tmp_path, kind):
    make_faces(tmp_path / "faces")
    pairs = write_pairs(tmp_path / "pairs.txt")
    use = str(pairs) if kind == "verification" else "recall"
    faces = [["toy_f_train", str(tmp_path / "faces"), "train"]]
    faces += [["toy_f_test", str(tmp_path / "faces"), use]]
    output, result = tmp_path / "out", tmp_path / "result.json"
    options = [word.strip() for word in overrides_of(TINY)]
    options += ["DATASETS.FACES", str(faces), "DATASETS.TRAIN", "('toy_f_train',)"]
    options += ["DATASETS.TEST", "('toy_f_test',)", "OUTPUT_DIR", str(output)]
    arguments = ["--config-file", str(CONFIGS / "Base-CropReID.yaml"), *options]
    try:
        results = main(default_argument_parser().parse_args(arguments))
    finally:
        for name in ("toy_f_train", "toy_f_test"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
    metric = {"verification": "verification/accuracy", "recall": "recall/MAP@R"}[kind]
    assert json.loads((output / "model_best.json").read_text())["metric"] == metric
    command = ["--protocol", kind, "--features", str(output / "inference/embeddings.npz")]
    command += ["--pairs", str(pairs)] if kind == "verification" else []
    assert evaluate([*command, "--json", str(result)]) == 0
    assert json.loads(result.read_text()) == results[kind]
