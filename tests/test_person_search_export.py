"""Exported files do what the model does, say which model they are, and refuse to be another."""

import dataclasses
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from helpers_shipped import CHECKPOINT

from person_search.cli import main
from person_search.export import comparison, exporter
from person_search.export.exporter import TorchScriptRunner, export_finder
from person_search.export.graph import SearchGraph, example_inputs
from person_search.inference import onnx_graphs
from person_search.inference.detectors.load import load_detector
from person_search.inference.export_info import KEY, ExportInfo
from person_search.inference.finder import PersonFinder
from person_search.inference.network import Limits
from person_search.inference.onnx_graphs import raise_limits
from person_search.inference.onnx_network import OnnxNetwork
from person_search.inference.threshold_file import Calibration, threshold_path
from person_search.people import People
from person_search.synthetic.sample_pictures import draw_sample_pictures
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS

NOBODY = np.full((150, 260, 3), 128, np.uint8)


def two_pictures():
    """With people and without."""
    return draw_sample_pictures()[::2]


@pytest.fixture(scope="module", autouse=True)
def unoptimised():
    """TorchScript would optimise each program for longer than it runs here."""
    with torch.jit.optimized_execution(False):
        yield


@pytest.fixture(scope="module")
def finder():
    """The shipped model, which finds drawn people."""
    return PersonFinder.from_config(*CHECKPOINT, device="cpu")


@pytest.fixture(scope="module")
def onnx_export(finder, tmp_path_factory):
    return export_finder(
        finder,
        tmp_path_factory.mktemp("onnx") / "folder" / "model.onnx",
        pictures=[NOBODY],
    )


@pytest.fixture(scope="module")
def loaded(onnx_export):
    """What the ONNX file holds."""
    return PersonFinder.load(onnx_export.path, threads=1)


@pytest.fixture(scope="module")
def torchscript_export(finder, tmp_path_factory):
    path = tmp_path_factory.mktemp("torchscript") / "model.ts"
    return export_finder(finder, path, "torchscript", pictures=two_pictures())


@pytest.fixture(scope="module")
def pictures():
    """Wide, upright, larger and much smaller than the model's input, and without people."""
    few = {"train_frames": 4, "test_frames": 1, "train_identities": 6, "test_identities": 1}
    world = World(dataclasses.replace(PRESETS["drawn-cuhk"], **few))
    first, second = (
        np.ascontiguousarray(world.draw(number).image[:, :, ::-1]) for number in (0, 3)
    )
    return [first, second[:, :330], first[::4, ::4], NOBODY]


def write_with_description(export, path, text):
    """A copy of an export that says something else about itself, or nothing."""
    model = onnx.load(export.path)
    del model.metadata_props[:]
    if text is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = KEY, text
    onnx.save(model, path)
    return path


def assert_same_people(expected, actual):
    assert len(expected) == len(actual)
    np.testing.assert_allclose(actual.boxes, expected.boxes, rtol=0, atol=0.05)
    np.testing.assert_allclose(actual.scores, expected.scores, rtol=0, atol=1e-4)
    np.testing.assert_allclose(actual.embeddings, expected.embeddings, rtol=0, atol=1e-4)
    assert actual.boxes.dtype == actual.embeddings.dtype == np.float32


def test_the_onnx_file_finds_the_same_people(finder, loaded, pictures):
    """It was traced at one size, and runs at four others."""
    expected, actual = finder.find(pictures), loaded.find(pictures)
    for pair in zip(expected, actual, strict=True):
        assert_same_people(*pair)
    assert [len(people) > 0 for people in expected] == [True, True, True, False]
    sizes = {finder.network.settings.prepare(picture).shape for picture in pictures}
    assert len(sizes) == 3 and (*example_inputs("ResizeShortestEdge")[0].shape[1:], 3) not in sizes


