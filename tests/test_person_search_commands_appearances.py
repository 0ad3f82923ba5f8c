import io
import json
import shutil

import av
import numpy as np
import pytest
from helpers_cases import hash_of
from helpers_gallery import FINGERPRINT, unit
from helpers_videos import write_video

from person_search.cli import main
from person_search.footage.files import Frame
from person_search.gallery.index import GalleryIndex
from person_search.people import People

DIM = 16
LOOKS = unit(np.random.default_rng(7).normal(size=(3, DIM)))


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """One video of 4 s: the first person stays, the second comes for the last second."""
    root = tmp_path_factory.mktemp("town")
    video = write_video(root / "hall.mp4", [np.full((96, 128, 3), 90, np.uint8)] * 40, rate=10)
    with GalleryIndex.create(root / "g.db", fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        entries = []
        for number in range(0, 40, 5):
            who = [0, 1] if number >= 30 else [0]
            boxes = np.float32([[10 + 50 * w, 10, 40 + 50 * w, 80] for w in who])
            people = People(boxes, np.full(len(who), 0.9, np.float32), LOOKS[who])
            name = f"{video}#frame={number}"
            entries.append(
                (Frame(name, hash_of(video, number), "hall", 1.7e9 + number / 10), people)
            )
        index.put(entries)
        index.appearances.link()
    return root


@pytest.fixture
def gallery(town, tmp_path):
    shutil.copy(town / "g.db", tmp_path / "g.db")
    return str(tmp_path / "g.db")


def _run(capsys, *arguments):
    status = main(["appearances", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_only_sure_ones_on_request(gallery, capsys):
    for least, expected in (("0.89", [8, 2]), ("0.91", [])):
        status, out, _ = _run(capsys, "--gallery", gallery, "--min-score", least, "--json")
        assert [one["frames"] for one in json.loads(out)["appearances"]] == expected
        assert status == (0 if expected else 1)
    status, _, err = _run(capsys, "--gallery", gallery, "--min-score", "1.5")
    assert status == 2 and "min_score is 1.5; expected 0 to 1" in err
    status, _, err = _run(capsys, "--gallery", gallery, "--id", "1", "--min-score", "0.5")
    assert status == 2 and "leave out --min-score" in err


def test_the_list_and_one_of_it(gallery, capsys):
    status, out, _ = _run(capsys, "--gallery", gallery, "--json")
    first, second = json.loads(out)["appearances"]
    assert status == 0 and (first["frames"], second["frames"]) == (8, 2)
    assert first["end"] - first["start"] == pytest.approx(3.5)
    assert "similarity" not in first["best"]
    status, out, _ = _run(capsys, "--gallery", gallery, "--id", str(second["id"]), "--json")
    one = json.loads(out)
    assert status == 0 and one["before"]["id"] == first["id"] and one["after"] is None
    assert [other["id"] for other in one["beside"]] == [first["id"]]
    assert [sight["box"] for sight in one["sights"]] == [[60, 10, 90, 80]] * 2
    _, table, _ = _run(capsys, "--gallery", gallery)
    assert len(table.splitlines()) == 3 and "hall.mp4#frame=" in table
    _, table, _ = _run(capsys, "--gallery", gallery, "--id", str(first["id"]))
    assert "before it: nobody" in table and table.count("#frame=") == 1 + 1 + 1 + 8


def test_filters_and_nothing_that_fits(gallery, capsys):
    until = ["--until", "2023-11-14T22:13:21+00:00"]
    _, out, _ = _run(capsys, "--gallery", gallery, "--json", "--camera", "hall", *until)
    assert len(json.loads(out)["appearances"]) == 1
    status, out, _ = _run(capsys, "--gallery", gallery, "--camera", "nowhere")
    assert (status, out) == (1, "no appearance fits\n")


def test_a_clip(gallery, tmp_path, capsys):
    out = tmp_path / "stay.webm"
    status, _, said = _run(capsys, "--gallery", gallery, "--id", "1", "--clip", str(out))
    assert status == 0 and f"wrote {out}: 40 frames, 3.9 s" in said
    with av.open(io.BytesIO(out.read_bytes())) as container:
        assert sum(1 for _ in container.decode(video=0)) == 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--id", "77"], "there is no appearance 77"),
        (["--clip", "a.webm"], "say which by --id"),
        (["--id", "1", "--clip", "a.mp4"], "expected a file ending in .webm"),
        (["--id", "1", "--clip", "/nowhere/a.webm"], "there is no folder"),
        (["--id", "1", "--camera", "hall"], "leave out --camera"),
        (["--since", "soon"], "is no time"),
    ],
)
def test_wrong_use(gallery, capsys, arguments, words):
    status, out, err = _run(capsys, "--gallery", gallery, *arguments)
    assert (status, out) == (2, "") and words in err


def test_a_source_that_is_gone_leaves_no_clip(gallery, town, tmp_path, capsys):
    video = town / "hall.mp4"
    video.rename(town / "away.mp4")
    try:
        out = tmp_path / "stay.webm"
        status, _, err = _run(capsys, "--gallery", gallery, "--id", "1", "--clip", str(out))
    finally:
        (town / "away.mp4").rename(video)
    assert status == 2 and "hall.mp4" in err and not out.exists()


def test_a_source_that_has_changed_leaves_no_clip(gallery, town, tmp_path, capsys):
    """The box was drawn where the person had been in the former file."""
    video = town / "hall.mp4"
    former = video.read_bytes()
    video.write_bytes(former + b"\0")
    try:
        out = tmp_path / "stay.webm"
        status, _, err = _run(capsys, "--gallery", gallery, "--id", "1", "--clip", str(out))
    finally:
        video.write_bytes(former)
    assert status == 2 and f"{video} has changed since it was indexed" in err
    assert not out.exists()


def test_a_gallery_without_appearances_says_why(tmp_path, capsys):
    path = tmp_path / "g.db"
    GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=DIM).close()
    status, out, _ = _run(capsys, "--gallery", str(path))
    assert status == 1 and "pictures without camera and date" in out
