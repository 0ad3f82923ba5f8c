"""Which model is meant by a name, a file, a folder, or by nothing at all."""

import json
import os

import numpy as np
import pytest
from helpers_onnx import make_constant_detector, make_mean_crop_net

from person_search.inference.export_info import KEY, ExportInfo
from person_search.inference.finder import PersonFinder
from person_search.inference.model_card import DRAWN_PEOPLE, ModelCard
from person_search.inference.models import (
    BUILTIN,
    builtin_model,
    default_model,
    find_model,
    folder_of,
    installed_models,
)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def install(home, name, file="model.onnx", domain="people on streets", age=0.0):
    """Put a made-up model where installed ones are."""
    folder = home / "models" / name
    folder.mkdir(parents=True)
    (folder / file).touch()
    os.utime(folder / file, (1e9 - age, 1e9 - age))
    card = {"name": name, "domain": domain, "licence": "MIT", "trained_on": "nothing"}
    (folder / "model.card.json").write_text(json.dumps(card))
    return folder / file


def test_a_model_is_a_file_a_folder_or_an_installed_name(home, tmp_path):
    street = install(home, "street", "model.json")
    assert installed_models() == {"street": street}
    assert find_model("street") == find_model(street) == find_model(street.parent) == street
    own = tmp_path / "own.onnx"
    own.touch()
    assert find_model(str(own)) == own
    assert find_model(BUILTIN) == builtin_model() and builtin_model().is_file()


def test_a_folder_without_a_model_does_not_hide_the_model_of_its_name(home, tmp_path, monkeypatch):
    """A folder "drawn-people" of pictures kept the page and the demo from starting."""
    street = install(home, "street")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "street").mkdir(), (tmp_path / BUILTIN).touch()
    assert find_model("street") == street and find_model(BUILTIN) == builtin_model()


def test_without_a_name_the_newest_that_knows_real_people_is_taken(home, monkeypatch):
    assert default_model() == builtin_model()
    install(home, "mine", domain=DRAWN_PEOPLE)
    (home / "models" / "half-done").mkdir()
    assert default_model() == builtin_model()
    old = install(home, "old", "model.pth", age=9)
    assert default_model() == old
    new = install(home, "new", age=3)
    assert default_model() == new
    monkeypatch.setenv("PERSON_SEARCH_MODEL", "old")
    assert default_model() == old


@pytest.mark.parametrize(
    ("domain", "is_default"), [("people on streets", True), (DRAWN_PEOPLE, False)]
)
def test_an_export_that_a_hand_put_there_counts_by_the_card_inside(home, domain, is_default):
    """Only a card beside a file was looked at, so that no export was ever the default."""
    broken = home / "models" / "broken" / "model.onnx"
    hand = home / "models" / "hand" / "model.onnx"
    for file in (hand, broken):
        file.parent.mkdir(parents=True)
    broken.write_text("no graph")
    os.utime(broken, (4e9, 4e9))
    card = {"name": "hand", "domain": domain, "licence": "MIT", "trained_on": "nothing"}
    info = ExportInfo("f", 4, "RGB", 32, 64, 0.5, card=ModelCard(**card))
    metadata = {KEY: info.to_json()}
    hand.write_bytes(make_constant_detector({"boxes": np.zeros((0, 4))}, metadata=metadata))
    assert default_model() == (hand if is_default else builtin_model())
    # The one beside it goes before.
    card["domain"] = DRAWN_PEOPLE
    hand.with_suffix(".card.json").write_text(json.dumps(card))
    assert default_model() == builtin_model()


def test_a_model_that_is_being_written_is_not_there_yet(home):
    """A killed import once left a half-written folder that became the default model."""
    install(home, ".street.x1y2.part", "model.pth")
    assert installed_models() == {} and default_model() == builtin_model()


def test_what_is_no_model_is_refused(home, tmp_path, monkeypatch):
    install(home, "street")
    with pytest.raises(FileNotFoundError, match=r"no model sreet.*by name: street, drawn-people"):
        find_model("sreet")
    with pytest.raises(ValueError, match=r"holds no model: expected one of model\.onnx"):
        find_model(tmp_path)
    weights = tmp_path / "seqnet.pth"
    weights.touch()
    with pytest.raises(ValueError, match=r"is no model as it is.*person-search models import"):
        find_model(weights)
    monkeypatch.setenv("PERSON_SEARCH_MODEL", "gone")
    with pytest.raises(FileNotFoundError, match=r"PERSON_SEARCH_MODEL is gone.*unset it"):
        default_model()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/abs", ".hidden", "-x", "a b", "a\nb", "a" * 101]
)
def test_what_is_no_name_for_a_new_model_is_refused(name):
    with pytest.raises(ValueError, match=r"a model cannot be named .*; expected letters"):
        folder_of(name)


def test_a_new_model_lies_where_it_is_found(home):
    assert folder_of("osnet_x0_25.v2-a") == home / "models" / "osnet_x0_25.v2-a"
    with pytest.raises(ValueError, match="and not drawn-people"):
        folder_of(BUILTIN)


def test_a_model_that_is_half_made_is_none(home):
    install(home, ".street.x1y2.part")
    assert installed_models() == {} and default_model() == builtin_model()


def test_a_folder_of_footage_does_not_hide_the_model_of_its_name(home, tmp_path, monkeypatch):
    street = install(home, "street")
    (tmp_path / "street").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("street") == street


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            make_mean_crop_net(),
            r"is a crop network: .*`person-search models import \S+ --detector D`",
        ),
        (
            make_constant_detector({"boxes": np.zeros((0, 4)), "scores": np.zeros(0)}),
            r"if it is a detector, .*models import CROP_NETWORK --detector \S+half\.onnx`",
        ),
    ],
)
def test_a_half_of_a_model_says_how_it_becomes_one(tmp_path, content, message):
    """Such files were said to be none of export's, which was no help."""
    (tmp_path / "half.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        PersonFinder.load(tmp_path / "half.onnx", device="cpu")
