"""MTCNN: made-up weights under the names of facenet-pytorch's wheel, and in slow tests the wheel.

The slow ones look for both wheels, facenet-pytorch's and scikit-image's with its picture of an
astronaut, in the folder that $PERSON_SEARCH_WHEELS names, or for the packages as installed.
"""

import importlib.util
import io
import os
import pickle
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers_face_networks import FACE, write_arcface
from PIL import Image
from torch import nn

from reid_heads.faces import mtcnn_networks
from reid_heads.faces.command import main
from reid_heads.faces.mtcnn import MtcnnFaces, cut_squares, propose, pyramid, suppress_inside
from reid_heads.faces.mtcnn_networks import (
    WHEEL,
    expected_shapes,
    normalise,
    read_mtcnn,
    run_onet,
    run_pnet,
    run_rnet,
)

NETWORKS = ("pnet", "rnet", "onet")


def made_up(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in expected_shapes(network).items():
        spread = 0.1 if len(shape) == 1 else (2 / np.prod(shape[1:])) ** 0.5
        state[name] = spread * torch.randn(shape, generator=generator)
    return state


def sure(network):
    """Weights with which everything is a face, where it is looked for."""
    state = {name: torch.zeros(shape) for name, shape in expected_shapes(network).items()}
    answers = {"pnet": "conv4_1", "rnet": "dense5_1", "onet": "dense6_1"}
    state[f"{answers[network]}.bias"][1] = 5
    if network == "onet":
        state["dense6_3.bias"] = torch.tensor((FACE + 0.5).T.ravel()).float()
    return state


def write_wheel(path, states):
    with zipfile.ZipFile(path, "w") as wheel:
        for network, state in states.items():
            content = io.BytesIO()
            torch.save(state, content)
            wheel.writestr(f"facenet_pytorch/data/{network}.pt", content.getvalue())
    return path


class Plain(nn.Module):
    """A network of layers with the names of the state dict, in the paper's order (figure 2)."""

    def __init__(self, network):
        super().__init__()
        orders = {
            "pnet": "conv1 prelu1 pool2 conv2 prelu2 conv3 prelu3",
            "rnet": "conv1 prelu1 pool3 conv2 prelu2 pool3 conv3 prelu3 turn dense4 prelu4",
            "onet": "conv1 prelu1 pool3 conv2 prelu2 pool3 conv3 prelu3 pool2 conv4 prelu4 turn "
            "dense5 prelu5",
        }
        self.order = orders[network].split()
        shapes = expected_shapes(network)
        self.answers = []
        for name in {name.split(".")[0]: None for name in shapes}:
            shape = shapes[f"{name}.weight"]
            if len(shape) == 4:
                layer = nn.Conv2d(shape[1], shape[0], shape[2])
            else:
                layer = nn.PReLU(*shape) if len(shape) == 1 else nn.Linear(shape[1], shape[0])
            self.add_module(name, layer)
            if "_" in name:
                self.answers.append(name)

    def forward(self, x):
        for name in self.order:
            if name.startswith("pool"):
                x = nn.MaxPool2d(int(name[-1]), 2, ceil_mode=True)(x)
            elif name == "turn":
                x = x.transpose(1, 3).reshape(len(x), -1)
            else:
                x = getattr(self, name)(x)
        return [getattr(self, name)(x) for name in self.answers]


@torch.no_grad()
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_do_what_plain_layers_do(network):
    state = made_up(network)
    plain = Plain(network)
    plain.load_state_dict(state)
    size = {"pnet": (17, 26), "rnet": (24, 24), "onet": (48, 48)}[network]
    count = 1 if network == "pnet" else 3
    pixels = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))
    logits, offsets, *points = plain(pixels)
    scores = logits.exp()[:, 1] / logits.exp().sum(1)
    run = {"pnet": run_pnet, "rnet": run_rnet, "onet": run_onet}[network]
    found = run(state, pixels)
    if network == "pnet":
        offsets, scores = offsets[0].permute(1, 2, 0), scores[0]
    torch.testing.assert_close(found[0], scores)
    torch.testing.assert_close(found[1], offsets)
    for x in range(5 if points else 0):
        # Five x, then five y.
        torch.testing.assert_close(found[2][:, x, 0], points[0][:, x])
        torch.testing.assert_close(found[2][:, x, 1], points[0][:, x + 5])


@torch.no_grad()
def test_proposals_are_those_of_each_patch_by_itself():
    state = made_up("pnet", seed=7)
    picture = 255 * torch.rand(1, 3, 42, 54, generator=torch.Generator().manual_seed(2))
    boxes, scores, offsets = propose(state, picture, 0.5)
    shrunk = nn.AdaptiveAvgPool2d((22, 28))(picture)
    waiting = []
    for y in range(0, 22 - 11, 2):
        for x in range(0, 28 - 11, 2):
            score, move = run_pnet(state, normalise(shrunk[:, :, y : y + 12, x : x + 12]))
            if score.item() >= 0.6:
                box = [2 * (x + 1), 2 * (y + 1), 2 * (x + 12), 2 * (y + 12)]
                waiting.append((score.item(), box, move[0, 0]))
    expected = []
    for score, box, move in sorted(waiting, key=lambda found: -found[0]):
        if all(overlap(box, other[1]) <= 0.5 for other in expected):
            expected.append((score, box, move))
    assert len(waiting) > len(expected) == len(boxes) > 1
    np.testing.assert_allclose(scores, [found[0] for found in expected], atol=1e-5)
    assert boxes.tolist() == [found[1] for found in expected]
    torch.testing.assert_close(offsets, torch.stack([found[2] for found in expected]))


