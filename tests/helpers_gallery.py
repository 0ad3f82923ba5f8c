"""Random galleries, and what a search of them must return, by plain numpy."""

import hashlib
import time

import numpy as np

from person_search.footage.files import Frame
from person_search.people import People

FINGERPRINT = "ab" * 32
DIM = 16


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def make_people(rng, count, dim=DIM, embeddings=None):
    corners = rng.uniform(0, 500, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 90, (count, 2))]).astype(np.float32)
    if embeddings is None:
        embeddings = unit(rng.normal(size=(count, dim)))
    return People(boxes, rng.uniform(0, 1, count).astype(np.float32), np.float32(embeddings))


def make_frame(name, camera=None, timestamp=None, content="first"):
    return Frame(name, hashlib.sha256(f"{name}{content}".encode()).hexdigest(), camera, timestamp)


def make_entries(rng, count, first=0, cameras=("north", "south", None), dim=DIM):
    """Frames of 0 to 6 people, of several cameras, some of unknown camera or time."""
    entries = []
    for number in range(first, first + count):
        camera = cameras[number % len(cameras)]
        time = None if number % 7 == 3 else 1.7e9 + 10.25 * number
        frame = make_frame(f"/nowhere/{number:05d}.jpg", camera, time)
        entries.append((frame, make_people(rng, int(rng.integers(0, 7)), dim)))
    return entries


def search_by_numpy(
    entries, query, top=10, cameras=None, since=None, until=None, least=-2, one=True
):
    """Return (similarity, name, place in the frame), best first."""
    found = []
    for frame, people in entries:
        if cameras is not None and (frame.camera or "") not in cameras:
            continue
        if since is not None and (frame.timestamp is None or frame.timestamp < since):
            continue
        if until is not None and (frame.timestamp is None or frame.timestamp > until):
            continue
        rows = [(float(s), frame.name, place) for place, s in enumerate(people.embeddings @ query)]
        found += [max(rows)] if one and rows else rows
    found.sort(key=lambda row: (-row[0], row[1], row[2]))
    return [row for row in found if row[0] >= least][:top]


def assert_matches(matches, expected, entries):
    by_name = {frame.name: (frame, people) for frame, people in entries}
    assert [m.image for m in matches] == [name for _, name, _ in expected]
    for match, (similarity, name, place) in zip(matches, expected, strict=True):
        frame, people = by_name[name]
        assert abs(match.similarity - similarity) < 1e-5
        assert match.box_xyxy == tuple(people.boxes[place].tolist())
        assert match.score == float(people.scores[place])
        assert (match.camera, match.timestamp) == (frame.camera, frame.timestamp)
        assert match.person.endswith(f"_{place}")


def assert_holds(index, entries):
    """The gallery holds exactly these frames and people, each once."""
    frames = list(index.frames())
    assert sorted(f.name for f in frames) == sorted(frame.name for frame, _ in entries)
    by_name = {f.name: f for f in frames}
    for frame, people in entries:
        kept = by_name[frame.name]
        assert (kept.content_hash, kept.camera, kept.timestamp, kept.num_people) == (
            frame.content_hash,
            frame.camera,
            frame.timestamp,
            len(people),
        )
        found = index.people_of(frame.name)
        np.testing.assert_array_equal(found.boxes, people.boxes)
        np.testing.assert_array_equal(found.scores, people.scores)
        np.testing.assert_array_equal(found.embeddings, people.embeddings)
    info = index.info()
    assert (info.frames, info.people) == (len(entries), sum(len(people) for _, people in entries))


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
