"""Galleries at the ends of what is allowed, and just beyond."""

import dataclasses

import numpy as np
import pytest
from helpers_gallery import (
    DIM,
    FINGERPRINT,
    assert_holds,
    assert_matches,
    make_entries,
    make_frame,
    make_people,
    search_by_numpy,
    unit,
)

from person_search.gallery.checking import check_gallery_file
from person_search.gallery.entries import MAX_CAMERA_BYTES, MAX_FRAME_PEOPLE, MAX_NAME_BYTES
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.gallery.search_options import FrameFilter
from person_search.gallery.searching import MAX_TOP


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def _create(path, dim=DIM, name="gallery"):
    return GalleryIndex.create(path, name, fingerprint=FINGERPRINT, embedding_dim=dim)


def test_the_longest_names_and_the_largest_times_come_back(tmp_path, rng):
    times = (0.0, -1e17, 1e300, 5e-324, -0.0, None)
    cameras = (
        "ü" * (MAX_CAMERA_BYTES // 2),
        "'; DROP TABLE frames; --",
        "%",
        "\U0001f3a5",
        None,
        "0",
    )
    names = (
        "/" + "n" * (MAX_NAME_BYTES - 1),
        "/a\0b.jpg",
        "/'\".jpg",
        "/\U0001f3a5",
        "/%_",
        "/\r\n",
    )
    entries = [
        (make_frame(name, camera, time), make_people(rng, 2))
        for name, camera, time in zip(names, cameras, times, strict=True)
    ]
    with _create(tmp_path / "g.db") as index:
        index.put(entries)
        assert_holds(index, entries)
        query = unit(rng.normal(size=DIM))
        for camera in cameras:
            asked = [camera or ""]
            found = index.search(query, frames=FrameFilter(cameras=asked))
            assert_matches(found, search_by_numpy(entries, query, cameras=asked), entries)
        for since, until in ((1e299, None), (None, -1e16), (0, 0), (-1e300, 1e301)):
            found = index.search(query, frames=FrameFilter(since=since, until=until))
            expected = search_by_numpy(entries, query, since=since, until=until)
            assert_matches(found, expected, entries)
        info = index.info()
        assert (info.first_timestamp, info.last_timestamp) == (-1e17, 1e300)
        assert set(info.cameras) == {camera for camera in cameras if camera}
    assert not check_gallery_file(tmp_path / "g.db").problems


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestamp": float("nan")}, "timestamp of /a is nan"),
        ({"timestamp": float("inf")}, "timestamp of /a is inf"),
        ({"timestamp": -1e18}, r"timestamp of /a is -1e\+18"),
        ({"name": "/a\udcff"}, "is not Unicode"),
        ({"camera": "a\udcff"}, "is not Unicode"),
        ({"name": ""}, "got 0 bytes"),
        ({"name": "/" + "n" * MAX_NAME_BYTES}, "got 8193 bytes"),
        ({"camera": "ü" * 513}, "got 1026 bytes"),
        ({"camera": "a\nb"}, "control characters"),
    ],
)
def test_what_is_beyond_is_refused_and_nothing_is_stored(tmp_path, rng, change, message):
    good = make_entries(rng, 3)
    frame = dataclasses.replace(make_frame("/a"), **change)
    with _create(tmp_path / "g.db") as index:
        with pytest.raises(GalleryError, match=message):
            index.put([*good, (frame, make_people(rng, 1))])
        assert_holds(index, [])


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 2.0])
def test_embeddings_that_are_none_are_refused(tmp_path, rng, value):
    people = make_people(rng, 3)
    people.embeddings[1] = value
    with _create(tmp_path / "g.db") as index:
        with pytest.raises(GalleryError, match="embeddings of /a: got"):
            index.put([(make_frame("/a"), people)])
        assert_holds(index, [])


