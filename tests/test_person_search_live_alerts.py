"""Alerts over restarts of a watch: what was told is kept in the gallery."""

import sqlite3

import numpy as np
import pytest
from helpers_gallery import FINGERPRINT, make_frame, unit

from person_search.gallery.checking import check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.live.alerts import StandingQueries, StandingQuery
from person_search.people import People

LOOKS = unit(np.eye(8)[:3] + 0.2)


@pytest.fixture
def index(tmp_path):
    with GalleryIndex.create(tmp_path / "g.db", fingerprint=FINGERPRINT, embedding_dim=8) as opened:
        yield opened


def waiting(told, name="anna", look=0):
    return StandingQueries([StandingQuery(name, LOOKS[look])], 0.9, told.append)


def see(index, standing, *seconds, who=0):
    """See somebody in frames, link, and return the alerts that it raised."""
    people = People(np.float32([[0, 0, 40, 90]]), np.float32([0.9]), LOOKS[[who]])
    entries = [(make_frame(f"/{s}.jpg", "gate", 1.7e9 + s), people) for s in seconds]
    index.put(entries)
    standing.look(entries)
    index.appearances.link()
    standing.settle(index)


def test_a_stay_that_goes_on_after_a_restart_is_not_told_again(index):
    told = []
    see(index, waiting(told), 0, 1)
    see(index, waiting(told), 2)
    assert len(told) == 1
    see(index, waiting(told), 100)
    assert [a.match.timestamp - 1.7e9 for a in told][1:] == [100], "she came back"
    # Another name, or another look of that name, is somebody else who is waited for.
    see(index, waiting(told, "berta"), 101)
    assert [a.name for a in told] == ["anna", "anna", "berta"]
    see(index, waiting(told, look=1), 102, who=1)
    assert [a.name for a in told][3:] == ["anna"]


def test_it_holds_though_the_stay_was_linked_anew_before_the_restart(index):
    told = []
    see(index, waiting(told), 5, 6)
    before = {one.appearance.id for one in index.appearances.within()}
    see(index, waiting([]), 0, who=1)
    assert before.isdisjoint(one.appearance.id for one in index.appearances.within())
    see(index, waiting(told), 7)
    assert len(told) == 1


def test_it_outlasts_a_repair_and_goes_with_the_frames(index):
    told, path = [], index.uri
    see(index, waiting(told), 0, 1)
    index.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE cameras SET num_frames = 99")
    connection.commit()
    connection.close()
    assert check_gallery_file(path, repair=True).repaired
    with GalleryIndex.open(path) as repaired:
        see(repaired, waiting(told), 2)
        assert len(told) == 1
        repaired.remove(camera="gate", purge=False)
        see(repaired, waiting(told), 3)
        assert len(told) == 2


def test_what_was_called_nobody_raises_no_alert(index):
    told = []
    see(index, waiting([]), 0, 1)
    (stay,) = index.appearances.within()
    index.appearances.groups.call_stays_nobody([stay.appearance.id])
    see(index, waiting(told, "berta"), 2)
    assert told == []
    index.appearances.groups.undo()
    see(index, waiting(told, "berta"), 3)
    assert len(told) == 1


def test_what_could_not_be_kept_is_kept_the_next_time(index, monkeypatch):
    told = []
    standing = waiting(told)
    with monkeypatch.context() as patch:
        patch.setattr(type(index.appearances), "keep_told", fail)
        with pytest.raises(GalleryError, match="full"):
            see(index, standing, 0)
    see(index, standing, 1)
    see(index, waiting(told), 2)
    assert len(told) == 1


def fail(*_):
    raise GalleryError("the disk is full")
