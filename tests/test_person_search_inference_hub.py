"""Models on Hugging Face, played by a server on this computer: pushed when told so, and fetched."""

import json
import shutil

import pytest
from helpers_hub import TOKEN, Hub

from person_search.cli import main
from person_search.commands import models
from person_search.inference import offline
from person_search.inference.hub import HubAddress, fetch_folder
from person_search.inference.model_card import ModelCard
from person_search.inference.packed_file import to_metadata
from person_search.inference.packed_model import find_pretrained
from person_search.inference.recorded_files import record_files
from reid_heads.atomic_file import save_json
from reid_heads.safetensors_file import write_safetensors

CARD = ModelCard("harbour", "sailors", "MIT", "a harbour", numbers={"mine_test: search mAP": 61.25})


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in offline.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path):
    """What passes for a packed model with whom only looks at its files."""
    folder = tmp_path / "packed"
    write_safetensors(folder / "model.safetensors", {}, to_metadata("f" * 64))
    (folder / "config.yaml").write_text("VERSION: 2\n")
    save_json(folder / "model.card.json", CARD.to_dict())
    record_files(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# harbour\n")
    (folder / "model.threshold.json").write_text("{}")
    return folder


def push(capsys, folder, *words, to="hf:me/harbour"):
    status = main(["models", "push", str(folder), "--to", to, *words])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_without_yes_all_is_shown_and_nothing_asked(hub, folder, capsys):
    status, text, talk = push(capsys, folder)
    assert status == 2 and talk.endswith("nothing was sent; if this is what others are to get, "
                                         "add --yes\n")  # fmt: skip
    assert hub.asked == []
    size = (folder / "config.yaml").stat().st_size
    assert f"{size:14,} bytes  config.yaml\n" in text and "licence      MIT" in text
    assert "61.25  mine_test: search mAP" in text
    total = sum(file.stat().st_size for file in folder.iterdir())
    assert f"{total:14,} bytes in all" in text


def test_what_was_pushed_is_fetched_as_it_was(hub, folder, capsys):
    (folder / "notes.txt").write_text("not for others")
    status, text, _ = push(capsys, folder, "--yes", "--private")
    assert status == 0 and f"sent: {hub.url}/me/harbour/commit/" in text
    files = hub.models["me/harbour"]
    assert sorted(files) == [
        "README.md", "config.yaml", "model.card.json", "model.files.json", "model.safetensors",
        "model.threshold.json",
    ]  # fmt: skip
    assert hub.private == {"me/harbour": True}
    # A checkpoint that somebody put beside it is not fetched, though it might go before.
    files["model.pth"] = b"code"
    main_file = find_pretrained("hf:me/harbour")
    assert main_file.name == "model.safetensors" and not (main_file.parent / "model.pth").exists()
    for name in set(files) - {"model.pth"}:
        assert (main_file.parent / name).read_bytes() == (folder / name).read_bytes()
    shutil.rmtree(folder)
    files["config.yaml"] += b"MODEL: {}\n"
    hub.asked.clear()
    assert find_pretrained("hf:me/harbour") == main_file  # the cache's, of the same commit
    assert not any("config.yaml" in line for line in hub.asked)


def test_offline_only_the_cache_is_looked_at(hub, folder, capsys, monkeypatch):
    monkeypatch.setenv("PERSON_SEARCH_OFFLINE", "1")
    status, _, talk = push(capsys, folder, "--yes")
    assert status == 2 and "PERSON_SEARCH_OFFLINE is set, so nothing is pushed" in talk
    with pytest.raises(ConnectionError, match=r"OFFLINE is set.*`hf download me/harbour`"):
        fetch_folder(HubAddress("me/harbour"))
    assert hub.asked == []
    monkeypatch.delenv("PERSON_SEARCH_OFFLINE")
    push(capsys, folder, "--yes")
    fetched = fetch_folder(HubAddress("me/harbour"))
    monkeypatch.setenv("PERSON_SEARCH_OFFLINE", "1")
    hub.asked.clear()
    assert fetch_folder(HubAddress("me/harbour")) == fetched and hub.asked == []


def test_what_the_hub_refuses_says_what_to_do(hub, folder, capsys, monkeypatch):
    with pytest.raises(ConnectionError, match=r"hf:me/gone was not fetched: .*`hf auth login`"):
        fetch_folder(HubAddress("me/gone"))
    monkeypatch.setenv("HF_TOKEN", "wrong")
    status, _, talk = push(capsys, folder, "--yes")
    assert status == 2 and "hf:me/harbour was not pushed: " in talk and "HF_TOKEN" in talk
    assert hub.models == {}
    hub.close()
    status, _, talk = push(capsys, folder, "--yes")
    assert status == 2 and "was not pushed" in talk and "check HF_ENDPOINT" in talk


def test_what_was_changed_or_nobody_may_use_is_not_pushed(hub, folder, capsys):
    card, record = folder / "model.card.json", folder / "model.files.json"
    unknown = {**CARD.to_dict(), "licence": "unknown: ask its makers"}
    save_json(card, unknown)
    status, _, talk = push(capsys, folder, "--yes")
    assert status == 2 and "model.card.json was changed" in talk and "pack it anew" in talk
    record_files(folder)
    assert "the card says of the licence: unknown" in push(capsys, folder, "--yes")[2]
    save_json(card, {key: value for key, value in unknown.items() if key != "licence"})
    record_files(folder)
    assert "is no model card: it lacks licence" in push(capsys, folder, "--yes")[2]
    # A name out of the folder is none of its files.
    names = json.loads(record.read_text())
    save_json(record, {**names, "../secret": names["config.yaml"]})
    (folder.parent / "secret").write_bytes((folder / "config.yaml").read_bytes())
    assert "../secret is gone" in push(capsys, folder, "--yes")[2]
    record.unlink()
    assert "has no model.files.json, so it is no packed model" in push(capsys, folder, "--yes")[2]
    assert hub.asked == []


@pytest.mark.parametrize("text", ["hf:me", "hf:me/a/b", "hf:../x", "me/a", "hf:me/a@", "hf:me/a b"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match=r"expected hf:OWNER/NAME, or hf:OWNER/NAME@REVISION"):
        HubAddress.parse(text)
    assert HubAddress.parse("hf:me/a.b@v1.0") == HubAddress("me/a.b", "v1.0")


def test_a_model_is_installed_from_there(hub, folder, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path / "home"))
    push(capsys, folder, "--yes")
    installed = tmp_path / "home" / "models" / "harbour"
    monkeypatch.setattr(models, "_load", lambda path: f"loaded from {path}")
    monkeypatch.setattr(models, "format_model", lambda path, finder: finder)
    assert main(["models", "download", "hf:me/harbour"]) == 0
    text = capsys.readouterr().out
    # The terms are shown before the rest is fetched.
    assert "licence      MIT" in text and f"loaded from {installed / 'model.safetensors'}" in text
    resolved = [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]
    assert resolved[0].endswith("/model.card.json")
    assert {x.name: x.read_bytes() for x in installed.iterdir()} == {
        x.name: x.read_bytes() for x in folder.iterdir()
    }
    assert main(["models", "download", "hf:me/harbour"]) == 2
    assert "there is a model harbour already" in capsys.readouterr().err
    hub.models["me/bad"] = {**hub.models["me/harbour"], "config.yaml": b"MODEL: {}"}
    assert main(["models", "download", "hf:me/bad"]) == 2
    assert "config.yaml was changed" in capsys.readouterr().err
    assert [x.name for x in installed.parent.iterdir()] == ["harbour"]
    assert main(["models", "download", "hf:me/harbour", "--as", "x", "--import"]) == 2
    assert "is a model already; leave out --import" in capsys.readouterr().err