def test_the_onnx_file_embeds_given_boxes(finder, loaded, pictures):
    for picture in pictures[1:3]:
        height, width = picture.shape[:2]
        for boxes in (
            [[-20, -5, width / 2, height + 9]],
            [[3, 4, 30, 90], [0, 0, width, height], [50.5, 7.25, 70, 60.75]],
        ):
            expected, actual = finder.embed(picture, boxes), loaded.embed(picture, boxes)
            assert actual.shape == (len(boxes), finder.embedding_dim)
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)
        assert loaded.embed(picture, []).shape == (0, finder.embedding_dim)
    prepared = finder.network.settings.prepare(pictures[0])
    (nobody,) = loaded.network.run([prepared], [np.zeros((0, 4), np.float32)])
    assert nobody.embeddings.shape == (0, finder.embedding_dim) and len(nobody) == 0


def test_both_outputs_come_from_one_run(finder, onnx_export, pictures):
    """As another program may use the file, without asking for a part of the graph."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_export.path))
    image = finder.network.settings.prepare(pictures[0])
    boxes = np.array([[10, 20, 60, 150]], np.float32)
    outputs = session.run(None, {"image": image.transpose(2, 0, 1), "given_boxes": boxes})
    assert_same_people(finder.network.run([image])[0], People(*outputs[:3]))
    (known,) = finder.network.run([image], [boxes])
    np.testing.assert_allclose(outputs[3], known.embeddings, rtol=0, atol=1e-4)
    shapes = {x.name: x.shape for x in (*session.get_inputs(), *session.get_outputs())}
    assert shapes == {
        "image": [3, "height", "width"],
        "given_boxes": ["given", 4],
        "boxes": ["people", 4],
        "scores": ["people"],
        "embeddings": ["people", finder.embedding_dim],
        "given_embeddings": ["given", finder.embedding_dim],
    }


def test_the_detector_does_not_run_for_given_boxes(onnx_export):
    whole = onnx.load(onnx_export.path)
    part = onnx.load_from_string(
        onnx_graphs.keep_outputs(whole.SerializeToString(), ["given_embeddings"])
    )
    onnx.checker.check_model(part)
    # The detector's best proposals.
    assert "TopK" in {node.op_type for node in whole.graph.node}
    assert "TopK" not in {node.op_type for node in part.graph.node}
    assert part.ByteSize() < 0.5 * whole.ByteSize()
    assert [output.name for output in part.graph.output] == ["given_embeddings"]


def test_a_crowd_is_found_with_raised_limits(finder, loaded, pictures):
    """In both programs, and without a trace in what follows."""
    prepared = [loaded.network.settings.prepare(pictures[0])]
    for network in (finder.network, loaded.network):
        assert network.limits == Limits(100, 100)
    expected, found = finder.network.run_crowd(prepared), loaded.network.run_crowd(prepared)
    for pair in zip(expected, found, strict=True):
        assert_same_people(*pair)
    (usual,) = loaded.network.run(prepared)
    # The model's own score threshold leaves some of 300 proposals besides those of 100.
    assert len(found[0]) > len(usual)
    assert_same_people(usual, finder.network.run(prepared)[0])


def test_limits_that_are_not_found_in_a_graph_stay(onnx_export):
    content = onnx_export.path.read_bytes()
    assert raise_limits(content, Limits(100, 100)) is not None
    assert raise_limits(content, Limits(99, 100)) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(onnx_export, tmp_path, value):
    """They find nobody, without a word."""
    model = onnx.load(onnx_export.path)
    weight = max(model.graph.initializer, key=lambda x: len(x.raw_data))
    broken = onnx.numpy_helper.to_array(weight).copy()
    broken.flat[0] = value
    weight.CopyFrom(onnx.numpy_helper.from_array(broken, weight.name))
    path = tmp_path / "broken.onnx"
    onnx.save(model, path)
    for load in (PersonFinder.load, load_detector):
        with pytest.raises(ValueError, match=rf"broken\.onnx holds weights .*{weight.name}.*anew"):
            load(path)


def test_outputs_that_are_no_numbers_are_refused(loaded, pictures, monkeypatch):
    outputs = [np.zeros((1, 4)), np.array([np.nan]), np.zeros((1, 128))]
    monkeypatch.setattr(loaded.network, "_whole", SimpleNamespace(run=lambda *_: outputs))
    with pytest.raises(ValueError, match=r"model\.onnx gives NaN or infinity: .*Export it anew"):
        loaded.find(pictures[:1])


def test_what_a_condition_reads_inside_is_kept():
    """Branches read values of the graph around them without naming them as inputs."""
    helper = onnx.helper
    inner = helper.make_node("Add", ["weight", "image"], ["sum"])
    empty = helper.make_graph([inner], "then", [], [helper.make_empty_tensor_value_info("sum")])
    outside = helper.make_graph([], "else", [], [helper.make_empty_tensor_value_info("other")])
    node = helper.make_node("If", ["any"], ["out"], then_branch=empty, else_branch=outside)
    assert {"any", "weight", "image", "other"} <= onnx_graphs._names_read(node)


@pytest.mark.slow
def test_the_torchscript_file_does_the_same(finder, torchscript_export, pictures):
    runner = TorchScriptRunner(torchscript_export.path.read_bytes())
    for picture in pictures[1::2]:
        image = finder.network.settings.prepare(picture)
        assert_same_people(finder.network.run([image])[0], runner.run([image])[0])
        boxes = np.array([[5, 5, 60, 120]], np.float32)
        expected, actual = finder.network.run([image], [boxes]), runner.run([image], [boxes])
        assert_same_people(expected[0], actual[0])
    extra = {f"{KEY}.json": ""}
    torch.jit.load(str(torchscript_export.path), _extra_files=extra)
    info = ExportInfo.from_json(extra[f"{KEY}.json"].decode(), "file")
    assert info == torchscript_export.info
    assert info.limits == finder.network.limits


def run_alone(program, path):
    """Run a program with a file as its argument in a new process; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, timeout=100
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split()


