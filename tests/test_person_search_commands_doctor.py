"""What doctor finds, on this machine and on worse ones."""

import importlib.util
import json
import os
import sys
import tempfile
from collections import namedtuple

import pytest

from person_search.cli import main
from person_search.commands import doctor, parts
from person_search.commands.parts import Part, find_origin, find_parts

Distribution = namedtuple("Distribution", ["version", "read_text", "locate_file"])


def make_distribution(version, url=None, folder="/site"):
    record = None if url is None else json.dumps({"url": url})
    return Distribution(version, lambda name: record, lambda name: folder)


def without(monkeypatch, *modules):
    """Let some modules be missing, and the slow ones say nothing."""
    found = importlib.util.find_spec

    def find_spec(name, *rest):
        return None if name in modules else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def part_named(name):
    (part,) = [part for part in find_parts() if part.name == name]
    return part


def test_a_complete_installation(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for name in ("onnxruntime", "simsimd", "gradio", "torch", "detectron2", "default model"):
        assert f"\nyes  {name} " in text
    assert "CPU" in text and "CUDA: " in text and "index, search and serve have what" in text


def test_what_is_missing_is_named_with_what_to_type(monkeypatch, capsys):
    without(monkeypatch, "gradio", "onnxscript", "detectron2")
    assert main(["doctor", "--json"]) == doctor.INCOMPLETE
    answer = json.loads(capsys.readouterr().out)
    assert answer["ready"] is False
    missing = {part["name"]: part for part in answer["parts"] if not part["is_there"]}
    assert missing.keys() >= {"gradio", "onnxscript", "detectron2"}
    assert missing["gradio"]["is_required"] and not missing["onnxscript"]["is_required"]
    assert missing["gradio"]["what_to_type"].startswith("pip install gradio")
    assert "[train]" in missing["onnxscript"]["what_to_type"]
    assert "git+https://" in missing["detectron2"]["what_to_type"]


def test_a_table_says_what_each_part_is_for():
    table = doctor.format_parts(
        [
            Part("gone", "flying", True, False, "not installed", "pip install gone"),
            Part("there", "landing", True, True, "1.0"),
        ]
    )
    assert "NO   gone   not installed\n" in table
    assert "needed for flying\n" in table and "type: pip install gone\n" in table
    assert "yes  there  1.0\n" in table and table.endswith("lack what says NO above")


def test_only_what_is_needed_counts(monkeypatch):
    assert doctor.is_ready([Part("p", "x", False, False, ""), Part("q", "x", True, True, "")])
    assert not doctor.is_ready([Part("p", "x", True, False, "")])


def test_a_model_in_pytorch_needs_pytorch(monkeypatch, tmp_path):
    without(monkeypatch, "torch")
    for file, is_required in (("model.onnx", False), ("model.pth", True)):
        monkeypatch.setattr(
            parts, "find_model", lambda file=file: Part("default model", "x", True, True, file)
        )
        assert part_named("torch").is_required == is_required


@pytest.mark.parametrize(
    ("detector", "expected"), [("detector.onnx", False), ("torchvision:a", True), (None, False)]
)
def test_two_steps_need_pytorch_for_a_detector_of_its_zoos(tmp_path, detector, expected):
    file = tmp_path / "model.json"
    file.write_text(json.dumps({"detector": detector, "crop_net": "crop_net.onnx"}))
    assert parts.needs_pytorch(str(file)) == expected
    assert not parts.needs_pytorch(str(tmp_path / "gone.json"))


def test_a_library_that_this_machine_cannot_load_counts_as_missing(monkeypatch):
    """Such as one that was compiled against a newer glibc."""

    def fail():
        raise ImportError("libc.so.6: version `GLIBC_2.99' not found\nmore")

    package = parts._Package("onnxruntime", "models", True, fail)
    found = parts.find_package(package, True)
    assert not found.is_there and found.is_required
    assert found.detail.endswith("version `GLIBC_2.99' not found")
    assert found.what_to_type == "pip install --force-reinstall --no-deps onnxruntime"


def test_a_folder_of_a_package_s_name_is_no_package(monkeypatch, tmp_path):
    (tmp_path / "folder_named_like_a_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    package = parts._Package("folder_named_like_a_package", "nothing")
    assert not parts.find_package(package, False).is_there


@pytest.mark.parametrize(
    ("distribution", "origin"),
    [
        (make_distribution("0.6+labgym3.1.2"), "the copy in the wheel LabGym"),
        (make_distribution("0.6", "https://github.com/x/detectron2.git"), "https://github.com"),
        (make_distribution("0.6"), "a wheel"),
        (None, "a folder on the path"),
    ],
)
def test_which_way_detectron2_came(distribution, origin):
    assert find_origin(distribution).startswith(origin)


def test_an_installation_beside_an_old_one_is_found(monkeypatch):
    both = [make_distribution("0.1.0"), make_distribution("0.2.0")]
    monkeypatch.setattr(parts, "distributions", lambda name: both)
    found = parts.find_installation()
    assert not found.is_there and "0.1.0, 0.2.0" in found.detail
    assert "pip uninstall person-search" in found.what_to_type
    monkeypatch.setattr(parts, "distributions", lambda name: [])
    assert "not installed" in parts.find_installation().detail


def test_a_folder_that_cannot_be_written_to_is_named(monkeypatch, tmp_path):
    assert parts.find_write_access(tmp_path).is_there and not list(tmp_path.iterdir())

    def refuse(**_):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    found = parts.find_write_access(tmp_path)
    assert not found.is_there and found.detail == f"{tmp_path}: {os.strerror(13)}"


def test_a_missing_model_is_explained(monkeypatch):
    monkeypatch.setenv("PERSON_SEARCH_MODEL", "/nowhere/model")
    found = parts.find_model()
    assert not found.is_there and "/nowhere/model" in found.detail


def test_a_trained_model_is_named_by_two_variables(monkeypatch, tmp_path):
    weights, config = tmp_path / "model.pth", tmp_path / "config.yaml"
    weights.touch()
    monkeypatch.setenv("PERSON_SEARCH_WEIGHTS", str(weights))
    assert not parts.find_model().is_there
    monkeypatch.setenv("PERSON_SEARCH_CONFIG", str(config))
    assert "name no files" in parts.find_model().detail
    config.touch()
    assert parts.find_model().is_there and part_named("torch").is_required


def test_doctor_needs_none_of_the_packages_it_looks_for(monkeypatch, capsys):
    """It is for machines where they are missing."""
    names = [package.module for package in parts.PACKAGES]
    without(monkeypatch, *names)
    for name in ("numpy", "person_search.inference.finder"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.count("type: ") >= len(names)
