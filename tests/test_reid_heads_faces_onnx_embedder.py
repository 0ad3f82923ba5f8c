"""Face nets in ONNX files: made-up weights under insightface's names and shapes."""

import json
import re

import numpy as np
import onnx
import pytest
import torch
from helpers_face_networks import arcface_rows, halve, save_graph, write_arcface
from helpers_public_weights import iresnet_state
from onnx import helper
from PIL import Image

from reid_heads.crop_description import KEY, VERSION
from reid_heads.crop_export import export_crop_model
from reid_heads.crop_model import load_crop_model
from reid_heads.faces.command import main
from reid_heads.faces.models import load_face_model
from reid_heads.faces.onnx_embedder import OnnxEmbedder
from reid_heads.onnx_files import read_onnx


def draw_faces(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("batch", "normalises"), [("None", False), (1, False), (4, False), ("None", True)]
)
def test_embeddings_are_those_of_face_and_mirror_image(tmp_path, batch, normalises):
    weights = write_arcface(tmp_path / "w600k.onnx", batch, normalises=normalises)
    faces = draw_faces(6)
    both = arcface_rows(*weights, faces) + arcface_rows(*weights, faces[:, :, ::-1])
    expected = both / np.linalg.norm(both, axis=1, keepdims=True)
    embed = OnnxEmbedder(tmp_path / "w600k.onnx", "cpu")
    found = embed(faces)
    assert embed.embedding_dim == 512 and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)
    # The order of colours matters.
    assert (found * embed(faces[..., ::-1])).sum(axis=1).max() < 0.99
    assert embed(faces[:0]).shape == (0, 512)


def test_an_export_of_this_project_says_what_it_takes(tmp_path):
    """Its normalisation is inside, so it must not be done twice."""
    said = {"version": VERSION, "color": "BGR", "mean": [0.0] * 3, "std": [1.0] * 3}
    path, faces = tmp_path / "own.onnx", draw_faces(2)
    weights = write_arcface(path, size=8, metadata={KEY: json.dumps(said)})
    mirrored = (faces[..., ::-1], faces[:, :, ::-1, ::-1])
    both = sum(arcface_rows(*weights, x, mean=0, std=1) for x in mirrored)
    expected = both / np.linalg.norm(both, axis=1, keepdims=True)
    np.testing.assert_allclose(OnnxEmbedder(path, "cpu")(faces), expected, atol=1e-5)
    for odd in (said | {"version": 99}, said | {"color": "HSV"}, {"version": VERSION}, [1]):
        write_arcface(path, size=8, metadata={KEY: json.dumps(odd)})
        with pytest.raises(ValueError, match=r"own\.onnx: its description .*export the net anew"):
            OnnxEmbedder(path, "cpu")


@pytest.mark.slow
def test_an_exported_iresnet_embeds_as_its_checkpoint(tmp_path):
    torch.save(iresnet_state((2, 2, 2, 2), (8, 8, 8, 12)), tmp_path / "backbone.pth")
    model = load_crop_model(tmp_path / "backbone.pth", device="cpu")
    export_crop_model(model, tmp_path / "own.onnx")
    faces = draw_faces(2)
    one, two = (
        load_face_model(None, str(tmp_path / name), "cpu").embed(faces)
        for name in ("backbone.pth", "own.onnx")
    )
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_the_digest_is_of_what_the_file_holds(tmp_path):
    write_arcface(tmp_path / "a.onnx", size=8)
    (tmp_path / "copy.onnx").write_bytes((tmp_path / "a.onnx").read_bytes())
    write_arcface(tmp_path / "b.onnx", size=8, seed=1)
    digests = [OnnxEmbedder(tmp_path / f"{name}.onnx", "cpu").digest for name in ("a", "copy", "b")]
    assert digests[0] == digests[1] != digests[2] and len(digests[0]) == 64


def write_other(path, shape, out, node):
    return save_graph(path, [node], {"data": shape}, {"fc1": out}, {})


def test_another_kind_of_file_is_called_what_it_is(tmp_path):
    path = tmp_path / "net.onnx"
    for content, kind in (
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS to the file"),
        (b"\xef\xbb\xbf\n<html>", "it is a web page"),
        (b"PK\x03\x04", "it is a zip archive: unpack it"),
        (b"", "it is an empty file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{kind}.*Expected the ONNX file of a face net"):
            OnnxEmbedder(path, "cpu")


def test_half_precision_is_near_single(tmp_path):
    path = tmp_path / "net.onnx"
    write_arcface(path)
    faces = draw_faces(2)
    single, half = OnnxEmbedder(path, "cpu")(faces), OnnxEmbedder(halve(path), "cpu")(faces)
    assert half.dtype == np.float32 and (single * half).sum(1).min() > 0.9999


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("../secret", "net.onnx keeps its weights in ../secret, and they cannot be read: "),
        ("link", "net.onnx keeps its weights in link, and they cannot be read: "),
        ("short", "net.onnx holds weights that are damaged: cannot reshape"),
        ("gone", "net.onnx keeps its weights in gone, which is not beside it"),
    ],
)
def test_weights_beside_a_net_that_cannot_be_read_are_named(tmp_path, location, message):
    path = tmp_path / "folder" / "net.onnx"
    path.parent.mkdir()
    write_arcface(path)
    (tmp_path / "secret").write_bytes(bytes(10**6))
    (path.parent / "short").write_bytes(bytes(100))
    (path.parent / "link").symlink_to(tmp_path / "secret")
    model = onnx.load(path)
    (weights,) = [x for x in model.graph.initializer if x.name == "project"]
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", location
    path.write_bytes(model.SerializeToString())
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        OnnxEmbedder(path, "cpu")


