"""What somebody sees who may see some cameras: the same as in a gallery that has no others."""

import inspect
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers_gallery import FINGERPRINT, make_frame, unit

from person_search.gallery import store
from person_search.gallery.camera_groups import CameraGroups
from person_search.gallery.camera_view import (
    CameraAppearances,
    CameraJudgements,
    CameraView,
    seen_by,
)
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.gallery.search_options import ByNeighbors, FrameFilter
from person_search.people import People

DIM = 16
MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}
MORNING = 1_777_881_600.0
LOOKS = unit(np.eye(DIM)[:6] + 0.3)


def stay(who, camera, start, seconds=4):
    """Frames of people side by side, a frame a second."""
    boxes = np.float32([[60 * w, 10, 60 * w + 40, 110] for w in who])
    people = People(boxes, np.full(len(who), 0.9, np.float32), LOOKS[who])
    folder = camera or "unknown"
    return [
        (make_frame(f"/{folder}/{start + t:.0f}.jpg", camera, MORNING + start + t), people)
        for t in range(seconds)
    ]


SEEN = [*stay([0, 1], "yard", 60), *stay([1], "yard", 180), *stay([2], None, 300, 1)]
HIDDEN = [*stay([0, 2], "hall", 0), *stay([0], "hall", 190), *stay([3], "gate", 65)]
CAMERAS = ("yard", "")


def make(path, entries):
    index = GalleryIndex.create(path, **MODEL)
    index.put(entries)
    index.appearances.link()
    index.appearances.groups.refresh(0.9)
    return index


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    entries = sorted([*SEEN, *HIDDEN], key=lambda entry: entry[0].timestamp)
    make(folder / "all.db", entries).close()
    make(folder / "seen.db", SEEN).close()
    return folder


@pytest.fixture
def both(made, tmp_path):
    """Yield the whole gallery, what is seen of it, and a gallery of that alone."""
    for name in ("all.db", "seen.db"):
        shutil.copy(made / name, tmp_path)
    with (
        GalleryIndex.open(tmp_path / "all.db") as whole,
        GalleryIndex.open(tmp_path / "seen.db") as alone,
    ):
        yield whole, seen_by(whole, CAMERAS), alone


def plain(thing):
    """Return a match, person or appearance without ids, which differ from file to file."""
    if thing is None:
        return None
    if hasattr(thing, "best"):
        return plain(thing.best), thing.appearance.camera, thing.appearance.start
    stay = thing.appearance
    return (
        thing.image, thing.box_xyxy, round(thing.similarity, 5),
        None if stay is None else (stay.camera, stay.start, stay.end, stay.frames),
    )  # fmt: skip


ASKED = {
    "everybody": lambda index: index.search(LOOKS[0], top=50, one_per_frame=False),
    "frames": lambda index: index.search(LOOKS[0], top=2),
    "hidden cameras": lambda index: index.search(LOOKS[0], frames=FrameFilter(["hall", "gate"])),
    "one of both": lambda index: index.search(LOOKS[0], frames=FrameFilter(["hall", "yard"])),
    "sorted anew": lambda index: index.search(LOOKS[0], refine=ByNeighbors()),
    "stays": lambda index: index.appearances.search(LOOKS[0], top=50),
    "hidden stays": lambda index: index.appearances.search(LOOKS[3], frames=FrameFilter(["gate"])),
    "by mean": lambda index: index.appearances.search(LOOKS[1], ranked_frames=None),
    "within": lambda index: list(index.appearances.within()),
    "judged": lambda index: index.judgements.search("who", LOOKS[1]),
}


@pytest.mark.parametrize("asked", ASKED)
def test_every_answer_is_that_of_a_gallery_without_the_others(asked, both):
    whole, view, alone = both
    found = [plain(one) for one in ASKED[asked](view)]
    assert found == [plain(one) for one in ASKED[asked](alone)]
    everything = [plain(one) for one in ASKED[asked](whole)]
    assert everything != found, "the test asks for something of the others"


def test_counts_and_frames(both):
    _, view, alone = both
    assert replace(view.info(), uri="", num_bytes=None) == replace(
        alone.info(), uri="", num_bytes=None
    )
    assert view.info().num_bytes is None
    assert {f.name for f in view.frames()} == {f.name for f in alone.frames()}
    hidden = [frame.name for frame, _ in HIDDEN]
    assert view.known_frames(hidden) == {} and view.stored_people(hidden) == []
    with pytest.raises(GalleryError, match="is not in the gallery"):
        view.people_of(hidden[0])


