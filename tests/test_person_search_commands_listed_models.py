"""Models of the list on the command line: shown, fetched, made into models, checked."""

import dataclasses
import hashlib

import numpy as np
import pytest
from helpers_face_networks import draw_bright_cells, write_arcface, write_detector
from helpers_file_server import FileServer, give, give_status
from helpers_onnx import make_constant_detector, make_mean_crop_net
from PIL import Image

from person_search.cli import main
from person_search.inference.finder import PersonFinder
from person_search.inference.model_card import ModelCard
from person_search.model_list.sources import Https
from person_search.model_list.table import LISTED
from reid_heads.faces.command import main as faces


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("PERSON_SEARCH_OFFLINE", "HF_HUB_OFFLINE", "PERSON_SEARCH_MODEL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def server():
    server = FileServer()
    yield server
    server.close()


@pytest.fixture
def listed(server, monkeypatch):
    """Put a detector that sees one person anywhere, and a crop network, in places of real ones."""
    server.asked.clear()
    boxes = {
        "boxes": np.array([[4, 4, 12, 28]], np.float32),
        "scores": np.array([0.9], np.float32),
    }
    for name, file, content in (
        ("nanodet-m", "nanodet_m.onnx", make_constant_detector(boxes)),
        ("bot-r50-market", "mean.onnx", make_mean_crop_net()),
    ):
        model = dataclasses.replace(
            LISTED[name],
            file=file,
            sources=(
                Https(
                    server.put("/" + file, give(content, tag="")),
                ),
            ),
            sha256=hashlib.sha256(content).hexdigest() if name == "nanodet-m" else None,
            size=len(content) if name == "nanodet-m" else None,
        )
        monkeypatch.setitem(LISTED, name, model)
    return server


def run(capsys, *arguments):
    status = main(["models", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_list_says_what_there_is_and_who_ran_it(capsys):
    status, text, _ = run(capsys, "list")
    rows = {line.split()[0]: line for line in text.partition("\n\n")[2].splitlines()[1:]}
    assert status == 0 and list(rows) == list(LISTED)
    assert "9.3 MB  run by us: no " in rows["osnet-x0.25-msmt17"]
    assert "run by us: yes" in rows["nanodet-m"] and "(Apache-2.0)" in rows["nanodet-m"]


def test_a_row_is_shown_with_its_terms_and_published_numbers(capsys):
    status, text, _ = run(capsys, "show", "seqnet-cuhk-sysu")
    assert status == 0 and "data terms   CUHK-SYSU is given on request, academic use only" in text
    assert "sha256       not known: that of the first download is recorded" in text
    assert "source 1     Google Drive 1wKhCHy7uTHx8zxNS62Y1236GNv5TzFzq" in text
    assert "run by us    no" in text and "94.8  CUHK-SYSU, 100 frames: mAP" in text
    assert "      97.25  IJB-C(E4)" in run(capsys, "show", "arcface-r50")[1]
    assert "two wheels of PyPI" in run(capsys, "show", "street-basic")[1]
    status, _, talk = run(capsys, "show", "Yunet")
    assert status == 2 and "none of the models by name: drawn-people; nor is it of the list" in talk


def test_terms_are_said_before_anything_is_fetched(listed, capsys):
    listed.put("/mean.onnx", give_status(404))
    status, text, talk = run(capsys, "download", "bot-r50-market")
    assert status == 2 and "data terms   Market-1501 is for academic use only" in text
    assert "bot-r50-market was not fetched" in talk and "put it at" in talk


def test_a_download_says_how_to_go_on_and_its_card_is_kept(listed, capsys, home):
    status, text, talk = run(capsys, "download", "bot-r50-market")
    path = home / "downloads/bot-r50-market/mean.onnx"
    assert status == 0 and f"here         {path}\n" in text
    assert "download bot-r50-market --import --detector nanodet-m" in talk
    assert "name it to what is imported" in run(capsys, "download", "nanodet-m")[2]
    assert "fetched" in run(capsys, "list")[1]
    # `import` of such a file takes its card; what is said goes before.
    detector = home / "downloads/nanodet-m/nanodet_m.onnx"
    words = ["import", path, "--detector", detector, "--as", "mine", "--domain", "guests"]
    assert run(capsys, *words)[0] == 0
    card = ModelCard.load(home / "models/mine/model.card.json")
    assert (card.name, card.domain, card.trained_on) == ("mine", "guests", "Market-1501")
    assert "academic use only: non-commercial" in card.licence


def test_models_for_faces_go_to_their_command(server, capsys, home, monkeypatch, tmp_path):
    """Fetched by name, used by the path that is printed."""
    paths = {}
    for name, option, write in (
        ("yunet", "--detector", lambda file: write_detector(file, "yunet", (64, 96))),
        ("arcface-r50", "--weights", write_arcface),
    ):
        write(tmp_path / "net.onnx")
        content = (tmp_path / "net.onnx").read_bytes()
        where = (Https(server.put("/" + name, give(content))),)
        digest = hashlib.sha256(content).hexdigest()
        row = dataclasses.replace(LISTED[name], sources=where, size=len(content), sha256=digest)
        monkeypatch.setitem(LISTED, name, row)
        status, text, talk = run(capsys, "download", name)
        (paths[option],) = [x.split()[1] for x in text.splitlines() if x.startswith("here")]
        assert status == 0 and f"for faces: python -m reid_heads.faces COMMAND {option} " in talk
        assert talk.strip().endswith(paths[option]) and "non-commercial" in text
    picture = tmp_path / "a.png"
    Image.fromarray(draw_bright_cells((64, 96), [(8, 8, 32)])).save(picture)
    words = [word for pair in paths.items() for word in pair]
    assert faces(["verify", *words, "--threshold", "0.5", *[str(picture)] * 2]) == 0
    assert "the same person: similarity 1.0000" in capsys.readouterr().out


def test_a_file_of_one_s_own_takes_a_detector_of_the_list(listed, capsys, home, tmp_path):
    words = ["import", tmp_path / "own.onnx", "--detector", "nanodet-m", "--licence", "mine alone"]
    assert "there is no file" in run(capsys, *words)[2] and not listed.asked
    words[1].write_bytes(make_mean_crop_net())
    status, text, _ = run(capsys, *words)
    assert status == 0 and "COCO's annotations CC BY 4.0" in text
    card = PersonFinder.load("own").card
    assert card.licence.startswith("mine alone; detector nanodet-m: code and weights: Apache-2.0")
    assert listed.asked == [("/nanodet_m.onnx", None)]


def test_two_of_the_list_become_a_model_in_one_command(listed, capsys, home):
    words = ["download", "bot-r50-market", "--import", "--detector", "nanodet-m"]
    status, text, talk = run(capsys, *words)
    assert status == 0 and "use it with --model bot-r50-market" in talk, talk
    assert text.count("data terms") == 2
    card = PersonFinder.load("bot-r50-market").card
    assert "Market-1501 is for academic" in card.licence and "COCO's annotations" in card.licence
    assert card.numbers["published, not measured here: Market-1501: mAP"] == 86.1
    assert run(capsys, "check")[0] == 0
    status, _, talk = run(capsys, *words)
    assert status == 2 and "there is a model bot-r50-market already" in talk
    assert len(listed.asked) == 2


def test_check_finds_what_was_changed_and_record_takes_it(listed, capsys, home):
    run(capsys, "download", "bot-r50-market", "--import", "--detector", "nanodet-m")
    listed.asked.clear()
    card = home / "models/bot-r50-market/model.card.json"
    card.write_text(card.read_text().replace("real people", "guests"))
    status, text, _ = run(capsys, "check")
    assert status == 1 and "WRONG" in text and "model.card.json was changed" in text
    (home / "models/.other.abc.part").mkdir()
    assert run(capsys, "check", "--record")[0] == 0
    assert not [*(home / "models/.other.abc.part").iterdir()]
    (home / "downloads/nanodet-m/nanodet_m.onnx").write_bytes(b"changed")
    status, text, _ = run(capsys, "check")
    assert status == 1 and "nanodet_m.onnx\n       it was changed: 7 bytes" in text
    assert not listed.asked


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody"], "the list has no model 'nobody'; expected one of street-basic"),
        (["bot-r50-market", "--import"], "needs --detector, such as nanodet-m"),
        (["seqnet-prw", "--import", "--detector", "nanodet-m"], "seqnet-prw takes none"),
        (["nanodet-m", "--import"], "which alone is no model; leave out --import"),
        (["street-basic", "--as", "mine"], "leave out --import, --as and --detector"),
        (["arcface-r50", "--import"], "arcface-r50 is for faces, not for persons"),
        (
            ["bot-r50-market", "--import", "--detector", "yunet"],
            "yunet is no detector; expected one of nanodet-m, or a file",
        ),
        (["bot-r50-market", "--as", "mine"], "give --import, too"),
        (
            ["bot-r50-market", "--import", "--detector", "seqnet-prw"],
            "seqnet-prw is no detector; expected one of nanodet-m, or a file",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(listed, capsys, words, message):
    status, _, talk = run(capsys, "download", *words)
    assert status == 2 and message in talk
    assert not listed.asked


def test_street_basic_is_installed_by_download_and_not_offline(capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for words in (["download", "street-basic"], ["install", "street-basic"]):
        status, _, talk = run(capsys, *words)
        assert status == 2 and "HF_HUB_OFFLINE is set, so nothing is fetched" in talk
