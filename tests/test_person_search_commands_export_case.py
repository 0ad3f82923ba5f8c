import io
import json
import sys
import zipfile

import numpy as np
import pytest
from helpers_cases import HERS, HIS, LOOKS, NOTHING, WHOLE, contrast, hash_of, make_case_gallery
from helpers_demo import COLORS, EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from PIL import Image

from person_search.accountability.activity_log import ActivityLog
from person_search.cli import main
from person_search.commands import export_case, search
from person_search.footage.files import Frame
from person_search.gallery.index import GalleryIndex


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """A gallery of two people; the first appearance is his."""
    root = tmp_path_factory.mktemp("hall")
    return make_case_gallery(root)


@pytest.fixture
def colors(tmp_path, monkeypatch):
    """Pictures of two people each, of whom red is in three."""
    for module in (export_case, search):
        monkeypatch.setattr(module, "load_finder", lambda *_: ColorFinder())
    made = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
    with GalleryIndex.create(tmp_path / "g.db", **made) as index:
        for number, names in enumerate((["red", "blue"], ["green", "red"], ["cyan"], ["red"])):
            file = tmp_path / f"{number}.png"
            Image.fromarray(draw_colors(names)).save(file)
            (people,) = ColorFinder().find([draw_colors(names)])
            index.put([(Frame(str(file), hash_of(file), "door"), people)])
    return tmp_path


