"""Stays of which a few best people are kept: what stays true of them, and what is refused."""

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from helpers_demo import ColorFinder, draw_colors
from helpers_gallery import FINGERPRINT, make_frame, unit
from helpers_videos import write_video

from person_search.cases.hiding import boxes_beside
from person_search.cli import main
from person_search.commands import index as index_command
from person_search.gallery import matrix_keeper
from person_search.gallery.checking import back_up, check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.gallery.matrix_file import load_matrix
from person_search.gallery.rows import Linked, Thinned
from person_search.people import People

DIM = 32
MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}
DATE = 1.7e9
LOOKS = unit(np.random.default_rng(0).normal(size=(4, DIM)))
SCORES = (0.5, 0.9, 0.6, 0.95, 0.7, 0.8, 0.55, 0.85, 0.65, 0.75)


def make_frames(rng, camera, first, last, who=(0, 1)):
    """A frame a second of people who stand still; how sure they are changes every second."""
    entries = []
    for time in range(first, last):
        embeddings = unit(LOOKS[list(who)] + 0.03 * rng.normal(size=(len(who), DIM)))
        boxes = np.float32([[60 * w, 10, 60 * w + 40, 110] for w in who])
        scores = np.full(len(who), SCORES[time % 10], np.float32)
        frame = make_frame(f"/{camera}/{time:03d}.jpg", camera, DATE + time)
        entries.append((frame, People(boxes, scores, embeddings)))
    return entries


@pytest.fixture(scope="module")
def stood_file(tmp_path_factory):
    """Two people for 20 s in the hall, and from 60 s to 80 s in the yard and the hall."""
    path, rng = tmp_path_factory.mktemp("stood") / "g.db", np.random.default_rng(1)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(make_frames(rng, "hall", 0, 20))
        index.put(make_frames(rng, "yard", 60, 80, (1, 2)))
        index.put(make_frames(rng, "hall", 60, 80))
        index.appearances.link()
    return path


@pytest.fixture
def stood(tmp_path, stood_file):
    shutil.copy(stood_file, tmp_path / "g.db")
    with GalleryIndex.open(tmp_path / "g.db") as index:
        yield index


def said(index):
    """What a gallery says of its stays."""
    return [
        (one.appearance, one.best, one.embedding.tobytes()) for one in index.appearances.within()
    ]


def test_a_stay_says_the_same_with_a_few_of_its_people(stood):
    before, size = said(stood), stood.info().num_bytes
    # Those from 60 s on may still go on.
    assert stood.appearances.keep_best(3) == Thinned(2 * 15, 2)
    assert said(stood) == before
    info = stood.info()
    assert (info.people, info.not_kept, info.frames, info.appearances) == (120 - 30, 30, 60, 6)
    assert info.num_bytes <= size
    for stay, best, _ in before[:2]:
        kept = [s.timestamp - DATE for s in stood.appearances.sights(stay.id)]
        # The first, the last, and of the others the surest, of equal ones the earlier.
        assert kept == [0, 1, 3, 13, 19]
        assert best.timestamp - DATE == 3
    assert len(stood.people_of("/hall/003.jpg")) == 2 and not len(stood.people_of("/hall/002.jpg"))
    assert stood.appearances.keep_best(3) == Thinned(), "the second time nothing"
    assert stood.appearances.keep_best(1) == Thinned(2 * 2, 2)
    assert said(stood) == before
    assert not check_gallery_file(stood.uri).problems


def test_searches_see_who_is_kept(stood, monkeypatch):
    query = LOOKS[1]
    everybody = stood.search(query, top=200, one_per_frame=False)
    stays = [m.appearance.id for m in stood.appearances.search(query)]
    stood.appearances.keep_best(3)
    there = {f"/hall/{n:03d}.jpg" for n in (0, 1, 3, 13, 19)}
    expected = [m for m in everybody if m.timestamp >= DATE + 60 or m.image in there]
    found = stood.search(query, top=200, one_per_frame=False)
    assert [(m.person, m.similarity) for m in found] == [(m.person, m.similarity) for m in expected]
    assert sorted(m.appearance.id for m in stood.appearances.search(query)) == sorted(stays)
    # People are not those of the first places of their frame any more.
    (first,) = stood.appearances.search(LOOKS[0], top=1)
    assert first.appearance.frames == 20
    with GalleryIndex.open(stood.uri) as again:
        assert again.search(query, top=200, one_per_frame=False) == found


