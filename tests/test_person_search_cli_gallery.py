"""From footage to a ranking by the commands alone, with the shipped model on drawn frames."""

import dataclasses
import json
import shutil
from argparse import Namespace

import numpy as np
import pytest
from helpers_gallery import DIM, FINGERPRINT, make_entries
from PIL import Image

from person_search.cli import main
from person_search.commands import index as index_command
from person_search.commands import search as search_command
from person_search.commands.model_arguments import load_finder
from person_search.data.cuhk_sysu import load_cuhk_sysu_protocol
from person_search.drawing.people import PERSON_COLOR
from person_search.drawing.rankings import MATCH_COLOR, QUERY_COLOR
from person_search.gallery.index import GalleryIndex
from person_search.synthetic.cuhk_writer import write_cuhk_sysu
from person_search.synthetic.world_spec import PRESETS

QUERY = 1
"""The protocol's query that is drawn largest."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Eight drawn frames and the protocol that says who is in them."""
    folder = tmp_path_factory.mktemp("world")
    spec = dataclasses.replace(PRESETS["drawn-cuhk"].scaled(0.02), test_frames=8, test_identities=6)
    root = write_cuhk_sysu(spec, folder / "drawn-cuhk", splits=("test",))
    return root / "Image/SSM", load_cuhk_sysu_protocol(root)


@pytest.fixture(scope="module")
def shipped_model():
    """The shipped model, loaded once for all commands of this file."""
    return load_finder(
        Namespace(config_file=None, weights=None, model=None, device="cpu", parts="auto")
    )