def overlap(a, b):
    w, h = (max(min(a[i + 2], b[i + 2]) - max(a[i], b[i]), 0) for i in (0, 1))
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return w * h / (sum(areas) - w * h)


def test_faces_where_everything_is_one(tmp_path):
    """By hand: 24 pixels shrink to 15, the first place is 12 of them, pixels 1 to 20."""
    wheel = write_wheel(tmp_path / WHEEL, {network: sure(network) for network in NETWORKS})
    detect = MtcnnFaces(wheel, device="cpu")
    faces = detect(np.zeros((24, 24, 3), np.uint8))
    (first,) = [face for face in faces if face.box_xyxy == (1, 1, 20, 20)]
    # A square of 20 pixels, of which pixel 1 is pixel 0 of an array.
    np.testing.assert_allclose(first.points, (FACE + 0.5) * 20, atol=1e-4)
    assert first.score == pytest.approx(1 / (1 + np.exp(-5)))
    assert detect(np.zeros((19, 300, 3), np.uint8)) == []
    assert MtcnnFaces(wheel, 0.999, "cpu")(np.zeros((24, 24, 3), np.uint8)) == []


def test_scales_shrink_the_smallest_faces_to_twelve_pixels():
    assert pyramid((19, 500)) == [] and pyramid((20, 500)) == [0.6]
    # 40 pixels become 24, 17.0 and 12.06.
    assert pyramid((40, 500)) == [0.6, 0.6 * 0.709, 0.6 * 0.709 * 0.709]


def test_a_box_within_another_goes():
    boxes = torch.tensor([[0.0, 0, 99, 99], [10, 10, 29, 29], [90, 0, 189, 99], [200, 0, 209, 9]])
    scores = torch.tensor([0.9, 0.8, 0.95, 0.7])
    # 10 of 100 columns are shared; the small one lies within, with an IoU of 0.04.
    assert suppress_inside(boxes, scores, 0.7).tolist() == [2, 0, 3]
    assert suppress_inside(boxes[:2], scores[:2].flip(0), 0.7).tolist() == [1]
    assert suppress_inside(boxes[:0], scores[:0], 0.7).tolist() == []


def test_squares_are_cut_as_far_as_they_lie_in_the_picture():
    picture = torch.arange(48.0 * 48).reshape(1, 1, 48, 48).expand(1, 3, 48, 48)
    boxes = torch.tensor([[1.0, 1, 48, 48], [-5, -5, 0, 9], [-9, 1, 24, 100], [60, 1, 70, 9]])
    kept, squares = cut_squares(picture, boxes, 24)
    assert kept.tolist() == [boxes[0].tolist(), boxes[2].tolist()]
    means = picture.reshape(3, 24, 2, 24, 2).mean((2, 4))
    torch.testing.assert_close(squares[0], (means - 127.5) / 128)
    torch.testing.assert_close(
        squares[1], (picture[0, :, :, :24].reshape(3, 24, 2, 24).mean(2) - 127.5) / 128
    )
    empty, none = cut_squares(picture, boxes[1:2], 24)
    assert len(empty) == len(none) == 0


class Unsafe:
    def __reduce__(self):
        return (print, ("run",))


