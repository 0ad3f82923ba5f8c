"""Groups that never move, or look like nobody, are listed last, with the reason."""

import numpy as np
import pytest
from helpers_gallery import FINGERPRINT, make_frame, unit

from person_search.gallery.index import GalleryIndex
from person_search.people import People

DIM = 16
MORNING = 1_777_881_600.0
LOOKS = unit(np.eye(DIM)[:6] + 0.3)
WALKER, BENCH, SIGN = 0, 1, 2


def stay(who, start, seconds, camera="hall", at=0.0):
    """Frames of one, a frame a second: the walker walks, all others keep their place."""
    found = []
    for t in range(seconds):
        left = at + 200 * who + (15 * t if who == WALKER else t % 2)
        people = People(np.float32([[left, 10, left + 40, 110]]), np.float32([0.9]), LOOKS[[who]])
        name = f"/{camera}/{start + t}-{who}.jpg"
        found.append((make_frame(name, camera, MORNING + start + t), people))
    return found


FOOTAGE = [
    *stay(WALKER, 0, 12),
    *stay(BENCH, 100, 12),
    *stay(BENCH, 200, 4),
    *(frame for start in (300, 400, 500, 600) for frame in stay(SIGN, start, 2)),
]


@pytest.fixture
def index(tmp_path):
    with GalleryIndex.create(
        tmp_path / "g.db", fingerprint=FINGERPRINT, embedding_dim=DIM
    ) as opened:
        opened.put(FOOTAGE)
        opened.appearances.link()
        opened.appearances.groups.refresh(0.9)
        yield opened


def listed(index):
    return [(g.number, len(g.appearances), g.motionless) for g in index.appearances.groups.all()]


def test_what_never_moves_is_last_and_says_why(index):
    # The short stay of the bench, a quarter of its sights, is too short to say.
    assert listed(index) == [(2, 2, ""), (1, 1, ""), (3, 4, "4 stays at one place")]
    index.put(stay(BENCH, 220, 8))
    index.appearances.link()
    index.appearances.groups.refresh()
    assert listed(index)[2] == (2, 2, "keeps its place for 27 s, 12 frames")


def test_the_doubt_follows_what_is_added(index):
    index.put(stay(BENCH, 700, 30))
    index.appearances.link()
    index.appearances.groups.refresh()
    assert listed(index)[1:] == [
        (3, 4, "4 stays at one place"),
        (2, 3, "3 stays at one place"),
    ]


@pytest.mark.parametrize(
    ("seen", "like"),
    [
        (stay(BENCH, 900, 3), 2),
        (stay(BENCH, 900, 3, at=8), 2),
        (stay(BENCH, 900, 3, at=30), None),  # another bench of that kind
        (stay(BENCH, 900, 3, "yard"), None),
        (stay(WALKER + 3, 900, 3, at=-400), None),  # somebody else, who stops there
    ],
)
def test_what_looks_like_nobody_at_the_same_place_is_asked_about(index, seen, like):
    groups = index.appearances.groups
    groups.call_nobody([2])
    index.put(seen)
    index.appearances.link()
    groups.refresh()
    new = groups.get(4)
    assert (len(new.appearances), new.like_nobody, new.is_doubtful) == (1, like, like is not None)
    assert not new.is_nobody and (groups.all()[-1].number == 4) is (like is not None)


def test_what_somebody_named_is_not_doubted(index):
    index.appearances.groups.name(3, "Otto")
    assert dict((n, why) for n, _, why in listed(index))[3] == ""
    index.appearances.groups.undo()
    assert dict((n, why) for n, _, why in listed(index))[3] == "4 stays at one place"
