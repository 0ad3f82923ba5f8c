"""Whether people keep their number from camera to camera: stays grouped by look, as `people` does.

Letters: N people found in all frames of a stream, S stays of all cameras, D embedding size.
"""

from collections.abc import Sequence

import numpy as np
from appearances_streams import Stream

from person_search.evaluation.tracking import evaluate_identities
from person_search.evaluation.tracks import Tracks
from person_search.tracking.groups import SAME_SECONDS, find_overlaps, group_looks
from person_search.tracking.view_quality import view_qualities


def leave_out_unsure(stream: Stream, numbers: np.ndarray, least: float) -> np.ndarray:
    """Take the number from tracks whose best sight, as the gallery shows it, has a lower score.

    Args:
        stream: It.
        numbers: (N,) of the tracks, below 0 for none.
        least: Score, 0..1.
    """
    qualities = view_qualities(stream.times[stream.frames], stream.people)
    left = numbers.copy()
    for number in np.unique(numbers[numbers >= 0]):
        rows = np.flatnonzero(numbers == number)
        if stream.people.scores[rows[np.argmax(qualities[rows])]] < least:
            left[rows] = -1
    return left


def score_across(
    streams: Sequence[Stream], numbers: Sequence[np.ndarray], threshold: float
) -> float:
    """Return the IDF1, percent, of the stays of all cameras, grouped by look.

    Args:
        streams: Of one town.
        numbers: (N,) of the tracks of each stream, below 0 for none.
        threshold: Mean similarity from which on groups are joined.
    """
    looks, weights, starts, ends, cameras, members = [], [], [], [], [], []
    for camera, (stream, own) in enumerate(zip(streams, numbers, strict=True)):
        times = stream.times[stream.frames]
        for number in np.unique(own[own >= 0]):
            rows = np.flatnonzero(own == number)
            total = stream.people.embeddings[rows].sum(axis=0)
            looks.append(total / max(np.linalg.norm(total), 1e-12))
            weights.append(len(rows))
            starts.append(times[rows[0]])
            ends.append(times[rows[-1]])
            cameras.append(camera)
            members.append((camera, rows))
    if not looks:
        return 0.0
    apart = find_overlaps(np.array(starts), np.array(ends), np.array(cameras), SAME_SECONDS)
    groups = group_looks(
        np.array(looks, np.float32), threshold, weights=np.array(weights), apart=apart
    )
    of_people = [np.full(len(stream.frames), -1) for stream in streams]
    for (camera, rows), group in zip(members, groups, strict=True):
        of_people[camera][rows] = group
    true = [_named(stream) for stream in streams]
    found = [_once(stream, own) for stream, own in zip(streams, of_people, strict=True)]
    return evaluate_identities(true, found)["IDF1"]


def _named(stream: Stream) -> Tracks:
    """Return the true tracks by who the people are."""
    people = stream.truth.people
    ids = np.array([stream.identities[stay] for stay in people.ids.tolist()], np.int64)
    return Tracks(people.frames, ids, people.boxes)


def _once(stream: Stream, groups: np.ndarray) -> Tracks:
    """Return people as tracks of their groups; of two in a frame, who are one, the surer."""
    order = np.argsort(-stream.people.scores, kind="stable")
    order = order[groups[order] >= 0]
    pairs = np.stack([stream.frames[order], groups[order]])
    _, first = np.unique(pairs, axis=1, return_index=True)
    rows = np.sort(order[first])
    boxes = stream.people.boxes[rows].astype(np.float64)
    return Tracks(stream.frames[rows], groups[rows].astype(np.int64), boxes)
