"""``python -m reid_heads.faces`` with tiny nets of random weights and pictures of coloured blocks.

A stranger's similarity is far enough from 1 for a threshold between both, see ``threshold``.
"""

import json
import re
import runpy
import shlex
import sys

import numpy as np
import pytest
import torch
from conftest import CONFIGS
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from PIL import Image

from reid_heads.config import add_crop_reid_config, load_config
from reid_heads.config_file import read_config
from reid_heads.data.datasets.face_folders import load_face_folder
from reid_heads.evaluate import main as evaluate
from reid_heads.evaluation.embeddings import ImageEmbeddings, save_embeddings
from reid_heads.faces import command
from reid_heads.faces.alignment import TEMPLATE
from reid_heads.faces.command import main
from reid_heads.faces.detectors import Detectron2Faces
from reid_heads.faces.face_list import BOX_COLUMNS, POINT_COLUMNS, read_face_list
from reid_heads.faces.models import load_detector
from reid_heads.faces.parser import build_parser
from reid_heads.inversion.targets import Network

pytestmark = pytest.mark.usefixtures("shallow")

PEOPLE = {"Ann_Lee": (0, 1), "Bo": (10,), "Cid": (20, 21)}

DETECTOR_OPTIONS = ("--detector-config", "c", "--detector-weights", "w")

NET = """
_BASE_: {base}
MODEL:
  RESNETS: {{STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 8}}
  CROP_REID: {{FLIP_TEST: {flip}}}
  REID_HEAD: {{NAME: EmbeddingHead, EMBEDDING_DIM: {size}, NUM_IDENTITIES: 3}}
INPUT: {{REID: {{SIZE: [32, 32]}}}}
"""

DETECTOR = """
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  KEYPOINT_ON: {keypoints}
  BACKBONE: {{NAME: build_slim_resnet_backbone, FREEZE_AT: 0}}
  RESNETS: {{NORM: BN, OUT_FEATURES: [res3]}}
  SLIM_RESNET: {{STEM_CHANNELS: 8, CHANNELS: [8, 12, 16, 24], NUM_BLOCKS: [1, 1, 1, 1]}}
  ANCHOR_GENERATOR: {{SIZES: [[32, 64]]}}
  RPN: {{IN_FEATURES: [res3], PRE_NMS_TOPK_TEST: 50, POST_NMS_TOPK_TEST: 4}}
  ROI_HEADS:
    NAME: StandardROIHeads
    IN_FEATURES: [res3]
    NUM_CLASSES: {classes}
    SCORE_THRESH_TEST: 0.0
  ROI_BOX_HEAD: {{NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 16, POOLER_RESOLUTION: 4}}
  ROI_KEYPOINT_HEAD: {{NUM_KEYPOINTS: 5, CONV_DIMS: [8], POOLER_RESOLUTION: 4}}
INPUT: {{MIN_SIZE_TEST: 64}}
"""


def picture(seed):
    """Blocks of colours; neighbouring seeds of one ten differ in a corner only."""
    blocks = np.random.default_rng(seed // 10).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    blocks[0, 0] = 25 * (seed % 10)
    return np.kron(blocks, np.ones((28, 28, 1), np.uint8))


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_net(folder, name="net", flip=True, size=16, spoil=None):
    """Options of a tiny face net."""
    config, weights = folder / f"{name}.yaml", folder / f"{name}.pth"
    base = CONFIGS / "Base-Slim-CropReID.yaml"
    config.write_text(NET.format(base=base, flip=flip, size=size))
    torch.manual_seed(0)
    state = build_model(load_config(str(config))).state_dict()
    for key in state:
        if spoil is not None and key.endswith("conv1.weight"):
            state[key].fill_(spoil)
    torch.save({"model": state}, weights)
    return ["--config-file", str(config), "--weights", str(weights)]


def write_detector(folder, classes=1, keypoints=False):
    """Options of a tiny detector."""
    config, weights = folder / f"detector{classes}.yaml", folder / f"detector{classes}.pth"
    config.write_text(DETECTOR.format(classes=classes, keypoints=keypoints))
    cfg = read_config(str(config), ["MODEL.DEVICE", "cpu"], add_crop_reid_config)
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, weights)
    return ["--detector-config", str(config), "--detector-weights", str(weights)]


