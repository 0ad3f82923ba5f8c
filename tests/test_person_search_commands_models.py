"""Models by name: listed, shown, made of public files."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from conftest import shallow_resnets, undrawn
from helpers_onnx import make_constant_detector, make_mean_crop_net
from helpers_public_search_weights import seqnet_state
from helpers_public_weights import osnet_state
from PIL import Image
from test_reid_heads_importers_crop_resnets import fast_reid

from person_search.cli import main
from person_search.commands import public_checkpoint
from person_search.inference.finder import PersonFinder
from person_search.inference.models import installed_models
from reid_heads.importers.imported import ImportedModel

CARD = ["--domain", "people on streets", "--licence", "MIT"]


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def networks(tmp_path):
    """Files of a detector that sees one person anywhere, and of a crop network."""
    boxes = {
        "boxes": np.array([[4, 4, 12, 28]], np.float32),
        "scores": np.array([0.9], np.float32),
    }
    detector, crop_net = tmp_path / "somebody.onnx", tmp_path / "mean.onnx"
    detector.write_bytes(make_constant_detector(boxes))
    crop_net.write_bytes(make_mean_crop_net())
    return detector, crop_net


def run(capsys, *arguments):
    status = main(["models", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_two_files_become_a_model_by_name(networks, tmp_path, capsys, home):
    detector, crop_net = networks
    words = ["import", crop_net, "--detector", detector, "--as", "street", *CARD]
    status, text, talk = run(capsys, *words)
    assert status == 0 and "knows        people on streets" in text
    assert "use it with --model street" in talk
    assert "source       mean.onnx, with the detector somebody.onnx" in text
    detector.unlink(), crop_net.unlink()  # the model has copies
    _, text, _ = run(capsys, "list")
    text, _, to_fetch = text.partition("\n\n")
    assert "nanodet-m" in to_fetch
    assert [line.split()[:2] for line in text.splitlines()] == [
        ["street", "default"],
        ["drawn-people", "drawn"],
    ]
    picture = tmp_path / "picture.png"
    Image.new("RGB", (32, 32), (200, 10, 10)).save(picture)
    assert main(["find", str(picture), "--model", "street"]) == 0
    assert "1 people" in capsys.readouterr().out
    # Without a name it is the default: it knows more than drawn people.
    assert PersonFinder.load().card.name == "street"


def test_weights_beside_a_network_s_file_become_part_of_the_model(networks, tmp_path, capsys):
    """Only the file itself was copied, so that the import said its weights are missing."""
    detector, crop_net = networks
    beside = {"save_as_external_data": True, "location": "mean.bin", "size_threshold": 0}
    onnx.save(onnx.load(crop_net), crop_net, **beside)
    words = ["import", crop_net, "--detector", detector, "--as", "street"]
    (tmp_path / "mean.bin").rename(tmp_path / "away.bin")
    status, _, talk = run(capsys, *words)
    assert status == 2 and f"{crop_net} keeps its weights in mean.bin" in talk
    (tmp_path / "away.bin").rename(tmp_path / "mean.bin")
    assert run(capsys, *words)[0] == 0
    (tmp_path / "mean.bin").unlink()
    (people,) = PersonFinder.load("street").find([np.zeros((32, 32, 3), np.uint8)])
    assert len(people) == 1


@pytest.mark.slow
def test_two_onnx_files_become_a_model_without_pytorch(networks, tmp_path):
    """The small installation has none; a top-level import asked for it all the same."""
    program = (
        "import sys; sys.modules.update(torch=None, detectron2=None)\n"
        "from person_search.cli import main; sys.exit(main())"
    )
    detector, crop_net = networks
    words = ["models", "import", crop_net, "--detector", detector, "--as", "street"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    words[2], words[-1] = tmp_path / "weights.pth", "other"
    # A page in the file's place was said to need PyTorch, some 200 MB that do not help.
    for start, message in (("PK\x03\x04", "run: pip install"), ("<html>", "begins as a web page")):
        words[2].write_text(start)
        for chosen in (words, [*words[:3], "--as", "other"]):
            done = subprocess.run(
                [sys.executable, "-c", program, *chosen], capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 2 and message in done.stderr


def test_what_comes_along_is_shown_with_its_numbers(capsys):
    status, text, _ = run(capsys, "show", "drawn-people")
    assert status == 0
    assert "licence      Apache-2.0" in text and "threshold    0.806" in text
    assert "67.9  drawn_cuhk_test, gallery 100: search mAP" in text


def test_a_model_without_a_card_says_that_nothing_is_known(networks, capsys, home):
    run(capsys, "import", networks[1], "--detector", networks[0], "--as", "street")
    (home / "street" / "model.card.json").unlink()
    assert "none: nothing is known" in run(capsys, "show", "street")[1]
    assert "no card" in run(capsys, "list")[1]


def test_what_cannot_become_a_model_leaves_nothing(networks, tmp_path, capsys, home, monkeypatch):
    detector, crop_net = networks
    gone = tmp_path / "gone.pth"
    for words, message in (
        ([gone], "there is no file"),
        ([crop_net], "needs --detector"),
        ([crop_net, "--detector", tmp_path / "no.onnx"], "there is no detector"),
        ([detector, "--detector", detector], "expected a crop net"),
    ):
        status, _, talk = run(capsys, "import", "--as", "street", *words)
        assert status == 2 and message in talk, message
        assert not (home / "street").exists(), message
    monkeypatch.setattr(public_checkpoint, "read_checkpoint", lambda file: "a checkpoint")
    monkeypatch.setattr(public_checkpoint, "crop_family", lambda checkpoint: "torchreid OSNet")
    gone.write_bytes(b"PK\x03\x04")
    assert "finds none; name what finds them" in run(capsys, "import", gone)[2]
    run(capsys, "import", crop_net, "--detector", detector, "--as", "street")
    again = run(capsys, "import", crop_net, "--detector", detector, "--as", "street")
    assert again[0] == 2 and "choose another name by --as" in again[2]
    assert list(installed_models()) == ["street"]


def test_a_broken_card_does_not_hide_the_other_models(networks, capsys, home):
    for name in ("street", "station"):
        run(capsys, "import", networks[1], "--detector", networks[0], "--as", name)
    os.utime(home / "station" / "model.json", (4e9, 4e9))  # the newest is the default
    (home / "station" / "model.card.json").write_text("{")
    status, text, talk = run(capsys, "list")
    assert status == 0 and "there is no default" in talk and "is no JSON" in talk
    known = {line.split()[0]: line for line in text.splitlines() if line}
    assert "cannot be used" in known["station"] and "real people" in known["street"]


def test_the_default_is_what_the_environment_names(capsys, home, tmp_path, monkeypatch):
    """Weights of the environment go before installed models, which were marked in their place."""
    monkeypatch.setenv("PERSON_SEARCH_CONFIG", "c.yaml")
    monkeypatch.setenv("PERSON_SEARCH_WEIGHTS", "w.pth")
    lines = run(capsys, "list")[1].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines if "default" in line] == ["by"]
    assert lines[-1].endswith(" w.pth")


@pytest.mark.parametrize("name", ["a/b", "../street", "/tmp/street", "..", ".", "", "drawn-people"])
def test_a_name_that_no_model_can_have_is_refused(networks, tmp_path, capsys, home, name):
    """With a slash the model was written where no command finds it by its name."""
    detector, crop_net = networks
    status, _, talk = run(capsys, "import", crop_net, "--detector", detector, "--as", name)
    assert status == 2 and f"a model cannot be named {name!r}; expected" in talk
    assert not home.exists() and sorted(tmp_path.iterdir()) == sorted(networks)


def test_a_name_that_install_takes_is_left_to_it(networks, capsys, home):
    detector, crop_net = networks
    words = ["import", crop_net, "--detector", detector, "--as", "street-basic"]
    status, _, talk = run(capsys, *words)
    assert status == 2 and "models install street-basic` fetches; choose another by --as" in talk
    assert not home.exists()


@pytest.mark.parametrize("below", ["file", "file/x", "/proc/nowhere"])
def test_a_home_where_nothing_can_be_is_named_with_what_to_do(
    below, networks, tmp_path, capsys, monkeypatch
):
    """It ended with the number of an error and a path that nobody had typed."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path / below))
    for words in (
        ["import", networks[1], "--detector", networks[0], "--as", "street"],
        ["install", "street-basic"],
    ):
        status, _, talk = run(capsys, *words)
        assert status == 2 and f"PERSON_SEARCH_HOME is {tmp_path / below}: there can be no" in talk
        assert "set PERSON_SEARCH_HOME to a folder" in talk and "[Errno" not in talk