@pytest.mark.slow
def test_the_onnx_file_runs_without_pytorch_and_detectron2(onnx_export):
    program = (
        "import sys, numpy; from person_search.inference.finder import PersonFinder;"
        "s = PersonFinder.load(sys.argv[1], threads=1);"
        "print(len(s.find([numpy.zeros((90, 160, 3), numpy.uint8)])));"
        "print({'torch', 'detectron2', 'LabGym'} & set(sys.modules) or 'none')"
    )
    assert run_alone(program, onnx_export.path) == ["1", "none"]


@pytest.mark.slow
def test_the_torchscript_file_runs_without_this_code(torchscript_export):
    program = (
        "import torch, torchvision, sys; m = torch.jit.load(sys.argv[1]);"
        "print(len(m.find(torch.zeros(3, 270, 480, dtype=torch.uint8))));"
        "ours = {'person_search', 'reid_heads', 'detectron2', 'LabGym'};"
        "print(ours & set(sys.modules) or 'none')"
    )
    assert run_alone(program, torchscript_export.path) == ["3", "none"]


def test_the_file_says_which_model_it_is(finder, loaded, onnx_export):
    assert loaded.fingerprint == finder.fingerprint
    assert loaded.embedding_dim == finder.embedding_dim
    assert loaded.threshold == finder.threshold
    assert loaded.min_score == finder.min_score
    assert loaded.network.settings == finder.network.settings
    description = json.loads(onnx.load(onnx_export.path).metadata_props[0].value)
    assert description["version"] == 1 and "not normalised" in description["input"]


def test_a_calibration_beside_the_file_goes_before_the_one_inside(onnx_export, tmp_path):
    text = json.dumps({**json.loads(onnx_export.info.to_json()), "threshold": 0.25})
    path = write_with_description(onnx_export, tmp_path / "m.onnx", text)
    known = {"false_alarm_rate": 0.1, "miss_rate": 0.1, "num_queries": 5, "gallery_size": 9}
    for fingerprint, expected in ((onnx_export.info.fingerprint, 0.5), ("f" * 64, 0.25)):
        calibration = Calibration(threshold=0.5, dataset="drawn", fingerprint=fingerprint, **known)
        calibration.save(threshold_path(path))
        assert PersonFinder.load(path, threads=1).threshold == expected