def write_scenes(folder, people=PEOPLE):
    """Each face somewhere in a larger picture, and the list of where."""
    lines = [",".join(("path", *BOX_COLUMNS, *POINT_COLUMNS))]
    for name, seeds in people.items():
        for place, seed in enumerate(seeds):
            x, y = 7 + 30 * place, 40 - 9 * place
            scene = np.random.default_rng(seed).integers(0, 256, (160, 200, 3), dtype=np.uint8)
            scene[y : y + 112, x : x + 112] = picture(seed)
            save(folder / name / f"{seed}.png", scene)
            numbers = [x, y, x + 112, y + 112, *(TEMPLATE + np.array([x, y])).ravel()]
            lines.append(f"{name}/{seed}.png," + ",".join(str(float(v)) for v in numbers))
    path = folder / "faces.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def net(shallow, tmp_path_factory):
    return write_net(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Aligned faces of the people, and of a stranger beside them."""
    folder = tmp_path_factory.mktemp("faces")
    for name, seeds in PEOPLE.items():
        for seed in seeds:
            save(folder / "people" / name / f"{seed}.png", picture(seed))
    save(folder / "stranger.png", picture(30))
    return folder


@pytest.fixture(scope="module")
def embed(net):
    network = Network(load_config(net[1]), net[3])
    return lambda path: network.embed([network.read({"file_name": str(path)})])[0]


@pytest.fixture(scope="module")
def threshold(faces, embed):
    """Half-way between a person's own pictures and the most similar stranger."""
    one, other, bo, cid, stranger = (
        embed(faces / name)
        for name in (
            *("people/Ann_Lee/0.png", "people/Ann_Lee/1.png", "people/Bo/10.png"),
            *("people/Cid/20.png", "stranger.png"),
        )
    )
    nearest = max(one @ bo, one @ cid, bo @ cid, *(row @ stranger for row in (one, bo, cid)))
    assert nearest < one @ other - 1e-4
    return str(float(one @ other + nearest) / 2)


@pytest.fixture(scope="module")
def enrolled(faces, net, tmp_path_factory):
    path = tmp_path_factory.mktemp("enrolled") / "people.npz"
    people = str(faces / "people")
    assert main(["enroll", *net, "--people", people, "--output", str(path)]) == 0
    return path


@pytest.fixture
def run(capsys):
    """Run the command: exit status, what it printed, what it complained of."""

    def call(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


@pytest.fixture
def fails(run):
    """Run the command to its error and return that."""

    def call(*arguments):
        status, out, error = run(*arguments)
        assert (status, out) == (2, "") and error.startswith("error: ")
        return error

    return call


def test_from_scenes_to_names(run, net, threshold, faces, tmp_path):
    """Align, enroll the aligned faces, name those of the scenes: each face is its own person's."""
    scenes = write_scenes(tmp_path / "scenes")
    aligned, people = tmp_path / "aligned", tmp_path / "people.npz"
    source = ["--people", scenes.parent, "--faces", scenes]
    status, out, _ = run("align", *source, "--output", aligned)
    assert (status, out) == (0, f"5 faces of 3 people written to {aligned}\n")
    for name, seeds in PEOPLE.items():
        for seed in seeds:
            found = np.asarray(Image.open(aligned / name / f"{seed}.png"))
            np.testing.assert_array_equal(found, picture(seed))
    assert len(load_face_folder(aligned)) == 5
    status, out, _ = run("enroll", *net, "--people", aligned, "--output", people)
    assert status == 0 and "3 people, 5 faces" in out and "personal data" in out
    # The same from the scenes.
    status, _, _ = run("enroll", *net, *source, "--output", tmp_path / "again.npz")
    one, other = (np.load(path) for path in (people, tmp_path / "again.npz"))
    assert status == 0 and one["names"].tolist() == list(PEOPLE)
    np.testing.assert_allclose(one["embeddings"], other["embeddings"], atol=1e-6)
    write_scenes(tmp_path / "scenes", {**PEOPLE, "stranger": (30,)})
    pictures = [scenes.parent / "Bo/10.png", scenes.parent / "stranger/30.png"]
    options = ["--people", people, "--threshold", threshold, "--faces", scenes]
    status, out, _ = run("identify", *net, *options, "--json", tmp_path / "out.json", *pictures)
    header, bo, stranger = (line.split() for line in out.splitlines())
    assert status == 0 and header == ["picture", "box", "name", "similarity"]
    assert bo == [str(pictures[0]), "7", "40", "119", "152", "Bo", "1.0000"]
    assert stranger[5] == "nobody" and float(stranger[6]) < float(threshold)
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["threshold"] == float(threshold)
    (face,) = content["pictures"][0]["faces"]
    assert face["similarity"] == pytest.approx(1, abs=1e-5)
    assert (face["name"], face["box_xyxy"]) == ("Bo", [7, 40, 119, 152])
    assert content["pictures"][1]["faces"][0]["name"] is None


def test_several_faces_of_a_picture_are_each_named(run, net, enrolled, threshold, tmp_path):
    scene = np.concatenate([picture(10), picture(30), picture(21)], axis=1)
    path = save(tmp_path / "party.png", scene)
    rows = [f"party.png,{x},0,{x + 112},112" for x in (0, 112, 224)]
    listed = tmp_path / "faces.csv"
    listed.write_text("\n".join(["path,x1,y1,x2,y2", *rows]))
    options = ["--people", enrolled, "--threshold", threshold, "--faces", listed]
    status, out, _ = run("identify", *net, *options, path)
    assert status == 0
    assert [line.split()[5] for line in out.splitlines()[1:]] == ["Bo", "nobody", "Cid"]


def test_means_are_of_all_pictures_of_a_person(enrolled, faces, embed):
    with np.load(enrolled) as archive:
        assert archive["embeddings"].dtype == np.float32
        row = archive["embeddings"][archive["names"].tolist().index("Ann_Lee")]
    mean = sum(embed(path) for path in (faces / "people/Ann_Lee").iterdir())
    np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_verify_with_a_threshold_that_the_evaluation_wrote(
    run, net, faces, embed, threshold, tmp_path
):
    """Its similarities are those of the evaluation, so its threshold holds here."""
    folder = faces / "people"
    names = [f"{name}/{name}_{i:04d}" for name in ("Ann_Lee", "Cid") for i in (1, 2)]
    files = [folder / "Ann_Lee/0.png", folder / "Ann_Lee/1.png"]
    files += [folder / "Cid/20.png", folder / "Cid/21.png"]
    rows = np.stack([embed(file) for file in files])
    embeddings = ImageEmbeddings(np.array(names), rows, np.array([0, 0, 1, 1]))
    save_embeddings(tmp_path / "embeddings.npz", embeddings)
    fold = ["Ann_Lee 1 2", "Ann_Lee 1 Cid 2"]
    (tmp_path / "pairs.txt").write_text("\n".join(["2 1", *fold, *fold]))
    result = tmp_path / "verification.json"
    options = ["--features", str(tmp_path / "embeddings.npz"), "--json", str(result)]
    options += ["--pairs", str(tmp_path / "pairs.txt")]
    assert evaluate(["--protocol", "verification", *options]) == 0
    limit = json.loads(result.read_text())["threshold"]
    verify = ["verify", *net, "--threshold-from", result]
    status, out, error = run(*verify, files[2], files[3])
    assert (status, error) == (0, "")
    assert out == f"the same person: similarity {rows[2] @ rows[3]:.4f}, threshold {limit:.4f}\n"
    status, out, _ = run(*verify, files[0], files[2])
    assert status == 0
    assert out.startswith(f"different people: similarity {rows[0] @ rows[2]:.4f}, ")


def test_a_threshold_without_mirror_images_is_warned_of(run, faces, tmp_path, caplog):
    (tmp_path / "t.json").write_text('{"threshold": 0.5}')
    two = [faces / "stranger.png"] * 2
    net = write_net(tmp_path, flip=False)
    assert run("verify", *net, "--threshold-from", tmp_path / "t.json", *two)[0] == 0
    assert "measured without mirror images" in caplog.text
    caplog.clear()
    assert run("verify", *net, "--threshold", "0.5", *two)[0] == 0
    assert "mirror images" not in caplog.text


def test_what_is_odd_is_warned_of(run, net, tmp_path, caplog):
    """A photo taken for an aligned face, and the choice among several faces."""
    wide = save(tmp_path / "p" / "wide.png", np.zeros((60, 90, 3), np.uint8) + 99)
    assert run("verify", *net, "--threshold", "-0.5", wide, wide)[0] == 0
    assert caplog.text.count("has 90 x 60 pixels, so is hardly an aligned face") == 1
    rows = ["path,x1,y1,x2,y2", "p/wide.png,0,0,10,10", "p/wide.png,1,0,40,50"]
    (tmp_path / "faces.csv").write_text("\n".join(rows))
    options = ["--threshold", "1", "--faces", tmp_path / "faces.csv"]
    assert run("verify", *net, *options, wide, wide)[0] == 0
    assert "wide.png shows 2 faces; taken is the one at 1 0 40 50" in caplog.text


def test_a_detector_finds_the_faces(run, fails, net, faces, tmp_path):
    options = write_detector(tmp_path)
    detect = load_detector(options[1], options[3], min_score=0.0)
    stranger = faces / "stranger.png"
    expected = detect(picture(30))
    assert expected and all(face.points is None for face in expected)
    people, out = tmp_path / "people.npz", tmp_path / "out.json"
    source = [*options, "--min-score", "0"]
    enroll = ["enroll", *net, "--people", faces / "people", "--output", people]
    assert run(*enroll, *source)[0] == 0
    identify = ["identify", *net, "--people", people, "--threshold", "0.9", "--json", out, stranger]
    assert run(*identify, *source)[0] == 0
    found = json.loads(out.read_text())["pictures"][0]["faces"]
    np.testing.assert_allclose(
        [face["box_xyxy"] for face in found], [face.box_xyxy for face in expected], atol=1e-3
    )
    # Nobody is found: an answer to identify, an error to all others.
    strict = [*options, "--min-score", "1"]
    status, text, _ = run(*identify, *strict)
    assert status == 0 and text.splitlines()[1].split()[1:] == ["-", "no", "face", "found", "-"]
    assert "0.png: there is no face in the picture" in fails(*enroll, *strict)
    verify = ["verify", *net, "--threshold", "0.9", stranger, stranger]
    assert "stranger.png: there is no face in the picture" in fails(*verify, *strict)
    align = ["align", "--people", faces / "people", "--output", tmp_path / "aligned"]
    assert "not the five points that it is aligned by" in fails(*align, *source)
    assert not (tmp_path / "aligned").exists()


def test_a_detector_of_several_classes_and_points(fails, tmp_path):
    options = write_detector(tmp_path, classes=2, keypoints=True)
    faces = [load_detector(options[1], options[3], k, 0.0)(picture(30)) for k in (0, 1)]
    assert faces[0] and faces[1]
    assert {f.box_xyxy for f in faces[0]}.isdisjoint({f.box_xyxy for f in faces[1]})
    assert all(face.points.shape == (5, 2) for face in faces[0])
    align = ["align", "--people", tmp_path, "--output", tmp_path / "out", *options]
    assert "tells 2 classes apart; say by --detector-class which" in fails(*align)
    for number in ("-1", "2"):
        message = fails(*align, "--detector-class", number)
        assert f"--detector-class is {number}; the detector has classes 0..1" in message


def test_points_of_a_detector_align(run, fails, faces, tmp_path, monkeypatch):
    points = np.concatenate([TEMPLATE, np.ones((5, 1))], axis=1)

    def predictor(image_bgr):
        found = Instances(image_bgr.shape[:2])
        found.pred_boxes = Boxes(torch.tensor([[0.0, 0, 112, 112]]))
        found.scores = torch.tensor([0.9])
        found.pred_keypoints = torch.tensor(points, dtype=torch.float32)[None]
        return {"instances": found}

    monkeypatch.setattr(command, "load_detector", lambda *_: Detectron2Faces(predictor))
    align = ["align", "--people", faces / "people", *DETECTOR_OPTIONS, "--output"]
    assert run(*align, tmp_path / "aligned")[0] == 0
    found = np.asarray(Image.open(tmp_path / "aligned/Bo/10.png"))
    assert np.abs(found.astype(int) - picture(10)).max() <= 1
    points[:, 0] *= -1
    assert "0.png: points: " in fails(*align, tmp_path / "mirrored")
    assert [path.name for path in tmp_path.iterdir()] == ["aligned"]


def test_aligned_faces_are_not_written_over(fails, tmp_path):
    scenes = write_scenes(tmp_path / "scenes")
    save(tmp_path / "aligned" / "Ann" / "old.png", picture(1))
    align = ["align", "--people", scenes.parent, "--faces", scenes, "--output"]
    assert "aligned is there already; choose a new folder" in fails(*align, tmp_path / "aligned")
    assert [path.name for path in (tmp_path / "aligned").rglob("*.png")] == ["old.png"]
    (scenes.parent / "Cid" / "21.png").write_bytes(b"broken")
    assert "cannot read the image" in fails(*align, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aligned", "scenes"]


def test_align_has_to_know_where_faces_are(fails, faces, tmp_path):
    align = ["align", "--people", faces / "people", "--output", tmp_path / "out"]
    assert "got neither --faces nor --detector-config" in fails(*align)


def test_faces_outside_of_the_picture(fails, net, faces, tmp_path):
    stranger, listed = faces / "stranger.png", tmp_path / "faces.csv"
    verify = ["verify", *net, "--threshold", "0", "--faces", listed, stranger, stranger]
    listed.write_text(f"path,x1,y1,x2,y2\n{stranger},200,0,300,90\n")
    assert "stranger.png', which is outside of" in fails(*verify)
    verify.append("--trust-this-file")
    assert "has no area in the picture of 112 x 112 pixels" in fails(*verify)
    header = ",".join(("path", *BOX_COLUMNS, *POINT_COLUMNS))
    points = ",".join(str(value) for value in (TEMPLATE + 200).ravel())
    listed.write_text(f"{header}\n{stranger},0,0,90,90,{points}\n")
    assert "lie outside of the picture of 112 x 112 pixels" in fails(*verify)


def test_an_error_keeps_what_was_stored(fails, net, faces, enrolled, tmp_path):
    old = tmp_path / "people.npz"
    old.write_bytes(b"of yesterday")
    broken = write_net(tmp_path, "broken", spoil=float("nan"))
    enroll = ["enroll", "--people", faces / "people", "--output", old]
    message = fails(*enroll, *broken)
    assert "Ann_Lee: embeddings: NaN, infinity or all zeros, 2 of 2 faces" in message
    save(tmp_path / "people" / "nobody" / "1.png", picture(1))
    enroll[2] = tmp_path / "people"
    assert "a person is called 'nobody'" in fails(*enroll, *net)
    assert old.read_bytes() == b"of yesterday"
    out = tmp_path / "out.json"
    out.write_text("of yesterday")
    (tmp_path / "b.png").write_bytes(b"broken")
    identify = ["identify", *net, "--people", enrolled, "--threshold", "0", "--json", out]
    message = fails(*identify, faces / "stranger.png", tmp_path / "b.png")
    assert "cannot read the image" in message and "b.png" in message
    assert out.read_text() == "of yesterday"
    assert not list(tmp_path.glob("*.part"))


def test_people_of_another_model_are_refused(fails, run, net, faces, enrolled, tmp_path):
    stranger, ask = faces / "stranger.png", ["identify", "--people", enrolled, "--threshold", "0"]
    other = write_net(tmp_path, "other", spoil=0.5)
    assert "was enrolled with another model" in fails(*ask, *other, stranger)
    short = write_net(tmp_path, "short", size=8)
    assert "its embeddings have 16 values" in fails(*ask, *short, stranger)
    text = (tmp_path / "other.yaml").read_text().replace("[32, 32]", "[48, 48]")
    (tmp_path / "larger.yaml").write_text(text)
    larger = ["--config-file", tmp_path / "larger.yaml", "--weights", net[3]]
    assert "was enrolled with another model" in fails(*ask, *larger, stranger)
    # A file that holds the same weights and more is the same model.
    state = torch.load(net[3])
    torch.save({**state, "iteration": 7}, tmp_path / "copy.pth")
    assert run(*ask, *net[:2], "--weights", tmp_path / "copy.pth", stranger)[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected either --threshold or --threshold-from"),
        (["--threshold", "0", "--threshold-from", "t.json"], "one of them"),
        (["--threshold", "1.5"], "--threshold is 1.5; expected a cosine within -1..1"),
        (["--threshold", "nan"], "--threshold is nan; expected a cosine"),
        (["--threshold-from", "gone.json"], "there is no file gone.json; check --threshold-from"),
        (["--threshold-from", "text.json"], "text.json is not a JSON file"),
        (["--threshold-from", "list.json"], "holds no number named threshold"),
        (["--threshold-from", "word.json"], "holds no number named threshold"),
        (["--threshold-from", "far.json"], "the threshold in far.json is -1.25; expected a cosine"),
        (["--threshold", "0", "--min-score", "0.5"], "--min-score belongs to --detector-config"),
        (["--threshold", "0", "--detector-class", "0"], "--detector-class belongs to"),
        (["--threshold", "0", "--detector-config", "c"], "--detector-weights belong together"),
        (
            [*("--threshold", "0", "--faces", "f.csv"), *DETECTOR_OPTIONS],
            "got --faces and --detector-config; faces come from one of them",
        ),
        (["--threshold", "0", "--faces", "gone.csv"], "there is no list of faces gone.csv"),
        (["--threshold", "0", "--weights", "gone.pth"], "no checkpoint gone.pth; check --weights"),
        (["--threshold", "0", "--config-file", "gone.yaml"], "no config file gone.yaml"),
        (["--threshold", "0", "--config-file", "text.json"], "text.json is no config file in YAML"),
        (
            ["--threshold", "0", "--config-file", "key.yaml"],
            "Non-existent config key: MODEL.DEVISE",
        ),
        (["--threshold", "0", "--weights", "text.json"], "text.json is not a checkpoint"),
    ],
)
def test_bad_options(fails, net, faces, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    files = {
        "text.json": "{'no JSON: [", "list.json": "[1]", "word.json": '{"threshold": "high"}',
        "far.json": '{"threshold": -1.25}', "key.yaml": "MODEL: {DEVISE: cpu}\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    stranger = faces / "stranger.png"
    assert message in fails("verify", *net, *options, stranger, stranger)


def test_wrong_checkpoints(fails, net, faces, tmp_path):
    stranger = faces / "stranger.png"
    verify = ["verify", "--threshold", "0", stranger, stranger]
    other = write_net(tmp_path, "other", size=8)
    message = fails(*verify, *net[:2], *other[2:])
    assert "other.pth is a checkpoint of another model" in message
    for content in ([1, 2], 7):
        torch.save(content, tmp_path / "odd.pth")
        message = fails(*verify, *net[:2], "--weights", tmp_path / "odd.pth")
        assert "odd.pth is not a checkpoint" in message
    detector = write_detector(tmp_path)
    message = fails(*verify, *net, *detector[:2], "--detector-weights", net[3])
    assert "net.pth is a checkpoint of another model" in message
    message = fails(*verify, "--config-file", detector[1], "--weights", detector[3])
    assert "MODEL.META_ARCHITECTURE is GeneralizedRCNN; expected CropReID" in message
    message = fails(*verify, *net, "--detector-config", "gone.yaml", *detector[2:])
    assert "there is no config file gone.yaml; check --detector-config" in message
    message = fails(*verify, *net, *detector[:2], "--detector-weights", "gone.pth")
    assert "there is no checkpoint gone.pth; check --detector-weights" in message
    (tmp_path / "odd.yaml").write_text("MODEL: {RESNETS: {DEPTH: 18}, ROI_HEADS: {NUM_CLASSES: 1}}")
    message = fails(*verify, *net, "--detector-config", tmp_path / "odd.yaml", *detector[2:])
    assert "no model can be built from" in message and "R18" in message
    assert "--min-score is 1.5" in fails(*verify, *net, *detector, "--min-score", "1.5")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(fails, net, faces):
    two = [faces / "stranger.png"] * 2
    message = fails("verify", *net, "--threshold", "0", "--device", "cuda", *two)
    assert "--device is cuda, but there is no GPU" in message


def test_missing_pictures_and_folders(fails, net, faces, enrolled, tmp_path):
    stranger, model = faces / "stranger.png", [*net, "--threshold", "0"]
    long = save(tmp_path / "long.png", np.zeros((1, 32767, 3), np.uint8))
    assert "long.png has 32767 x 1 pixels" in fails("verify", *model, stranger, long)
    assert "gone.png is not there" in fails("verify", *model, stranger, "gone.png")
    identify = ["identify", *model, "--people"]
    assert "is a folder; expected the file" in fails(*identify, enrolled, tmp_path)
    assert "there is no file of people" in fails(*identify, tmp_path / "gone.npz", stranger)
    (tmp_path / "broken.npz").write_bytes(enrolled.read_bytes()[:-40])
    assert "broken.npz: " in fails(*identify, tmp_path / "broken.npz", stranger)
    message = fails(*identify, enrolled, "--json", tmp_path, stranger)
    assert "which is a folder; expected a file to write" in message
    enroll = ["enroll", *net, "--output", tmp_path / "p.npz", "--people"]
    assert "there is no folder gone" in fails(*enroll, "gone")
    (tmp_path / "empty").mkdir()
    assert "holds no folders; expected one for each person" in fails(*enroll, tmp_path / "empty")
    (tmp_path / "empty" / "Ann").mkdir()
    assert "Ann holds no image" in fails(*enroll, tmp_path / "empty")
    enroll[-2] = tmp_path
    assert "--output is" in fails(*enroll, faces / "people")
    listed = tmp_path / "faces.csv"
    listed.write_text(f"path,x1,y1,x2,y2\n{stranger},0,0,9,9\n")
    message = fails(
        *(*enroll[:-2], tmp_path / "p.npz", "--people", faces / "people", "--faces", listed),
        "--trust-this-file",
    )
    assert "faces.csv has no face of" in message


def test_the_module_is_a_program_whose_help_tells_of_personal_data(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["faces", "identify", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("reid_heads.faces", run_name="__main__")
    text = " ".join(capsys.readouterr().out.split())
    assert "personal data" in text and "nothing is sent anywhere" in text


def test_the_guide_shows_what_is_there(tmp_path):
    """Its commands parse, and its list of faces can be read."""
    guide = (CONFIGS.parent / "docs/metric_learning_and_faces.md").read_text(encoding="utf-8")
    (options,) = re.findall(r'NET="(.*)"', guide)
    lines = re.findall(r"-m reid_heads\.faces (.*)", guide.replace("\\\n", " "))
    parsed = [build_parser().parse_args(shlex.split(x.replace("$NET", options))) for x in lines]
    commands = ["enroll", "identify", "align", "verify", "verify", "align", "align", "enroll"]
    assert [args.command for args in parsed] == commands
    (listed,) = re.findall(r"```text\n(path,.*?)```", guide, re.DOTALL)
    (tmp_path / "faces.csv").write_text(listed)
    path = save(tmp_path / "ann" / "one.jpg", np.zeros((160, 200, 3), np.uint8))
    (face,) = read_face_list(tmp_path / "faces.csv")(path).faces
    assert face.points.shape == (5, 2)