@pytest.fixture
def run(monkeypatch, shipped_model, capsys):
    """Run a command in this process; return its status, output and messages."""
    for module in (index_command, search_command):
        monkeypatch.setattr(module, "load_finder", lambda *_: shipped_model)

    def call(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def footage(world, tmp_path):
    """All frames but the query's, in folders of two cameras, a broken file among them."""
    frames, protocol = world
    query = protocol.frame_names[protocol.query_frames[QUERY]]
    for number, path in enumerate(sorted(frames.glob("*.jpg"))):
        folder = tmp_path / "footage" / ("north", "south")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        if path.name != query:
            shutil.copy(path, folder)
    (tmp_path / "footage/north/broken.jpg").write_bytes(b"not a picture")
    return tmp_path / "footage"


def test_index_search_and_remove(run, footage, world, tmp_path):
    gallery = tmp_path / "g.db"
    index = ("index", footage, "--gallery", gallery, "--camera-from", "folder")
    (footage / "south/notes.txt").touch()
    status, text, messages = run(*index)
    assert status == 0
    assert "added 7 frames" in text and "0 unchanged, 1 broken" in text
    assert text.endswith("; passed over 1 file (.txt 1)\n") and text.count("\n") == 1
    assert f"broken: {footage}/north/broken.jpg: is not a picture" in messages
    status, text, _ = run(*index)
    assert status == 0 and "added 0 frames with 0 people, 7 unchanged, 1 broken" in text

    status, text, _ = run("info", "--gallery", gallery, "--json")
    (facts,) = json.loads(text)["galleries"]
    assert (facts["frames"], facts["cameras"]) == (7, {"north": 4, "south": 3})
    # While somebody else has the file open.
    with GalleryIndex.open(gallery):
        _, text, _ = run("info", "--gallery", gallery)
        assert "north: 4 frames, south: 3 frames" in text and "exact" in text
        _check_search(run, gallery, world, tmp_path)
        _check_removal(run, gallery, footage)


def _check_search(run, gallery, world, tmp_path):
    """The person asked for comes first, in the box that the data set says."""
    frames, protocol = world
    query_frame = frames / protocol.frame_names[protocol.query_frames[QUERY]]
    box = ",".join(f"{v:g}" for v in protocol.query_boxes[QUERY])
    picture = tmp_path / "out.png"
    search = ("search", "--gallery", gallery, "--query", f"{query_frame}:{box}", "--json")
    status, text, messages = run(*search, "--top", "3", "--save", picture)
    assert status == 0 and f"wrote {picture}" in messages
    answer = json.loads(text)
    assert answer["queries"] == [
        {"image": str(query_frame), "box": list(protocol.query_boxes[QUERY])}
    ]
    assert answer["in_gallery"] is True and answer["threshold"] > 0
    best = answer["matches"][0]
    assert set(best) == {
        *("rank", "image", "box", "score", "similarity", "camera", "timestamp"),
        *("appearance", "judgement"),
    }
    true_boxes = {
        protocol.frame_names[frame]: box
        for query, frame, box in zip(
            protocol.true_queries, protocol.true_frames, protocol.true_boxes, strict=True
        )
        if query == QUERY
    }
    name = best["image"].rpartition("/")[2]
    assert name in true_boxes
    found, true = (np.reshape(b, (2, 2)).mean(axis=0) for b in (best["box"], true_boxes[name]))
    assert np.abs(found - true).max() < 6, "centres, pixels"
    pixels = np.asarray(Image.open(picture))
    assert (pixels == QUERY_COLOR).all(axis=2).any() and (pixels == MATCH_COLOR).all(axis=2).any()

    only = ("--camera", best["camera"], "--min-similarity", "0.2")
    matches = json.loads(run(*search, *only)[1])["matches"]
    assert matches[0] == best
    assert {m["camera"] for m in matches} == {best["camera"]}
    assert all(m["similarity"] >= 0.2 for m in matches)
    # Nobody has a known time, so nobody was there since then.
    status, text, _ = run(*search, "--since", "2020-01-01")
    assert status == search_command.NOTHING_FOUND and json.loads(text)["matches"] == []


def _check_removal(run, gallery, footage):
    status, _, message = run("remove", "--gallery", gallery, "--camera", "north")
    assert status == 2 and "4 of 7 frames" in message and "--yes" in message
    status, text, _ = run("remove", "--gallery", gallery, "--camera", "north", "--yes")
    assert status == 0 and "removed 4 of 7 frames" in text
    gone, other, _ = sorted((footage / "south").glob("*.jpg"))
    gone.unlink()
    _, text, _ = run("remove", "--gallery", gallery, "--missing", "--yes")
    assert "removed 1 of 3 frames" in text
    _, text, _ = run("remove", "--gallery", gallery, "--frames", other, "--yes")
    assert "removed 1 of 2 frames" in text
    _, text, _ = run("remove", "--gallery", gallery, "--frames", other, "--yes")
    assert "all 1 stay" in text


def test_people_are_listed_and_numbered_to_choose_from(run, world, tmp_path):
    frames, protocol = world
    query_frame = frames / protocol.frame_names[protocol.query_frames[QUERY]]
    gallery, picture = tmp_path / "g.db", tmp_path / "choose.png"
    run("index", query_frame, "--gallery", gallery)
    with GalleryIndex.open(gallery):
        _check_choice(run, ("search", "--gallery", gallery, "--query"), query_frame, picture)


def _check_choice(run, search, query_frame, picture):
    status, text, _ = run(*search, query_frame, "--save", picture)
    assert status == search_command.MUST_CHOOSE and "choose one by its number" in text
    assert (np.asarray(Image.open(picture)) == PERSON_COLOR).all(axis=2).any()
    status, text, _ = run(*search, query_frame, "--json")
    (choice,) = json.loads(text)["choose"]
    assert status == search_command.MUST_CHOOSE and choice["image"] == str(query_frame)
    lefts = [person["box"][0] + person["box"][2] for person in choice["people"]]
    assert lefts == sorted(lefts) and len(lefts) > 1
    # Each number finds its own box, in the same frame.
    number = len(lefts)
    assert json.loads(run(*search, f"{query_frame}#{number}", "--json")[1])["matches"] == []
    _, text, _ = run(*search, f"{query_frame}#{number}", "--own-frame", "--json")
    (match,) = json.loads(text)["matches"]
    assert match["box"] == choice["people"][-1]["box"] and match["similarity"] > 0.999


def test_merging_copies_what_is_missing(run, tmp_path):
    first, second = make_entries(np.random.default_rng(0), 2)
    for name, entries in (("a.db", [first]), ("b.db", [first, second])):
        made = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}
        with GalleryIndex.create(tmp_path / name, **made) as gallery:
            gallery.put(entries)
    merge = ("merge", tmp_path / "b.db", "--into", tmp_path / "a.db")
    assert "copied 1 frames" in run(*merge)[1]
    assert "copied 0 frames" in run(*merge)[1]
    status, _, message = run("merge", tmp_path / "a.db", "--into", tmp_path / "a.db")
    assert status == 2 and "are the same gallery" in message