def test_a_home_whose_models_cannot_be_read_is_named(capsys, monkeypatch):
    monkeypatch.setenv("PERSON_SEARCH_HOME", "/tmp/" + "a" * 300)
    status, _, talk = run(capsys, "list")
    assert status == 2 and "PERSON_SEARCH_HOME is /tmp/aaa" in talk and "[Errno" not in talk


def test_messages_name_the_files_that_were_given(networks, tmp_path, capsys, home):
    detector, crop_net = networks
    broken, blind = tmp_path / "broken.onnx", tmp_path / "blind.onnx"
    broken.write_text("no graph")
    nan = {"boxes": np.full((1, 4), np.nan, np.float32), "scores": np.full(1, np.nan, np.float32)}
    blind.write_bytes(make_constant_detector(nan))
    for words, name in (
        ([broken, "--detector", detector], broken),
        ([crop_net, "--detector", broken], broken),
        ([crop_net, "--detector", blind], blind),
    ):
        status, _, talk = run(capsys, "import", *words, "--as", "street")
        assert status == 2 and f" {name}" in talk and ".part" not in talk, talk
        assert list(home.iterdir()) == []


def test_a_model_that_is_installed_already_says_how_it_is_used(capsys, home):
    (home / "street-basic").mkdir(parents=True)
    (home / "street-basic" / "model.json").touch()
    status, _, talk = run(capsys, "install", "street-basic")
    assert status == 2 and "is installed already" in talk and "--model street-basic" in talk