def run(capsys, *arguments):
    status = main(["export-case", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def shows(picture, color):
    """Whether pixels of a colour are in a picture, about."""
    return bool((abs(np.asarray(picture).astype(int) - COLORS[color]).max(axis=2) < 25).sum() > 400)


def test_a_query_hands_on_what_reaches_the_threshold(colors, capsys):
    out = colors / "case.zip"
    asked = ("--gallery", colors / "g.db", "--query", f"{colors / '0.png'}#1", "--out", out)
    status, said, err = run(capsys, *asked)
    assert "these are" not in err, "there are no more that are similar enough"
    assert status == 0 and said.startswith(f"wrote {out}: 2 matches, 2 pictures, 0 clips, ")
    assert said.endswith("others are blurred\n")
    with zipfile.ZipFile(out) as packed:
        case = json.loads(packed.read("case/case.json"))
        query = Image.open(io.BytesIO(packed.read("case/query-1.jpg")))
        picture = Image.open(io.BytesIO(packed.read("case/pictures/001-1.jpg")))
    assert (case["threshold"], case["min_similarity"]) == (0.95, 0.95)
    assert case["queries"][0]["source"] == 3, "its file is hashed, too"
    assert shows(query, "red") and shows(picture, "red")
    assert all(match["similarity"] > 0.95 for match in case["matches"])
    status, said, _ = run(capsys, *asked[:-1], colors / "all", "--min-similarity", "-1")
    assert status == 0 and "wrote" in said and ": 3 matches, 3 pictures" in said
    status, said, err = run(capsys, *asked[:-1], colors / "one", "--top", "1")
    assert status == 0 and ": 1 match, " in said
    assert "these are the 1 most similar; --top takes more" in err


def test_nobody_similar_and_somebody_to_choose(colors, capsys):
    asked = ["--gallery", colors / "g.db", "--out", colors / "case"]
    status, said, _ = run(capsys, *asked, "--query", f"{colors / '2.png'}")
    assert (status, said) == (
        1,
        "no match with a similarity of at least 0.950; nothing was written\n",
    )
    status, said, _ = run(capsys, *asked, "--query", f"{colors / '0.png'}")
    assert status == 3 and "choose one by its number" in said and not (colors / "case").exists()


def test_what_a_search_printed(colors, capsys, monkeypatch):
    query = ["--gallery", str(colors / "g.db"), "--query", f"{colors / '0.png'}#1"]
    assert main(["search", *query, "--json"]) == 0
    printed = capsys.readouterr().out
    (colors / "found.json").write_text(printed)
    asked = ["--gallery", colors / "g.db", "--out", colors / "case"]
    status, said, _ = run(capsys, *asked, "--from", colors / "found.json")
    assert status == 0 and ": 3 matches" in said, "the user chose them, whatever the threshold"
    case = json.loads((colors / "case" / "case.json").read_text())
    pairs = zip(case["matches"], json.loads(printed)["matches"], strict=True)
    assert all(
        (one["similarity"], one["best"]["box"]) == (two["similarity"], two["box"])
        for one, two in pairs
    )
    # Who else is in the query's picture was not printed: blue has no edges any more.
    query = np.asarray(Image.open(colors / "case" / "query-1.jpg")).astype(int)
    assert abs(np.diff(query[:, 140:], axis=1)).max() < 60 < abs(np.diff(query, axis=1)).max()
    monkeypatch.chdir(colors)
    for text, words in (
        ("[]", "no JSON object"),
        ("{", "expected what search --json"),
        ('{"choose": []}', "nobody was searched for"),
        (printed.replace("0.png", "9.png", 1), "9.png, cannot be read: "),
        (printed.replace('"similarity": ', '"similarity": 1e400, "s": ', 1), "inf is no number"),
        (printed.replace('"box": [', '"box": ["a", ', 1), "the standard input: expected what"),
        ("[" * 100_000, "the standard input: expected what"),
    ):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        status, said, err = run(capsys, *asked[:-1], colors / "b", "--from", "-")
        assert (status, said) == (2, "") and words in err and not (colors / "b").exists()


def test_whoever_made_the_file_is_not_shown_pictures_from_elsewhere(colors, capsys, monkeypatch):
    """A case shows what was asked with: a file could name any picture of the machine."""
    (colors / "given").mkdir()
    printed = colors / "given" / "found.json"
    asked = ["--gallery", colors / "g.db", "--from", printed, "--out"]
    query = ["--gallery", str(colors / "g.db"), "--query", f"{colors / '0.png'}#1", "--json"]
    assert main(["search", *query]) == 0
    text = capsys.readouterr().out
    printed.write_text(text)
    assert run(capsys, *asked, colors / "a")[0] == 0, "a frame of the gallery"
    (colors / "0.png").rename(colors / "mine.png")
    for name in (str(colors / "mine.png"), str(printed.parent / "../mine.png"), "../mine.png"):
        printed.write_text(text.replace(str(colors / "0.png"), name, 1))
        monkeypatch.chdir(printed.parent)
        status, _, err = run(capsys, *asked, colors / "b")
        assert status == 2 and "mine.png', which is outside of" in err
        assert f"a query of {printed} names" in err and not (colors / "b").exists()
    assert run(capsys, *asked, colors / "b", "--trust-this-file")[0] == 0
    (colors / "mine.png").rename(printed.parent / "mine.png")
    printed.write_text(text.replace(str(colors / "0.png"), "mine.png", 1))
    assert run(capsys, *asked, colors / "c")[0] == 0


def test_appearances_by_number_and_as_printed(hall, tmp_path, capsys):
    status, said, _ = run(
        capsys,
        *("--gallery", hall, "--id", "1", "--id", "2", "--out", tmp_path / "a", "--no-clips"),
    )
    assert status == 0 and ": 2 matches, 8 pictures, 0 clips" in said
    case = json.loads((tmp_path / "a" / "case.json").read_text())
    assert [match["similarity"] for match in case["matches"]] == [None, None]
    for number, (clear, blurred) in enumerate(((HIS, HERS), (HERS, HIS)), 1):
        picture = Image.open(tmp_path / "a" / f"pictures/{number:03d}-1.jpg")
        assert contrast(picture, clear) > WHOLE and contrast(picture, blurred) < NOTHING
    assert main(["appearances", "--gallery", str(hall), "--id", "2", "--json"]) == 0
    (tmp_path / "one.json").write_text(capsys.readouterr().out)
    status, said, _ = run(
        capsys, *("--gallery", hall, "--from", tmp_path / "one.json", "--out", tmp_path / "b.zip")
    )
    assert status == 0 and ": 1 match, 4 pictures, 1 clip, " in said


def test_what_a_search_printed_is_taken_as_the_gallery_has_it(hall, tmp_path, capsys):
    """Camera and time were those of the file, which anybody may have changed."""
    assert main(["appearances", "--gallery", str(hall), "--id", "1", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    best = {**one["best"], "camera": "moon", "timestamp": 5.0}
    matches = [
        {**best, "appearance": stay, "similarity": 0.5, "judgement": said}
        for stay, said in ((one, "right"), (None, None), (one, "wrong"))
    ]
    search_said = {"matches": matches, "queries": [], "threshold": None}
    (tmp_path / "found.json").write_text(json.dumps(search_said))
    asked = ("--gallery", hall, "--no-clips", "--from", tmp_path / "found.json")
    status, said, _ = run(capsys, *asked, "--out", tmp_path / "case")
    assert status == 0 and ": 2 matches" in said, "what is wrong is left out"
    case = json.loads((tmp_path / "case" / "case.json").read_text())
    assert {match["camera"] for match in case["matches"]} == {"hall"}
    assert {match["best"]["seconds"] for match in case["matches"]} == {one["best"]["timestamp"]}
    assert case["matches"][1]["from_seconds"] == one["best"]["timestamp"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--id", "77"], "there is no appearance 77"),
        (["--id", "1", "--top", "3"], "--top chooses among the matches of a --query"),
        (["--from", "nowhere.json"], "nowhere.json"),
        (["--id", "1", "--out", "/nowhere/case"], "there is no folder /nowhere"),
        (["--query", "nowhere.png"], "there is no picture nowhere.png"),
    ],
)
def test_wrong_use(hall, tmp_path, capsys, arguments, words):
    out = ["--out", tmp_path / "case"] if "--out" not in arguments else []
    status, said, err = run(capsys, "--gallery", hall, *out, *arguments)
    assert (status, said) == (2, "") and words in err
    assert list(tmp_path.iterdir()) == []


def test_sources_that_are_gone_are_told(tmp_path, capsys):
    gallery = make_case_gallery(tmp_path)
    (tmp_path / "hall.mp4").unlink()
    status, said, err = run(capsys, "--gallery", gallery, "--id", "1", "--out", tmp_path / "case")
    assert status == 0 and ": 1 match, 0 pictures, 0 clips" in said
    assert "match 1: No pictures of source 1, hall.mp4: it is gone" in err


def test_all_that_is_known_of_a_person(tmp_path, capsys):
    """Of a group, for the person who asks; it names nobody else."""
    path = make_case_gallery(tmp_path)
    with GalleryIndex.open(path) as index:
        groups = index.appearances.groups
        groups.refresh(0.8)
        his, hers = (index.appearances.search(look)[0] for look in LOOKS)
        (number,) = [g.number for g in groups.all() if his.appearance in g.appearances]
        groups.name(number, "Bert")
        index.judgements.judge("the man", [his], is_right=True, maker="anna")
        index.judgements.judge("the woman", [hers], is_right=True, maker="anna")
        log = ActivityLog(index)
        log.switch_on()
        for match in (his, hers):
            with log.use("search", user="anna") as use:
                use.showed([match])
        sights = index.appearances.sights(his.appearance.id)
    out = tmp_path / "case"
    asked = ("--gallery", path, "--group", number, "--personal-data", "--no-clips", "--out", out)
    assert run(capsys, *asked)[0] == 0
    content = json.loads((out / "personal_data.json").read_text())
    (stay,) = content["stays"]
    assert (stay["name"], stay["group"], len(stay["sights"])) == ("Bert", number, len(sights))
    first = stay["sights"][0]
    assert (first["file"], first["frame"], first["box"]) == ("hall.mp4", 0, HIS.tolist())
    assert np.allclose(first["embedding"], LOOKS[0], atol=1e-6)
    assert first["time"].endswith("+00:00")
    assert [one["subject"] for one in content["judgements"]] == ["the man"]
    assert [(one["seq"], one["action"]) for one in content["log"]] == [(1, "search")]
    text = (out / "personal_data.json").read_text()
    assert "anna" not in text and str(tmp_path) not in text
    assert "personal_data.json" in (out / "SHA256SUMS").read_text()