def test_who_was_beside_and_next(both):
    whole, view, alone = both
    for mine, other in zip(view.appearances.within(), alone.appearances.within(), strict=True):
        for ask in ("beside", "neighbors", "sights"):
            found = getattr(view.appearances, ask)(mine.appearance.id)
            expected = getattr(alone.appearances, ask)(other.appearance.id)
            assert list(map(plain, found)) == list(map(plain, expected))
    for one in whole.appearances.within(cameras=["hall", "gate"]):
        for ask in ("get", "beside", "neighbors", "sights"):
            with pytest.raises(GalleryError, match="there is no appearance"):
                getattr(view.appearances, ask)(one.appearance.id)


def said(group):
    stays = [(one.camera, one.start) for one in group.appearances]
    return group.name, stays, [count for _, count in group.company]


def test_groups_have_what_is_seen_in_them(both):
    whole, view, alone = both
    found = view.appearances.groups.all()
    assert sorted(map(said, found)) == sorted(map(said, alone.appearances.groups.all()))
    hidden = {g.number for g in whole.appearances.groups.all()} - {g.number for g in found}
    assert hidden
    with pytest.raises(GalleryError, match=f"there is no group {min(hidden)}"):
        view.appearances.groups.get(min(hidden))


def test_what_would_change_the_others_is_refused(both):
    whole, view, _ = both
    groups = view.appearances.groups
    whole.appearances.groups.name(whole.appearances.groups.all()[0].number, "Ann")
    for act in (
        groups.undo,
        lambda: groups.refresh(0.5),
        lambda: groups.refresh(anew=True),
        lambda: groups.add_said(whole.appearances.groups),
    ):
        with pytest.raises(GalleryError, match="only somebody who sees all cameras"):
            act()
    with pytest.raises(GalleryError, match="cameras that you may see"):
        view.put(stay([4], "gate", 900))
    taken = make_frame(HIDDEN[0][0].name, "yard", MORNING, "another")
    with pytest.raises(GalleryError, match="cameras that you may see"):
        view.put([(taken, HIDDEN[0][1])])
    before = whole.info().frames
    assert view.remove(names=[HIDDEN[0][0].name], purge=False).frames == 0
    assert view.remove(camera="hall", purge=False).frames == 0
    assert whole.info().frames == before
    assert view.put(stay([4], "yard", 900)).frames == 4


def test_what_is_seen_can_be_named_and_moved(both):
    whole, view, _ = both
    groups = view.appearances.groups
    first, second = (g.number for g in groups.all()[:2])
    groups.name(first, "Ann")
    assert whole.appearances.groups.get(first).name == "Ann"
    groups.merge([first, second])
    assert len(whole.appearances.groups.get(first).appearances) >= 2


def test_judgements_of_others_are_not_told_nor_taken_back(both):
    whole, view, _ = both
    seen, hidden = (
        whole.search(LOOKS[w], top=1, frames=FrameFilter([c]))[0]
        for w, c in ((1, "yard"), (0, "hall"))
    )
    assert view.judgements.judge("who", [seen], is_right=True) == 1
    whole.judgements.judge("who", [hidden], is_right=False)
    whole.judgements.judge("else", [hidden], is_right=False)
    assert view.judgements.subjects() == {"who": (1, 0)}
    assert [j.person.camera for j in view.judgements.of("who")] == ["yard"]
    with pytest.raises(GalleryError, match="somebody who sees all"):
        view.judgements.undo("who")
    with pytest.raises(GalleryError, match="does not hold this match"):
        view.judgements.judge("who", [hidden], is_right=True)


@pytest.mark.parametrize(
    ("kind", "view"),
    [
        (store.Store, CameraView),
        (store.Appearances, CameraAppearances),
        (store.Judgements, CameraJudgements),
        (store.Groups, CameraGroups),
    ],
)
def test_nothing_of_a_store_is_handed_on_unseen(kind, view):
    """A new method of a store that a view lacks fails; one that it inherited would tell."""
    asked = {n for n, _ in inspect.getmembers(kind, callable) if not n.startswith("_")}
    assert asked <= set(vars(view)) and view.__mro__[1:] == (object,)


def test_closing_what_is_seen_leaves_the_gallery_open(both):
    whole, view, _ = both
    view.close()
    assert whole.info().frames
    with pytest.raises(GalleryError, match="closed"):
        view.info()
