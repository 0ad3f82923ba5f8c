"""How well people are followed through a stream: HOTA, IDF1 and MOTA, as TrackEval computes them.

HOTA: Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking" (IJCV 2021).
IDF1: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking"
(ECCV 2016 workshops). MOTA and identity switches: Bernardin and Stiefelhagen, "Evaluating Multiple
Object Tracking Performance: The CLEAR MOT Metrics" (2008).

Letters: T true tracks, F found ones, A = 19 overlaps alpha, N boxes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from person_search.evaluation.tracks import MIN_IOU, Tracks, box_overlaps, join_streams, pair_frames

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""The overlaps that HOTA is averaged over."""

_EPS = float(np.finfo(float).eps)


def evaluate_tracking(true: Sequence[Tracks], found: Sequence[Tracks]) -> dict[str, float]:
    """Score the tracks of some streams, each by itself, together.

    Streams are put together as TrackEval does: counts are added, and association is averaged over
    the boxes that were found, so that a long stream weighs more.

    Args:
        true: True tracks of each stream; ids are compared within a stream only.
        found: Found tracks of the same streams, in the same order.

    Returns:
        In percent: ``HOTA``, and of it ``DetA`` (are the boxes found?), ``AssA`` (does a track stay
        with its person?) and ``LocA`` (do they lie well?), averaged over `ALPHAS`; ``IDF1``, and
        ``MOTA``, which falls below 0 where more is wrong than there is. ``IDSW`` is how often a
        person's box gets another track's number than the time before. 0 where there is nothing to
        score, and LocA 100.

    Raises:
        ValueError: If there are not as many streams found as true.
    """
    if len(true) != len(found):
        raise ValueError(f"{len(found)} streams of found tracks for {len(true)} of true ones")
    streams = [_Stream.of(*pair) for pair in zip(true, found, strict=True)]
    return {**_hota(streams), **_identity(streams), **_clear(streams)}


def evaluate_identities(true: Sequence[Tracks], found: Sequence[Tracks]) -> dict[str, float]:
    """Score whether people keep their number from stream to stream, as from camera to camera.

    Args:
        true: True tracks of each stream; an id means the same person in all.
        found: Found ones, likewise.

    Returns:
        ``IDF1``, ``IDP`` and ``IDR`` in percent.
    """
    if len(true) != len(found):
        raise ValueError(f"{len(found)} streams of found tracks for {len(true)} of true ones")
    # Frames are shifted by the place of their stream: the same in both.
    return _identity([_Stream.of(join_streams(true), join_streams(found))], parts=True)


@dataclass(frozen=True)
class _Step:
    """A frame: who is there (rows of the counts over the stream), and how they overlap."""

    true: np.ndarray
    found: np.ndarray
    overlaps: np.ndarray


@dataclass(frozen=True)
class _Stream:
    steps: list[_Step]
    true_counts: np.ndarray
    """(T,) boxes of each true track."""
    found_counts: np.ndarray
    """(F,)"""

    @classmethod
    def of(cls, true: Tracks, found: Tracks) -> "_Stream":
        """Number the tracks from 0, and let boxes of a frame meet."""
        _, true_ids, true_counts = np.unique(true.ids, return_inverse=True, return_counts=True)
        _, found_ids, found_counts = np.unique(found.ids, return_inverse=True, return_counts=True)
        steps = [
            _Step(true_ids[a], found_ids[b], box_overlaps(true.boxes[a], found.boxes[b]))
            for a, b in pair_frames(true, found)
        ]
        return cls(steps, true_counts, found_counts)

    @property
    def num_true(self) -> int:
        return int(self.true_counts.sum())

    @property
    def num_found(self) -> int:
        return int(self.found_counts.sum())

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.true_counts), len(self.found_counts)