def test_the_matrix_beside_the_file_knows_who_is_kept(stood, monkeypatch):
    monkeypatch.setattr(matrix_keeper, "LEAST_ROWS", 1)
    stood.prepare()
    # The second of her frame is kept, the first is not.
    sights = [stood.appearances.sights(number)[7] for number in (1, 2)]
    judged = next(sight for sight in sights if sight.person.endswith("_1"))
    stood.judgements.judge("she", [judged], is_right=True)
    stood.appearances.keep_best(3)
    stood.prepare()
    found = stood.search(LOOKS[1], top=200, one_per_frame=False)
    assert judged.person in {match.person for match in found}
    matrix = load_matrix(Path(f"{stood.uri}-matrix1"), DIM)
    assert matrix is not None and len(matrix) == 91 and matrix.numbers is not None
    with GalleryIndex.open(stood.uri) as again:
        # From the file, and with frames of whom all are there behind it.
        again.put(make_frames(np.random.default_rng(9), "hall", 300, 303, (3, 1)))
        more = again.search(LOOKS[1], top=200, one_per_frame=False)
    assert [m for m in more if m.timestamp < DATE + 300] == found
    assert len(more) == len(found) + 6
    assert not check_gallery_file(stood.uri).problems


def test_whom_somebody_judged_or_named_is_kept(stood):
    (stay, *_), *_ = said(stood)
    sights = stood.appearances.sights(stay.id)
    stood.judgements.judge("she", sights[7:8], is_right=True)
    stood.appearances.groups.refresh(0.5)
    stood.appearances.groups.name(1, "Anna")
    before = stood.appearances.groups.all()
    stood.appearances.keep_best(1)
    assert 7 in [s.timestamp - DATE for s in stood.appearances.sights(stay.id)]
    assert len(stood.judgements.of("she")) == 1
    assert stood.appearances.groups.all() == before
    with pytest.raises(GalleryError, match="does not hold this person"):
        stood.judgements.judge("she", sights[8:9], is_right=True)


def test_who_is_not_kept_can_still_be_blurred(stood):
    before = stood.appearances.sights(1)[7]
    stood.judgements.judge("she", [before], is_right=True)
    others = boxes_beside(stood, before).tolist()
    stood.appearances.keep_best(1)
    assert len(stood.people_of(before.image)) == 1, "the other one of the frame is gone"
    assert boxes_beside(stood, before).tolist() == others == [[60, 10, 100, 110]]
    assert stood.appearances.boxes_not_kept("/hall/999.jpg").shape == (0, 4)


def test_linking_goes_on_and_late_footage_leaves_thinned_stays_as_they_are(stood):
    rng = np.random.default_rng(3)
    stood.appearances.keep_best(3)
    thinned = said(stood)[:2]
    stood.put(make_frames(rng, "hall", 80, 90))
    assert stood.appearances.link() == Linked(10, 20, 0), "the stays that may go on do"
    before = said(stood)
    # Late: within the thinned stays, and before all.
    late = make_frames(rng, "hall", 10, 12)
    stood.put(
        [
            (make_frame(f"/late/{n}.jpg", "hall", DATE + 10.5 + n), p)
            for n, (_, p) in enumerate(late)
        ]
    )
    linked = stood.appearances.link()
    assert linked.appearances >= 2
    now = said(stood)
    assert [one for one in now if one in thinned] == thinned
    others = sorted((s.start - DATE, s.end - DATE, s.frames) for s, *_ in now[2:])
    assert others[:2] == [(10.5, 11.5, 2)] * 2
    assert others[2:] == sorted((s.start - DATE, s.end - DATE, s.frames) for s, *_ in before[2:])
    assert not check_gallery_file(stood.uri).problems


def test_frames_that_are_removed_are_taken_from_a_thinned_stay(stood):
    stood.appearances.keep_best(3)
    stood.remove(until=DATE + 9)
    (stay, best, mean), *_ = said(stood)
    assert (stay.start - DATE, stay.end - DATE, stay.frames) == (10, 19, 10)
    assert best.timestamp - DATE == 13
    rows = [stood.people_of(f"/hall/{n:03d}.jpg").embeddings[0] for n in (13, 19)]
    mean = np.frombuffer(mean, np.float32)
    assert max(abs(mean - unit(np.sum(np.float64(rows), axis=0)))) < 1e-6
    assert not check_gallery_file(stood.uri).problems
    # Nobody of it is left but whose people are not kept.
    stood.remove(names=["/hall/013.jpg", "/hall/019.jpg"])
    assert all(s.start - DATE == 60 for s, *_ in said(stood))
    assert stood.info().not_kept == 0
    assert not check_gallery_file(stood.uri).problems