def test_files_of_another_kind_are_refused(tmp_path, monkeypatch, capsys):
    path = tmp_path / "x.whl"
    with pytest.raises(FileNotFoundError, match="there is no wheel"):
        read_mtcnn(path)
    path.write_bytes(b"of yesterday")
    with pytest.raises(
        ValueError, match=r"no whole facenet_pytorch/data/pnet\.pt .*; expected face"
    ):
        read_mtcnn(path)
    states = {network: made_up(network) for network in NETWORKS}
    write_wheel(path, {"pnet": states["pnet"]})
    with pytest.raises(ValueError, match=r"holds no whole facenet_pytorch/data/rnet\.pt"):
        read_mtcnn(path)
    odd = {**states["rnet"], "dense4.weight": torch.zeros(128, 577), "extra": torch.zeros(1)}
    del odd["conv1.bias"]
    write_wheel(path, {**states, "rnet": odd})
    with pytest.raises(ValueError, match=r"not MTCNN's rnet: conv1\.bias, dense4\.weight, extra m"):
        read_mtcnn(path)
    for other in ([1], {**states["onet"], "epoch": 3}):
        write_wheel(path, {**states, "onet": other})
        with pytest.raises(ValueError, match=r"not MTCNN's onet: (conv1|epoch)"):
            read_mtcnn(path)
    write_wheel(
        path, {**states, "onet": {**states["onet"], "conv1.bias": torch.full((32,), np.nan)}}
    )
    with pytest.raises(ValueError, match=r"NaN or infinite: conv1\.bias"):
        read_mtcnn(path)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("facenet_pytorch/data/pnet.pt", pickle.dumps({"a": Unsafe()}, protocol=2))
    capsys.readouterr()
    with pytest.raises(ValueError, match="holds more than weights"):
        read_mtcnn(path)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(mtcnn_networks.importlib.util, "find_spec", lambda name: None)
    align = ["align", "--people", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main([*align, "--detector", "mtcnn"]) == 2
    assert "pip download --no-deps facenet-pytorch==2.6.0" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damage_anywhere_in_a_wheel_is_named(tmp_path):
    """PyTorch and zipfile raise errors of many kinds, none of which may end the program."""
    path, content = tmp_path / WHEEL, io.BytesIO()
    torch.save(made_up("pnet"), content, _use_new_zipfile_serialization=False)
    for place in range(0, 1200, 31):
        damaged = bytearray(content.getvalue())
        damaged[place] ^= 1
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("facenet_pytorch/data/pnet.pt", bytes(damaged))
        with pytest.raises(ValueError, match=WHEEL):
            read_mtcnn(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("facenet_pytorch/data/pnet.pt", content.getvalue())
    whole = path.read_bytes()
    for place in range(60, 200, 7):
        path.write_bytes(whole[:place] + bytes(9) + whole[place + 9 :])
        with pytest.raises(ValueError, match=r"no whole .*pnet\.pt"):
            read_mtcnn(path)


def find_wheel_or_package(package, pattern):
    """The wheel in $PERSON_SEARCH_WHEELS, or the folder of the package; skip without."""
    folder = Path(os.environ.get("PERSON_SEARCH_WHEELS", os.devnull))
    for path in folder.glob(pattern) if folder.is_dir() else ():
        return path
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed, and $PERSON_SEARCH_WHEELS has no {pattern}")
    return Path(spec.origin).parent


def read_astronaut():
    place = find_wheel_or_package("skimage", "scikit_image-*.whl")
    if place.is_dir():
        return np.asarray(Image.open(place / "data/astronaut.png").convert("RGB"))
    with zipfile.ZipFile(place) as wheel:
        content = wheel.read("skimage/data/astronaut.png")
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.fixture
def real_detector():
    place = find_wheel_or_package("facenet_pytorch", "facenet_pytorch-2.6.0-*.whl")
    return "mtcnn" if place.is_dir() else str(place)


@pytest.mark.slow
def test_the_wheels_network_finds_the_astronaut_where_the_package_does(real_detector):
    """Its own MTCNN, with keep_all, gives these numbers for scikit-image's picture."""
    detect = MtcnnFaces(None if real_detector == "mtcnn" else real_detector, device="cpu")
    (face,) = detect(read_astronaut())
    np.testing.assert_allclose(face.box_xyxy, (181.0514, 62.1561, 267.7473, 172.0502), atol=0.01)
    points = [(205.0109, 101.7275), (246.7626, 103.7141), (224.6714, 128.9650)]
    points += [(201.7161, 139.2461), (245.2655, 141.8570)]
    np.testing.assert_allclose(face.points, points, atol=0.01)
    assert face.score == pytest.approx(0.9999977, abs=1e-6)


@pytest.mark.slow
def test_align_enroll_identify_and_verify_the_astronaut(real_detector, tmp_path, capsys):
    """The face net is made up: what it sees is whether the same face is aligned alike."""
    picture = read_astronaut()
    larger = Image.fromarray(picture).resize((768, 768), Image.Resampling.BICUBIC)
    (tmp_path / "people" / "Eileen").mkdir(parents=True)
    Image.fromarray(picture).save(tmp_path / "people" / "Eileen" / "1.png")
    larger.crop((100, 0, 700, 500)).save(tmp_path / "people" / "Eileen" / "2.png")
    write_arcface(tmp_path / "net.onnx")
    source = ["--detector", real_detector, "--device", "cpu"]
    people = ["--people", str(tmp_path / "people")]
    assert main(["align", *people, "--output", str(tmp_path / "aligned"), *source]) == 0
    one, two = (
        cv2.GaussianBlur(cv2.imread(str(tmp_path / "aligned/Eileen" / f"{i}.png"), 0), (0, 0), 4)
        for i in (1, 2)
    )
    assert one.shape == (112, 112) and np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.95
    net = ["--weights", str(tmp_path / "net.onnx"), *source]
    stored = str(tmp_path / "people.npz")
    assert main(["enroll", *people, "--output", stored, *net]) == 0
    files = [str(tmp_path / "people" / "Eileen" / f"{i}.png") for i in (1, 2)]
    capsys.readouterr()
    assert main(["identify", "--people", stored, "--threshold", "0.95", *net, *files]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[5] for row in rows] == ["Eileen", "Eileen"]
    assert rows[0][1:5] == ["181", "62", "268", "172"]
    assert main(["verify", "--threshold", "0.95", *net, *files]) == 0
    assert capsys.readouterr().out.startswith("the same person: ")