def test_a_constant_in_another_file_is_read_from_beside_the_net_alone(tmp_path, monkeypatch):
    """onnxruntime would look for it in the working folder."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "net.onnx"
    write_arcface(path)
    model = onnx.load(path)
    constant = onnx.TensorProto(name="secret", data_type=onnx.TensorProto.FLOAT, dims=[4])
    constant.data_location = onnx.TensorProto.EXTERNAL
    entry = constant.external_data.add()
    entry.key, entry.value = "location", "../secret"
    (tmp_path / "secret").write_bytes(bytes(16))
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=constant))
    path.write_bytes(model.SerializeToString())
    monkeypatch.chdir(path.parent)
    with pytest.raises(ValueError, match=r"weights in \.\./secret, and they cannot be read"):
        OnnxEmbedder(path, "cpu")
    with pytest.raises(ValueError, match="keeps secret in another file"):
        read_onnx(path.read_bytes(), "net")


def test_a_net_that_takes_one_face_only_says_so(tmp_path):
    """Its graph names no number of faces, but has one inside."""
    reshape = helper.make_node("Reshape", ["data", "shape"], ["fc1"])
    ends = {"data": ["n", 3, 112, 112]}, {"fc1": ["n", "d"]}
    save_graph(tmp_path / "net.onnx", [reshape], *ends, {"shape": np.array([1, 37632])})
    embed = OnnxEmbedder(tmp_path / "net.onnx", "cpu")
    assert embed(draw_faces(1)).shape == (1, 37632)
    with pytest.raises(ValueError, match=r"net\.onnx cannot be run on .* \(2, 3, 112, 112\)"):
        embed(draw_faces(2))


def test_what_is_no_face_net_is_refused(tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(FileNotFoundError, match=r"no face net .*net\.onnx; check --weights"):
        OnnxEmbedder(path, "cpu")
    path.write_bytes(b"of yesterday")
    with pytest.raises(ValueError, match="no ONNX model that onnxruntime"):
        OnnxEmbedder(path, "cpu")
    flatten = helper.make_node("Flatten", ["data"], ["fc1"])
    write_other(path, ["N", 3, 160, 160], ["N", 76800], flatten)
    with pytest.raises(ValueError, match=re.escape("expected a face net, float (N, 3, 112, 112)")):
        OnnxEmbedder(path, "cpu")
    write_other(
        path, ["N", 3, 112, 112], ["N", 3, 112, 112], helper.make_node("Relu", ["data"], ["fc1"])
    )
    with pytest.raises(ValueError, match="expected a face net"):
        OnnxEmbedder(path, "cpu")
    write_arcface(path, spoil=np.nan)
    with pytest.raises(ValueError, match="weights that are NaN or infinite: project"):
        OnnxEmbedder(path, "cpu")
    # What overflows: finite weights, and rows that are not.
    write_arcface(path, spoil=3e38)
    with pytest.raises(ValueError, match="gives NaN for a grey face"):
        OnnxEmbedder(path, "cpu")
    write_arcface(path, spoil=0)
    embed = OnnxEmbedder(path, "cpu")
    with pytest.raises(ValueError, match="all zeros, 2 of 2 faces"):
        embed(draw_faces(2))
    with pytest.raises(ValueError, match=r"faces: got shape \(2, 64, 64, 3\)"):
        embed(draw_faces(2)[:, :64, :64])


@pytest.fixture
def folder(tmp_path):
    """Two people of two pictures each, a pixel apart, a stranger, and a face net."""
    faces = draw_faces(3)
    for name, face in zip(("Ann", "Bo"), faces, strict=False):
        (tmp_path / "people" / name).mkdir(parents=True)
        for number in (1, 2):
            face[0, 0] += number
            Image.fromarray(face).save(tmp_path / "people" / name / f"{number}.png")
    Image.fromarray(faces[2]).save(tmp_path / "stranger.png")
    write_arcface(tmp_path / "net.onnx")
    return tmp_path


def test_enroll_identify_and_verify_by_an_onnx_file(folder, capsys):
    net = ["--weights", str(folder / "net.onnx")]
    people, stored = str(folder / "people"), str(folder / "people.npz")
    assert main(["enroll", *net, "--people", people, "--output", stored]) == 0
    pictures = [str(folder / "people/Bo/1.png"), str(folder / "stranger.png")]
    capsys.readouterr()
    identify = ["identify", *net, "--people", stored, "--threshold", "0.9"]
    assert main([*identify, *pictures]) == 0
    names = [line.split()[5] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == ["Bo", "nobody"]
    assert main(["verify", *net, "--threshold", "0.9", *pictures]) == 0
    assert capsys.readouterr().out.startswith("different people")
    # Another file is another model.
    write_arcface(folder / "net.onnx", seed=1)
    assert main([*identify, *pictures]) == 2
    assert "was enrolled with another model" in capsys.readouterr().err


def test_a_config_belongs_to_checkpoints_alone(folder, capsys):
    two = ["--threshold", "0", *[str(folder / "stranger.png")] * 2]
    weights = str(folder / "net.onnx")
    assert main(["verify", "--config-file", "c", "--weights", weights, *two]) == 2
    assert "is an ONNX file, which needs none; leave it out" in capsys.readouterr().err
    (folder / "net.pth").write_bytes(b"of yesterday")
    assert main(["verify", "--weights", str(folder / "net.pth"), *two]) == 2
    error = capsys.readouterr().err
    assert "without --config-file --weights takes an ONNX file" in error and "net.pth" in error
