"""A run becomes a folder that others can use; what others could not trust is refused."""

import argparse
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import draw_scene
from helpers_packed import COMMAND, RESULTS, load_run, write_run
from PIL import Image

from person_search.cli import main
from person_search.commands.packed_model import (
    collect_numbers,
    find_calibration,
    find_checkpoint,
    find_results,
    make_card,
)
from person_search.config import load_config
from person_search.evaluation.results_file import save_results
from person_search.inference.finder import PersonFinder
from person_search.inference.model_card import ModelCard
from person_search.inference.packed_file import check_fingerprint
from person_search.inference.packed_model import find_pretrained
from person_search.inference.threshold_file import Calibration, read_threshold
from reid_heads.safetensors_file import read_metadata, read_safetensors, write_safetensors

SAID = ["--licence", "CC-BY-NC-4.0", "--domain", "people of a | campus"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, its finder, and what came of packing it; no test changes them."""
    folder = tmp_path_factory.mktemp("made")
    finder = write_run(folder / "run")
    calibrate(finder).save(folder / "run" / "model_final.threshold.json")
    assert main(["models", "pack", str(folder / "run"), "--output", str(folder / "m"), *SAID]) == 0
    return folder / "run", finder, folder / "m"


@pytest.fixture
def packed(made, tmp_path):
    return shutil.copytree(made[2], tmp_path / "packed")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path / "home"))


def calibrate(finder, **values):
    known = {"threshold": 0.625, "false_alarm_rate": 0.1, "miss_rate": 0.2, "num_queries": 9}
    known |= {"gallery_size": 20, "dataset": "mine_test", "fingerprint": finder.fingerprint}
    return Calibration(**{**known, **values})


def run(capsys, *arguments):
    status = main(["models", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def assert_same_people(first, second):
    image, boxes = draw_scene([0, 1, 2])
    found, again = (x.find([image], parts=False)[0] for x in (first, second))
    for name in vars(found):
        assert np.array_equal(getattr(found, name), getattr(again, name)), name
    assert np.array_equal(first.embed(image, boxes), second.embed(image, boxes))


def test_the_folder_holds_all_that_others_need(made):
    _, finder, folder = made
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md", "config.yaml", "model.card.json", "model.files.json", "model.safetensors",
        "model.threshold.json", "results.json",
    ]  # fmt: skip
    again = PersonFinder.from_pretrained(folder, device="cpu")
    assert again.fingerprint == finder.fingerprint and again.threshold == 0.625
    assert_same_people(finder, again)
    card = again.card
    assert (card.name, card.licence) == ("m", "CC-BY-NC-4.0")
    assert card.trained_on == "mine_train; 1,200 iterations of 4 pictures, from start.pkl"
    assert card.numbers == {
        "mine_test: detection ap": 90.5,
        "mine_test: detection recall": 93.25,
        "mine_test: search mAP": 61.25,
        "mine_test: search top1": 80.0,
        "mine_test: bbox AP": 55.0,
    }


def test_no_person_and_no_folder_of_the_training_is_passed_on(made):
    run_folder, _, folder = made
    state = read_safetensors(folder / "model.safetensors")
    whole = torch.load(run_folder / "model_final.pth", weights_only=True)["model"]
    left_out = set(whole) - set(state)
    assert left_out and all(name.startswith("roi_heads.identity_losses.") for name in left_out)
    text = (folder / "config.yaml").read_text()
    assert "/home/me" not in text and str(run_folder) not in text
    cfg = load_config(str(folder / "config.yaml"))
    assert cfg.DATASETS.TRAIN == ("mine_train",) and cfg.MODEL.WEIGHTS == ""


def test_the_page_says_what_a_reader_must_know(made):
    text = (made[2] / "README.md").read_text()
    front, _, page = text.removeprefix("---\n").partition("\n---\n")
    assert front.splitlines()[:2] == ["license: cc-by-nc-4.0", "library_name: person-search"]
    assert r"| knows | people of a \| campus only |" in page
    assert f"```bash\n{COMMAND}\n```" in page and "(results.json)" in page
    assert "| search mAP | 61.25 |" in page and "similarity 0.625: on mine_test" in page
    assert made[1].fingerprint in page


@pytest.mark.slow
def test_a_model_that_is_installed_is_found_by_its_name(made, capsys, tmp_path):
    status, text, talk = run(capsys, "pack", made[0], "--as", "mine", *SAID)
    assert status == 0 and "use it with --model mine" in talk and "61.25  mine_test" in text
    assert run(capsys, "list")[1].split()[:2] == ["mine", "default"]
    assert run(capsys, "check")[:2] == (0, f"ok     {tmp_path / 'home' / 'models' / 'mine'}\n")
    picture = tmp_path / "picture.png"
    Image.fromarray(draw_scene([0, 1])[0]).save(picture)
    assert main(["find", str(picture), "--model", "mine", "--parts", "never"]) == 0
    again = run(capsys, "pack", made[0], "--as", "mine", *SAID)
    assert again[0] == 2 and "there is a model mine already" in again[2]


@pytest.mark.slow
def test_an_export_comes_along_and_goes_before(made, capsys, tmp_path):
    words = ["pack", made[0], "--output", tmp_path / "m", "--onnx", *SAID]
    assert run(capsys, *words)[0] == 0
    export = PersonFinder.from_pretrained(tmp_path / "m", device="cpu")
    trained = PersonFinder.load(tmp_path / "m" / "model.safetensors", device="cpu")
    assert type(export.network).__name__ == "OnnxNetwork"
    assert export.fingerprint == trained.fingerprint == made[1].fingerprint
    assert export.card == trained.card and export.threshold == trained.threshold == 0.625
    assert "`model.onnx` is the same model" in (tmp_path / "m" / "README.md").read_text()
    image, boxes = draw_scene([0, 1])
    np.testing.assert_allclose(export.embed(image, boxes), trained.embed(image, boxes), atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--domain", "x"], "the licence of the weights is not known; give it by --licence"),
        (["--licence", "MIT"], "it is not known whom the model knows; give it by --domain"),
        ([*SAID, "--checkpoint", "gone.pth"], "gone.pth; name one by --checkpoint. In "),
    ],
)
def test_what_is_missing_is_said(words, message, made, capsys, tmp_path):
    status, _, talk = run(capsys, "pack", made[0], "--output", tmp_path / "m", *words)
    assert status == 2 and message in talk and list(tmp_path.iterdir()) == []


def test_the_last_checkpoint_is_taken_and_not_the_best(tmp_path):
    """The best one is tagged as the last when the evaluation after a training finds it."""
    (tmp_path / "config.yaml").touch()
    for name in ("model_final.pth", "model_best.pth", "model_0000499.pth"):
        (tmp_path / name).touch()
    for last, taken in (
        ("model_best.pth", "model_final.pth"),
        ("model_0000499.pth", "model_0000499.pth"),
    ):
        (tmp_path / "last_checkpoint").write_text(last)
        assert find_checkpoint(tmp_path, None).name == taken
    (tmp_path / "last_checkpoint").unlink()
    assert find_checkpoint(tmp_path, None).name == "model_final.pth"
    assert find_checkpoint(tmp_path, Path("model_best.pth")).name == "model_best.pth"
    with pytest.raises(FileNotFoundError, match=r"has no config\.yaml; expected OUTPUT_DIR"):
        find_checkpoint(tmp_path / "gone", None)


def test_what_is_of_other_weights_is_refused(made, capsys, tmp_path):
    """Of a file that was named; what lies in the run is left out, and that is said."""
    folder = made[0]
    other = SimpleNamespace(fingerprint="0" * 64)
    results, threshold = folder / "inference/results.json", folder / "model_final.threshold.json"
    with pytest.raises(ValueError, match=rf"{results} is of another model \(.*score this one by"):
        find_results([results], folder, other)
    assert find_results(None, folder, other) == []
    assert f"{results} is of another model" in capsys.readouterr().err
    with pytest.raises(ValueError, match=rf"{threshold} was made with another model"):
        find_calibration(threshold, folder / "model_final.pth", other)
    assert find_calibration(None, folder / "model_final.pth", other) is None
    assert f"{threshold} is of another model, so it is left out" in capsys.readouterr().err
    nameless = tmp_path / "old.json"
    save_results(nameless, RESULTS, {})
    with pytest.raises(ValueError, match=rf"{nameless} does not say of which model: score this"):
        find_results([nameless], folder, made[1])
    with pytest.raises(FileNotFoundError, match="there is no results file"):
        find_results([tmp_path / "gone.json"], folder, made[1])


@pytest.mark.slow
def test_another_checkpoint_than_the_last_comes_without_its_numbers(made, capsys, tmp_path):
    words = ["--output", tmp_path / "m", *SAID, "--checkpoint", "model_0000499.pth"]
    status, text, talk = run(capsys, "pack", made[0], *words)
    assert status == 0 and "so its numbers are left out" in talk
    assert "500 iterations" in text and "mAP" not in text
    assert "Nothing: no results file" in (tmp_path / "m" / "README.md").read_text()


def test_files_with_two_numbers_of_one_name_are_refused(made, tmp_path):
    other, usual = tmp_path / "other.json", made[0] / "inference/results.json"
    record = {"model": made[1].fingerprint, "dataset": "mine_test", "command": COMMAND}
    save_results(other, {"search": {"mAP": 99.0}}, record)
    with pytest.raises(ValueError, match=r"has 99\.0 for 'mine_test: search mAP', another file 61"):
        collect_numbers(find_results([usual, other], made[0], made[1]))
    save_results(other, {"search_g50": {"mAP": 70.0}}, record)
    numbers = collect_numbers(find_results([usual, other], made[0], made[1]))
    assert numbers["mine_test: search_g50 mAP"] == 70.0 and len(numbers) == 6


def test_the_scores_of_several_test_sets_are_found(made, tmp_path):
    for name in ("prw_test", "mine_test"):
        record = {"model": made[1].fingerprint, "dataset": name, "command": COMMAND}
        save_results(tmp_path / f"inference/{name}/results.json", {"search": {"mAP": 1.0}}, record)
    numbers = collect_numbers(find_results(None, tmp_path, made[1]))
    assert set(numbers) == {"mine_test: search mAP", "prw_test: search mAP"}
    assert find_results(None, tmp_path / "empty", made[1]) == []


def test_a_card_beside_the_checkpoint_says_what_options_do_not(made, tmp_path):
    checkpoint = tmp_path / "model_best.pth"
    (tmp_path / "model_best.json").write_text('{"iteration": 299}')
    card = {"licence": "MIT", "domain": "sailors", "name": "harbour", "numbers": {"x": 99.0}}
    (tmp_path / "model_best.card.json").write_text(json.dumps(card))
    names = ("name", "licence", "domain", "trained_on", "source", "limits")
    said = argparse.Namespace(**{**dict.fromkeys(names), "domain": "divers"})
    found = make_card(said, made[0] / "config.yaml", checkpoint, "m")
    assert (found.name, found.licence, found.domain) == ("harbour", "MIT", "divers")
    # Numbers are not taken over: they come from results files.
    assert found.numbers == {} and "300 iterations" in found.trained_on
    (tmp_path / "model_best.card.json").write_text(json.dumps(card | {"licence": " "}))
    with pytest.raises(ValueError, match="licence of the weights is not known"):
        make_card(said, made[0] / "config.yaml", checkpoint, "m")


@pytest.mark.slow
def test_a_changed_config_is_known_by_the_fingerprint(packed):
    config = packed / "config.yaml"
    config.write_text(config.read_text().replace("MIN_SIZE_TEST: 80", "MIN_SIZE_TEST: 81"))
    with pytest.raises(ValueError, match=r"config beside it was changed after it was packed"):
        PersonFinder.load(packed, device="cpu")


def test_what_was_changed_after_packing_is_not_loaded(packed):
    weights, config = packed / "model.safetensors", packed / "config.yaml"
    config.write_text(config.read_text().replace("MIN_SIZE_TEST: 80", "MIN_SIZE_TEST: 81"))
    with pytest.raises(ValueError, match=r"not the model that was made: config\.yaml was changed"):
        PersonFinder.from_pretrained(packed)
    # What loads without looking at the hashes still knows it by the fingerprint.
    with pytest.raises(ValueError, match=r"config beside it was changed after it was packed"):
        check_fingerprint(weights, "0" * 64)
    (packed / "model.card.json").unlink()
    with pytest.raises(ValueError, match=r"model\.card\.json is gone"):
        PersonFinder.from_pretrained(packed)


def test_a_page_may_be_improved_and_a_calibration_added(packed, made):
    (packed / "README.md").write_text("Better words.")
    calibrate(made[1], threshold=0.5).save(packed / "model.threshold.json")
    (packed / ".gitattributes").write_text("*.onnx lfs")
    (packed / "notes.txt").write_text("mine")
    assert find_pretrained(packed) == packed / "model.safetensors"
    assert read_threshold(packed / "model.safetensors", made[1].fingerprint) == 0.5


def test_a_model_of_another_version_is_named(packed):
    weights = packed / "model.safetensors"
    state = read_safetensors(weights)
    write_safetensors(weights, state, read_metadata(weights) | {"person_search": "2"})
    with pytest.raises(ValueError, match=r"packed model of version 2; .* reads version 1: update"):
        PersonFinder.load(packed)
    write_safetensors(weights, state, {})
    with pytest.raises(ValueError, match="does not say of which model"):
        PersonFinder.load(packed)


class Code:
    """A pickle of it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_a_pickle_with_code_is_not_run(name, packed, tmp_path):
    for file in ("model.safetensors", "model.files.json"):
        (packed / file).unlink()
    torch.save({"model": Code(tmp_path / "made")}, packed / name)
    with pytest.raises(ValueError, match=r"is no safetensors file|would run code of"):
        PersonFinder.from_pretrained(packed, device="cpu")
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_from_python_a_model_is_written_with_a_card(made, tmp_path):
    finder = load_run(made[0])
    with pytest.raises(ValueError, match=r"has no card; give one, ModelCard\("):
        finder.save_pretrained(tmp_path / "m")
    card = ModelCard("mine", "sailors", "All rights reserved.", "a harbour", "", "At sea.", {})
    weights = finder.save_pretrained(tmp_path / "m", card)
    again = PersonFinder.from_pretrained(weights.parent, device="cpu")
    assert_same_people(finder, again)
    assert again.card == card
    front = (tmp_path / "m" / "README.md").read_text().splitlines()
    assert front[1:3] == ["license: other", 'license_name: "all-rights-reserved"']
    with pytest.raises(FileExistsError, match="choose a new folder"):
        finder.save_pretrained(tmp_path / "m", card)
    with pytest.raises(ValueError, match="runs its model by OnnxNetwork; only a trained one"):
        PersonFinder.load("drawn-people").save_pretrained(tmp_path / "n", card)


@pytest.mark.slow
def test_what_does_not_read_back_is_not_kept(made, tmp_path):
    finder = load_run(made[0])
    card = ModelCard("mine", "sailors", "MIT", "a harbour")
    # In memory it is another model than the one that is written.
    with torch.no_grad():
        next(finder.network.model.roi_heads.identity_branch.parameters()).mul_(1.5)
    with pytest.raises(ValueError, match="was changed after it was packed"):
        finder.save_pretrained(tmp_path / "m", card)
    assert list(tmp_path.iterdir()) == []