def _hota(streams: Sequence[_Stream]) -> dict[str, float]:
    hits, ass_sum, loc_sum = np.zeros((3, len(ALPHAS)))
    for stream in streams:
        matches, localisation = _match_for_hota(stream)
        unions = stream.true_counts[:, None] + stream.found_counts - matches
        hits += matches.sum(axis=(1, 2))
        ass_sum += (matches * (matches / np.maximum(1, unions))).sum(axis=(1, 2))
        loc_sum += localisation
    boxes = sum(stream.num_true + stream.num_found for stream in streams)
    det = hits / np.maximum(1, boxes - hits)
    ass = ass_sum / np.maximum(1, hits)
    loc = np.maximum(1e-10, loc_sum) / np.maximum(1e-10, hits)
    values = {"HOTA": np.sqrt(det * ass), "DetA": det, "AssA": ass, "LocA": loc}
    return {name: 100 * float(value.mean()) for name, value in values.items()}


def _match_for_hota(stream: _Stream) -> tuple[np.ndarray, np.ndarray]:
    """Match the boxes of each frame so that whole tracks fit best, whatever alpha is.

    Returns:
        matches: (A, T, F), how often a found track is matched with a true one.
        localisation: (A,), sum of the overlaps of those that match.
    """
    alignment = np.zeros(stream.shape)
    for step in stream.steps:
        here = step.overlaps
        unions = here.sum(axis=0)[None] + here.sum(axis=1)[:, None] - here
        share = np.divide(here, unions, out=np.zeros_like(here), where=unions > _EPS)
        alignment[step.true[:, None], step.found] += share
    alignment /= stream.true_counts[:, None] + stream.found_counts - alignment
    matches, localisation = np.zeros((len(ALPHAS), *stream.shape)), np.zeros(len(ALPHAS))
    for step in stream.steps:
        rows, columns = _best(alignment[step.true[:, None], step.found] * step.overlaps)
        overlaps = step.overlaps[rows, columns]
        is_hit = overlaps >= ALPHAS[:, None] - _EPS
        matches[:, step.true[rows], step.found[columns]] += is_hit
        localisation += is_hit @ overlaps
    return matches, localisation


def _identity(streams: Sequence[_Stream], parts: bool = False) -> dict[str, float]:
    """Give each true track at most one found one, so that most boxes fall to their own."""
    hits = sum(_identity_hits(stream) for stream in streams)
    num_true = sum(stream.num_true for stream in streams)
    num_found = sum(stream.num_found for stream in streams)
    result = {"IDF1": 200 * hits / max(1, num_true + num_found)}
    if parts:
        result |= {"IDP": 100 * hits / max(1, num_found), "IDR": 100 * hits / max(1, num_true)}
    return result


def _identity_hits(stream: _Stream) -> int:
    together = np.zeros(stream.shape)
    for step in stream.steps:
        rows, columns = np.nonzero(step.overlaps >= MIN_IOU)
        together[step.true[rows], step.found[columns]] += 1
    return int(together[_best(together)].sum())


def _clear(streams: Sequence[_Stream]) -> dict[str, float]:
    hits = switches = 0
    for stream in streams:
        for num_hits, num_switches in _clear_steps(stream):
            hits += num_hits
            switches += num_switches
    num_true = sum(stream.num_true for stream in streams)
    num_false = sum(stream.num_found for stream in streams) - hits
    mota = 100 * (hits - num_false - switches) / max(1, num_true)
    return {"MOTA": mota, "IDSW": float(switches)}


def _clear_steps(stream: _Stream) -> Iterator[tuple[int, int]]:
    """Yield each frame's boxes that are matched, and identity switches among them."""
    last = np.full(len(stream.true_counts), -1)
    before = last.copy()
    for step in stream.steps:
        if not step.overlaps.size:
            # As TrackEval, which leaves `before` as it was in a frame with nobody.
            continue
        # Whoever was matched the time before stays so if they can; then by overlap.
        scores = 1000.0 * (before[step.true][:, None] == step.found) + step.overlaps
        scores[step.overlaps < MIN_IOU - _EPS] = 0
        rows, columns = _best(scores)
        is_hit = scores[rows, columns] > _EPS
        true, found = step.true[rows[is_hit]], step.found[columns[is_hit]]
        known = last[true] >= 0
        yield len(true), int((known & (last[true] != found)).sum())
        last[true] = found
        before[:] = -1
        before[true] = found


def _best(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose pairs of rows and columns, each at most once, of the highest sum."""
    # Half a second to import, which the other scorers of this folder are spared.
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-scores)
    return rows, columns
