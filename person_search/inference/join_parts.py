"""Make one list of people from what is found in a picture and in its parts.

Letters: N boxes of all views, D embedding size; views as in `person_search.inference.parts`.
"""

from collections.abc import Sequence

import numpy as np

from person_search.inference.network import FindsBoxes
from person_search.inference.parts import Parts, shift
from person_search.inference.suppression import suppress
from person_search.people import People, paired_intersection, paired_iou

JOIN_IOU = 0.5
"""Boxes of two views that overlap by more than this are the same person's."""
INSIDE_SHARE = 0.6
"""A box cut by its part's border is no person of its own if so much of it lies inside another's."""
PIECE_SHARE = 0.25
"""A box inside another's person, whom its part does not show whole, is a piece of that person if it
covers so much of what the part shows."""
BORDER_SHARE = 0.01
"""How near to its part's border a box is cut by it, as a share of the part's side."""


def join_people(parts: Parts, found: Sequence[People]) -> People:
    """Join the people of all views.

    Args:
        parts: how the picture was cut.
        found: in each view, the whole first, boxes in its own pixels.

    Returns:
        Each once, boxes in the picture's pixels, by falling score.
    """
    people = People(
        np.concatenate([shift(x.boxes, v) for x, v in zip(found, parts.boxes, strict=True)]),
        np.concatenate([x.scores for x in found]),
        np.concatenate([x.embeddings for x in found]),
    )
    views = np.repeat(np.arange(len(found)), [len(x) for x in found])
    return people.select(join_views(parts, people.boxes, people.scores, views))


def find_boxes_in_parts(
    network: FindsBoxes, image: np.ndarray, parts: Parts, min_score: float
) -> tuple[np.ndarray, np.ndarray]:
    """Find people in all views without embedding them.

    Args:
        network: one that can.
        image: (H, W, 3) uint8 RGB.
        parts: how it is cut.
        min_score: least score, 0..1.

    Returns:
        Boxes (N, 4) in the picture's pixels and scores (N,), each person once, by falling score;
        float32.
    """
    found = []
    for view in parts.cut(image):
        boxes, scores = network.find_boxes(view)
        keep = scores >= min_score
        not_embedded = np.zeros((int(keep.sum()), 0), np.float32)
        found.append(People(boxes[keep], scores[keep], not_embedded))
    people = join_people(parts, found)
    return people.boxes, people.scores


def join_views(
    parts: Parts, boxes: np.ndarray, scores: np.ndarray, views: np.ndarray
) -> np.ndarray:
    """Choose one box for each person from those found in all views.

    A box that its part's border cuts goes if the neighbouring part shows all that it shows, and
    gives way to any other person it lies in. Of the rest, boxes of different views that overlap are
    the same person's, of whom the highest score is kept; what is found in one view has passed the
    model's own suppression and is left alone. Where a part shows a piece of a person only, what is
    found to be most of that piece goes: legs look like a person, too. And somebody so small that a
    part shows them whole, and larger than the whole picture does, must be found in one: in real
    frames 22 of 26 boxes that only the whole had were false.

    Args:
        parts: how the picture was cut.
        boxes: (N, 4), (x1, y1, x2, y2) in original pixels of the picture.
        scores: (N,).
        views: (N,) int64: the view that each was found in.

    Returns:
        Rows of those chosen, by falling score; int64.
    """
    is_cut, is_seen_beside = _cuts(parts, boxes, views)
    is_lone = (views == 0) & _fit_into_overlaps(parts, boxes)
    is_lone &= ~(_iou(boxes, boxes[views > 0]) > JOIN_IOU).any(axis=1)
    rows = np.flatnonzero(~is_seen_beside & ~is_lone)
    whole, cut = rows[~is_cut[rows]], rows[is_cut[rows]]
    kept = whole[suppress(boxes[whole], scores[whole], JOIN_IOU, views[whole])]
    kept = kept[~_are_pieces(parts, boxes[kept], views[kept])]
    inside = _shared(boxes[cut], boxes[kept]) > INSIDE_SHARE * _areas(boxes[cut])[:, None]
    cut = cut[~inside.any(axis=1)]
    kept = np.concatenate([kept, cut[suppress(boxes[cut], scores[cut], JOIN_IOU, views[cut])]])
    return kept[np.argsort(-scores[kept], kind="stable")]


def _cuts(parts: Parts, boxes: np.ndarray, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say which boxes an inner border cuts, and of which a neighbouring part shows as much."""
    found_in = parts.boxes[views]
    is_cut = np.zeros(len(boxes), bool)
    is_seen_beside = is_cut.copy()
    lengths = parts.width, parts.height
    for axis, (length, overlap) in enumerate(zip(lengths, _overlaps(parts), strict=True)):
        low, high = found_in[:, axis], found_in[:, axis + 2]
        near = np.maximum(2, BORDER_SHARE * (high - low))
        cut = (low > 0) & (boxes[:, axis] < low + near)
        cut |= (high < length) & (boxes[:, axis + 2] > high - near)
        is_cut |= cut
        is_seen_beside |= cut & (boxes[:, axis + 2] - boxes[:, axis] < overlap)
    return is_cut, is_seen_beside


def _overlaps(parts: Parts) -> tuple[int, int]:
    """Return how much of neighbouring parts is the same, in x and y; all where there is one."""
    sides = (parts.part_width, parts.lefts), (parts.part_height, parts.tops)
    x, y = (part - (starts[1] - starts[0] if len(starts) > 1 else 0) for part, starts in sides)
    return x, y


def _fit_into_overlaps(parts: Parts, boxes: np.ndarray) -> np.ndarray:
    """Say which boxes some part shows whole wherever they are; (N,)."""
    return np.asarray((boxes[:, 2:] - boxes[:, :2] < _overlaps(parts)).all(axis=1))


def _are_pieces(parts: Parts, boxes: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Say which boxes are pieces of another's person, whom their part does not show whole; (N,)."""
    found_in = parts.boxes[views]
    shown = _shared(found_in, boxes)
    is_cut = shown < _areas(boxes)[None] * (1 - BORDER_SHARE)
    shared = _shared(boxes, boxes)
    is_inside = shared > INSIDE_SHARE * _areas(boxes)[:, None]
    is_large = shared > PIECE_SHARE * shown
    return np.asarray((is_cut & is_inside & is_large).any(axis=1))


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the areas (N, M) that boxes (N, 4) and others (M, 4) share."""
    return paired_intersection(boxes[:, None], others[None])


def _iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    return paired_iou(boxes[:, None], others[None])


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.asarray(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1, dtype=np.float64))