def test_a_file_that_does_not_describe_itself_is_refused(onnx_export, tmp_path):
    good = json.loads(onnx_export.info.to_json())
    cases = [
        (None, "does not say which model"),
        ("{", "damaged"),
        ("[]", "version None"),
        (json.dumps({**good, "version": 3}), "version 3"),
        (json.dumps({**good, "version": 2, "resize": "nearest"}), "resize 'nearest'"),
        *(
            (json.dumps({**good, name: value}), name)
            for name, value in (
                ("fingerprint", ""),
                ("embedding_dim", 0),
                ("image_format", "YUV"),
                ("max_size", "large"),
                ("min_score", None),
                ("min_score", True),
                ("threshold", 2),
            )
        ),
        (json.dumps({k: v for k, v in good.items() if k != "min_size"}), "min_size None"),
    ]
    for text, expected in cases:
        if text is None:
            path = write_with_description(onnx_export, tmp_path / "m.onnx", None)
            with pytest.raises(ValueError, match=expected):
                PersonFinder.load(path)
        with pytest.raises(ValueError, match=expected):
            ExportInfo.from_json(text, "m.onnx")
    assert good["version"] == 1 and good["input"].startswith("uint8")
    before = json.dumps({k: v for k, v in good.items() if k != "resize"})
    assert ExportInfo.from_json(before, "m.onnx") == onnx_export.info
    # Who knows version 1 alone would resize by the other rule, and must not read it.
    other = dataclasses.replace(onnx_export.info, resize="GeneralizedRCNNTransform")
    content = json.loads(other.to_json())
    assert content["version"] == 2 and content["input"].startswith("float32")
    assert ExportInfo.from_json(other.to_json(), "m.onnx") == other
    assert other.settings.resize == "GeneralizedRCNNTransform"
    later = json.dumps({**good, "something": "new"})
    assert ExportInfo.from_json(later, "m.onnx") == onnx_export.info


def test_what_is_no_onnx_file_is_refused(onnx_export, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no model .*none\.onnx"):
        PersonFinder.load(tmp_path / "none.onnx")
    torch.jit.save(torch.jit.script(torch.nn.Identity()), tmp_path / "model.ts")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "half.onnx").write_bytes(onnx_export.path.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"model\.ts is no model as it is; expected an ONNX file"):
        PersonFinder.load(tmp_path / "model.ts")
    for name in ("empty.onnx", "half.onnx"):
        with pytest.raises(ValueError, match=f"{name} is no ONNX model"):
            PersonFinder.load(tmp_path / name)


@pytest.fixture
def quick_writer(onnx_export, monkeypatch):
    """Write the ONNX file that is there already."""
    content = onnx_export.path.read_bytes()
    monkeypatch.setitem(exporter.FORMATS, "onnx", (lambda graph, info: content, OnnxNetwork))


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(missing, finder, onnx_export, tmp_path, monkeypatch, request):
    if missing == "onnxruntime":
        request.getfixturevalue("quick_writer")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ModuleNotFoundError, match=f"needs {missing}.*pip install {missing}"
    ) as caught:
        export_finder(finder, tmp_path / "m.onnx", pictures=[NOBODY])
    assert caught.value.name == missing
    with pytest.raises(
        ModuleNotFoundError, match=f"needs {missing}.*pip install {missing}"
    ) as caught:
        PersonFinder.load(onnx_export.path)
    assert caught.value.name == missing


def test_an_export_that_does_something_else_is_not_written(
    finder, onnx_export, tmp_path, monkeypatch
):
    """The old file stays, and so does nothing else."""

    class Shifted(OnnxNetwork):
        def run(self, images, boxes=None):
            found = super().run(images, boxes)
            return [People(x.boxes + 0.1, x.scores, x.embeddings) for x in found]

    content = onnx_export.path.read_bytes()
    monkeypatch.setitem(exporter.FORMATS, "onnx", (lambda graph, info: content, Shifted))
    path = tmp_path / "model.onnx"
    path.write_text("the old one")
    with pytest.raises(ValueError, match=r"does not do what the model does .* boxes 1\.0e-01 px"):
        export_finder(finder, path, pictures=two_pictures()[:1])
    assert path.read_text() == "the old one" and list(tmp_path.iterdir()) == [path]