def test_weights_that_do_not_fill_a_network_are_refused():
    model = torch.nn.Linear(2, 1)
    half = {"weight": torch.zeros(1, 2)}
    imported = ImportedModel("SeqNet", "c.yaml", [], half, {"head": 1}, {"epoch": "no"}, ["Note."])
    with pytest.raises(ValueError, match=r"does not fit c\.yaml: nothing for bias$"):
        public_checkpoint.load_imported(model, imported)
    lines = public_checkpoint.describe(imported)
    assert lines[0] == "SeqNet: 1 tensors placed (head 1)"
    assert lines[-2:] == ["passed over: epoch: no", "Note."]


@pytest.fixture
def agw(tmp_path):
    """A file of fast-reid's, of which nobody can tell which size its crops had."""
    file = tmp_path / "agw.pth"
    torch.save({"model": fast_reid(gem=True)}, file)
    with shallow_resnets(), undrawn():
        yield file


def test_what_weights_do_not_tell_is_set_and_stands_in_the_model(agw, networks, capsys, home):
    words = ["import", agw, "--detector", networks[0], "--as", "agw"]
    settings = ["--set", "INPUT.REID.SIZE", "(64,32)", "--set", "MODEL.REID_HEAD.POOLING", "gem"]
    status, text, talk = run(capsys, *words, *settings)
    assert status == 0, talk
    assert "INPUT.REID.SIZE (64,32)" in text and "(384,128)" not in text
    assert "say INPUT.REID.SIZE" not in text
    metadata = onnx.load(home / "agw" / "crop_net.onnx").metadata_props
    said = json.loads(next(entry.value for entry in metadata if entry.key == "reid_heads"))
    assert (said["height"], said["width"], said["interpolation"]) == (64, 32, "bicubic")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "INPUT.REID.SIEZ",
            "(64,32)",
            "Non-existent key: INPUT.REID.SIEZ; did you mean INPUT.REID",
        ),
        ("MODEL.REID_HEAD.MGN.REDUCTION_DIM", "8", "MGN.REDUCTION_DIM is 8, read by MODEL.REID_H"),
        ("SOLVER.MAX_ITER", "7", "--set SOLVER.MAX_ITER: only training or another program reads"),
        ("MODEL.RESNETS.STEM_OUT_CHANNELS", "8", "STEM_OUT_CHANNELS 8 make another network of the"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(
    key, value, message, agw, networks, capsys, home
):
    words = ["import", agw, "--detector", networks[0], "--as", "agw", "--set", key, value]
    status, _, talk = run(capsys, *words)
    assert status == 2 and message in talk and not (home / "agw").exists()


def test_an_onnx_file_has_no_config_to_set(networks, capsys):
    detector, crop_net = networks
    words = ["import", crop_net, "--detector", detector, "--set", "INPUT.REID.SIZE", "(64,32)"]
    status, _, talk = run(capsys, *words)
    assert status == 2 and "--set INPUT.REID.SIZE" in talk and "mean.card.json" in talk


@pytest.mark.slow
def test_a_public_crop_network_and_a_detector_become_a_model(networks, tmp_path, capsys):
    file = tmp_path / "osnet_x0_25.pth"
    torch.save({"state_dict": osnet_state((16, 64, 96, 128), people=751, size=512)}, file)
    status, text, _ = run(capsys, "import", file, "--detector", networks[0], "--as", "osnet", *CARD)
    assert status == 0 and "tensors placed" in text and "embeddings differ by" in text
    (people,) = PersonFinder.load("osnet").find([np.zeros((32, 32, 3), np.uint8)])
    assert people.embeddings.shape == (1, 512)


@pytest.mark.slow
def test_a_public_search_network_becomes_a_model(tmp_path, capsys, home):
    file = tmp_path / "seqnet.pth"
    torch.save({"model": seqnet_state(), "optimizer": {}, "epoch": 19}, file)
    settings = [
        "--set",
        "INPUT.MIN_SIZE_TEST",
        "600",
        "--set",
        "TEST.SEARCH.SCORE_THRESHOLD",
        "0.3",
    ]
    status, text, _ = run(capsys, "import", file, *CARD, *settings)
    assert status == 0 and "SeqNet (CUHK-SYSU): 416 tensors placed" in text
    assert json.loads((home / "seqnet" / "model.card.json").read_text())["licence"] == "MIT"
    finder = PersonFinder.load("seqnet", device="cpu")
    assert (finder.embedding_dim, finder.min_score) == (256, 0.3)
    assert finder.network.settings.min_size == 600
    for key, value, message in (
        ("SOLVER.MAX_ITER", "7", "--set SOLVER.MAX_ITER: only training"),
        (
            "MODEL.REID_HEAD.NUM_IDENTITIES",
            "9",
            "with MODEL.REID_HEAD.NUM_IDENTITIES 9: another sh",
        ),
    ):
        status, _, talk = run(capsys, "import", file, "--as", "other", "--set", key, value)
        assert status == 2 and message in talk