def test_minus_zero_is_zero(tmp_path, rng):
    """SQLite gave back 0.0, which did not fit the checksum: the gallery was said to be damaged."""
    people = make_people(rng, 2)
    people.boxes[0, :2] = -0.0
    people.scores[1] = -0.0
    entries = [(make_frame("/a", None, -0.0), people)]
    with _create(tmp_path / "g.db") as index:
        index.put(entries)
        assert_holds(index, entries)
        assert len(index.search(people.embeddings[0], one_per_frame=False)) == 2
    assert not check_gallery_file(tmp_path / "g.db").problems


@pytest.mark.parametrize("dim", [1, 2, 2048])
def test_embeddings_may_be_short_or_long(tmp_path, rng, dim):
    entries = make_entries(rng, 25, dim=dim)
    with _create(tmp_path / "g.db", dim) as index:
        index.put(entries)
        assert_holds(index, entries)
        query = unit(rng.normal(size=dim))
        found = index.search(query, one_per_frame=False, top=500)
        similar = [m.similarity for m in found]
        expected = search_by_numpy(entries, query, 500, one=False)
        np.testing.assert_allclose(similar, [s for s, _, _ in expected], atol=1e-6)
        assert similar == sorted(similar, reverse=True)
        people = {(m.image, m.box_xyxy) for m in found}
        assert len(people) == len(found) == sum(len(p) for _, p in entries)


def test_a_crowd_in_one_frame_and_frames_of_nobody(tmp_path, rng):
    crowd = (make_frame("/crowd"), make_people(rng, 20_000))
    empty = [(make_frame(f"/nobody{n}"), make_people(rng, 0)) for n in range(20)]
    entries = [*empty[:10], crowd, *empty[10:], *make_entries(rng, 5)]
    with _create(tmp_path / "g.db") as index:
        assert index.put(entries) == (26, sum(len(p) for _, p in entries))
        query = unit(rng.normal(size=DIM))
        assert_matches(index.search(query), search_by_numpy(entries, query), entries)
        found = [m.similarity for m in index.search(query, one_per_frame=False, top=MAX_TOP)]
        expected = [s for s, _, _ in search_by_numpy(entries, query, MAX_TOP, one=False)]
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert index.remove(names=["/crowd"]) == (1, 20_000)
        rest = [entry for entry in entries if entry is not crowd]
        assert_matches(index.search(query), search_by_numpy(rest, query), rest)
        too_many = make_people(rng, MAX_FRAME_PEOPLE + 1)
        with pytest.raises(GalleryError, match="has 65537 people; expected at most 65536"):
            index.put([(make_frame("/stadium"), too_many)])


def test_ties_by_the_hundred_are_sorted_by_name(tmp_path, rng):
    """A camera that shows the same people for hours, and names in no order."""
    rows = unit(rng.normal(size=(2, DIM)))
    entries = [
        (make_frame(f"/{n:05d}"), make_people(rng, 2, embeddings=rows))
        for n in rng.permutation(400)
    ]
    with _create(tmp_path / "g.db") as index:
        index.put(entries)
        for top in (1, 10, 399, MAX_TOP):
            found = index.search(rows[1], top=top)
            assert [m.image for m in found] == [f"/{n:05d}" for n in range(min(top, 400))]
            assert all(m.person.endswith("_1") for m in found)


def test_galleries_of_one_file_do_not_see_each_other(tmp_path, rng):
    """The same names in both, of different sizes; what is removed from one stays in the other."""
    path = tmp_path / "g.db"
    first, second = make_entries(rng, 20), make_entries(rng, 20, dim=3)
    with _create(path) as index, _create(path, 3, "second") as other:
        for number in range(20):
            index.put(first[number : number + 1])
            other.put(second[number : number + 1])
        query, short = unit(rng.normal(size=DIM)), unit(rng.normal(size=3))
        assert_matches(index.search(query), search_by_numpy(first, query), first)
        assert_matches(other.search(short), search_by_numpy(second, short), second)
        index.remove(camera="north")
        kept = [entry for entry in first if entry[0].camera != "north"]
        assert_holds(index, kept)
        assert_holds(other, second)
        assert_matches(index.search(query), search_by_numpy(kept, query), kept)
        assert_matches(other.search(short), search_by_numpy(second, short), second)
    assert not check_gallery_file(path, repair=True).problems