def test_bad_requests_are_refused(finder, onnx_export, tmp_path):
    with pytest.raises(ValueError, match="no picture to compare on"):
        export_finder(finder, tmp_path / "m.onnx", pictures=[])
    with pytest.raises(IsADirectoryError, match="is a folder"):
        export_finder(finder, tmp_path, pictures=[NOBODY])
    with pytest.raises(ValueError, match="expected one of onnx, torchscript"):
        export_finder(finder, tmp_path / "m.onnx", "tensorflow", pictures=[NOBODY])
    with pytest.raises(ValueError, match="OnnxNetwork"):
        export_finder(PersonFinder.load(onnx_export.path), tmp_path / "m.onnx", pictures=[NOBODY])


def make_people(scores, seed=0):
    rng = np.random.default_rng(seed)
    count = len(scores)
    boxes = rng.uniform(0, 400, (count, 4)).astype(np.float32)
    return People(boxes, np.array(scores, np.float32), np.ones((count, 2), np.float32))


class Fixed:
    """Finds the same people in every picture."""

    def __init__(self, people):
        self.people = people

    def run(self, images, boxes=None):
        return [self.people if boxes is None else make_people([1] * len(boxes[0]), seed=1)]


def compare_fixed(finder, expected, actual):
    return comparison.compare(
        Fixed(expected), Fixed(actual), finder.network.settings, [NOBODY, NOBODY]
    )


def test_the_comparison_counts_and_takes_the_largest(finder):
    people = make_people([0.9, 0.8, 0.8])
    swapped = people.select(np.array([0, 2, 1]))
    same = compare_fixed(finder, people, swapped)
    assert same == comparison.Differences(2, 6, 6, 0.0, 0.0, 0.0)
    comparison.check(same)
    moved = People(swapped.boxes + 0.01, swapped.scores - 0.25, swapped.embeddings)
    moved.embeddings[1, 1] = 0.5
    different = compare_fixed(finder, people, moved)
    assert different.boxes == pytest.approx(0.01, abs=1e-4)
    assert (different.scores, different.embeddings) == (0.25, 0.5)
    for broken in (different, comparison.Differences(1, 1, 1, 0.0, 0.0, float("nan"))):
        with pytest.raises(ValueError, match="Nothing was written"):
            comparison.check(broken)


@pytest.mark.parametrize("rows", [[0, 1], [0, 1, 1], []])
def test_the_comparison_refuses_other_people(finder, rows):
    people = make_people([0.9, 0.8, 0.7])
    with pytest.raises(ValueError, match=f"{len(rows)} instead of 3 people in picture 1"):
        compare_fixed(finder, people, people.select(np.array(rows, int)))


def test_the_comparison_has_people_and_nobody(finder):
    found = finder.find(draw_sample_pictures())
    assert [len(people) > 0 for people in found] == [True, True, False]


def test_a_model_in_half_precision_is_refused():
    model = torch.nn.Linear(2, 2).half()
    with pytest.raises(ValueError, match=r"float16 on cpu; export a model in float32"):
        SearchGraph(model)


SHIPPED = ("--config-file", str(CHECKPOINT[0]), "--weights", str(CHECKPOINT[1]))


@pytest.mark.usefixtures("quick_writer")
def test_the_command_exports_and_compares(onnx_export, tmp_path, capsys):
    output = tmp_path / "model.onnx"
    assert main(["export", *SHIPPED, "--output", str(output)]) == 0
    text = capsys.readouterr().out
    assert f"wrote {output}" in text and onnx_export.info.fingerprint[:12] in text
    assert "3 pictures" in text and "largest differences" in text
    assert output.read_bytes() == onnx_export.path.read_bytes()


def test_the_command_refuses_what_cannot_be_meant(tmp_path, capsys):
    weights = CHECKPOINT[1]
    for arguments, expected in (
        (["--output", str(weights)], "ending in .onnx"),
        (["--output", "m.onnx", "--format", "torchscript"], "ending in .ts or .pt"),
        (["--output", "m.onnx", "--image", str(tmp_path / "no.jpg")], "no.jpg"),
    ):
        assert main(["export", *SHIPPED, *arguments]) == 2
        assert expected in capsys.readouterr().err
