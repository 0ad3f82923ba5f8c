"""Made-up streams, and text of the MOT Challenge, for tests of tracking."""

from dataclasses import dataclass

import numpy as np

from person_search.evaluation.tracks import Tracks
from person_search.people import People

# Seed, people, frames, share of boxes that are not found, pixels by which a box is off.
STREAMS = ((1, 6, 40, 0.25, 5), (2, 3, 25, 0.5, 5), (3, 9, 15, 0.25, 16))


def make_stream(seed, people, frames, lost, noise):
    """Make walkers and what a careless tracker makes of them: two arrays of rows of MOT text."""

    def chance(*key):
        return (np.sin(np.dot(key, (12.9898, 78.233, 37.719, 4.581)) + seed) * 43758.5453) % 1

    true, found, numbers = [], [], list(range(people))
    for frame in range(1, frames + 1):
        boxes = []
        for p in range(people):
            start = np.array([300 * chance(p, 0, 0, 0), 300 * chance(p, 1, 0, 0)])
            speed = np.array([8 * chance(p, 2, 0, 0) - 4, 8 * chance(p, 3, 0, 0) - 4])
            size = np.array([20 + 30 * chance(p, 4, 0, 0), 50 + 70 * chance(p, 5, 0, 0)])
            boxes.append(np.concatenate([start + speed * frame, size]).round(2))
            if (frame // 9 + p) % 5:
                true.append((frame, p + 1, *boxes[p]))
            if chance(p, frame, 1, 0) < 0.1:
                other = int(people * chance(p, frame, 2, 0))
                numbers[p], numbers[other] = numbers[other], numbers[p]
            if chance(p, frame, 3, 0) < 0.03:
                numbers[p] = 100 * frame + p
        for p in range(people):
            if chance(p, frame, 4, 0) >= lost:
                off = [2 * noise * (chance(p, frame, 5, k) - 0.5) for k in range(4)]
                found.append((frame, numbers[p], *(boxes[p] + off).round(2)))
    return np.array(true), np.array(found)


def to_tracks(rows):
    """Return the tracks of rows (frame, id, left, top, width, height)."""
    rows = np.array(rows, float).reshape(-1, 6)
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    return Tracks(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), boxes)


@dataclass(frozen=True)
class Seen:
    """A frame of walkers: when, whom a model found, and who they are."""

    time: float
    people: People
    ids: np.ndarray


def make_walkers(seed, times, *, people=6, dim=16, noise=0.1, missed=0.1):
    """Make people who walk to and fro, each with a look of their own, found in frames.

    Their embeddings have a similarity of about 0.86 to each other's of the same person.
    """
    rng = np.random.default_rng(seed)
    looks = np.linalg.qr(rng.normal(size=(dim, people)))[0].T
    heights = rng.uniform(60, 140, people)
    places, phases = rng.uniform(100, 500, people), rng.uniform(0, 6, people)
    frames = []
    for time in times:
        x = places + 1.5 * heights * np.sin(phases + time / 2)
        y = 200 + 20 * np.arange(people)
        boxes = np.stack([x - 0.2 * heights, y - heights, x + 0.2 * heights, y + 0 * x], axis=1)
        boxes += rng.normal(0, 0.02, boxes.shape) * heights[:, None]
        embeddings = looks + rng.normal(0, noise, looks.shape)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        ids = rng.permutation(np.flatnonzero(rng.random(people) >= missed))
        found = People(
            boxes[ids].astype(np.float32),
            rng.uniform(0.4, 1, len(ids)).astype(np.float32),
            embeddings[ids].astype(np.float32),
        )
        frames.append(Seen(float(time), found, ids))
    return frames