def test_a_repaired_gallery_and_a_copy_keep_thinned_stays(stood, tmp_path):
    stood.appearances.keep_best(3)
    expected = said(stood)
    back_up(tmp_path / "g.db", tmp_path / "copy.db")
    with GalleryIndex.open(tmp_path / "copy.db") as copy:
        assert said(copy) == expected
    stood.close()
    connection = sqlite3.connect(tmp_path / "g.db", isolation_level=None)
    (harmed,) = connection.execute("SELECT id FROM frames WHERE name = '/yard/070.jpg'").fetchone()
    connection.execute("UPDATE frames SET content_hash = 'x' WHERE id = ?", (harmed,))
    connection.close()
    assert check_gallery_file(tmp_path / "g.db", repair=True).problems
    with GalleryIndex.open(tmp_path / "g.db") as index:
        now = said(index)
        assert now[:2] == expected[:2]
        assert sorted(s.frames for s, *_ in now) == [19, 19, 20, 20, 20, 20]
    assert not check_gallery_file(tmp_path / "g.db").problems


def test_damage_to_who_is_not_kept_is_found_and_what_is_left_linked(stood):
    stood.appearances.keep_best(3)
    stood.close()
    connection = sqlite3.connect(stood.uri, isolation_level=None)
    connection.execute("UPDATE unkept SET time = time + 1 WHERE appearance = 1")
    connection.close()
    (problem,) = check_gallery_file(stood.uri).problems
    assert "appearance" in problem
    report = check_gallery_file(stood.uri, repair=True)
    assert "1 stays of which not all people were kept" in " ".join(report.repaired)
    with GalleryIndex.open(stood.uri) as index:
        assert sorted(s.frames for s, *_ in said(index)) == [5, 20, 20, 20, 20, 20]
    assert not check_gallery_file(stood.uri).problems


def test_a_video_has_ended_when_all_of_it_is_linked(tmp_path):
    rng = np.random.default_rng(5)
    frames = [
        (make_frame(f"/a/x.mp4#frame={n}", None, float(n)), people)
        for n, (_, people) in enumerate(make_frames(rng, "x", 0, 10))
    ]
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        index.put(frames[:8])
        index.appearances.link()
        index.put(frames[8:])
        assert index.appearances.keep_best(2) == Thinned(), "some of it is not linked yet"
        index.appearances.link()
        assert index.appearances.keep_best(2) == Thinned(2 * 6, 2)


def test_what_cannot_be_is_refused(stood, tmp_path):
    with pytest.raises(GalleryError, match="number of people to keep is 0; expected at least 1"):
        stood.appearances.keep_best(0)
    stood.appearances.keep_best(3)
    with (
        GalleryIndex.create(tmp_path / "other.db", **MODEL) as other,
        pytest.raises(GalleryError, match=r"30 people of stays .* index the footage into it"),
    ):
        other.merge(stood)


def test_index_keeps_the_best_and_says_what_it_did_not_keep(tmp_path, monkeypatch, capsys):
    pictures = [draw_colors(["red", "blue"])] * 24
    write_video(tmp_path / "hall.mp4", pictures, rate=2)
    monkeypatch.setattr(index_command, "load_finder", lambda *_: ColorFinder())
    gallery = str(tmp_path / "g.db")
    index = ["index", str(tmp_path / "hall.mp4"), "--gallery", gallery, "--every", "0.5"]
    assert main([*index, "--keep-best", "4"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert (
        said[0] == "not kept: 36 people of 2 stays that have ended, counted in them (--keep-best)"
    )
    assert "added 24 frames with 48 people, 2 appearances, 0 unchanged" in said[1]
    assert main([*index, "--keep-best", "4"]) == 0
    assert "added 0 frames with 0 people, 24 unchanged" in capsys.readouterr().out
    main(["info", "--gallery", gallery])
    assert "not kept     36 people of stays (index --keep-best)" in capsys.readouterr().out
    main(["appearances", "--gallery", gallery, "--id", "1"])
    assert "sights (18 more are counted and not kept):" in capsys.readouterr().out
    main(["export-gallery", "--gallery", gallery, "--format", "mot", "--output", f"{tmp_path}/mot"])
    assert "36 people of stays in this gallery were not kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gallery", "count", "words"),
    [
        ("g.db", "0", "--keep-best 0: expected at least 1"),
        ("http://x:1", "3", "the server http://x:1"),
    ],
)
def test_index_refuses_to_keep_what_cannot_be(tmp_path, capsys, gallery, count, words):
    arguments = ["--gallery", gallery, "--keep-best", count]
    assert main(["index", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err
