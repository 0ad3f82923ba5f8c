"""The protocol of SYSU-MM01 (Wu et al., ICCV 2017): ten drawn galleries, searched by infrared.

Probes are all infrared crops (cameras 3 and 6). Each trial draws a gallery from the visible crops:
one (single shot) or ten (multi-shot) of each person in each camera, of cameras 1, 2, 4 and 5 (all
search) or 1 and 2 (indoor search). Cameras 2 and 3 stand in one room, so a probe of camera 3 sees
no crop of camera 2, whoever is on it. A probe whose person is not in what it sees is skipped; that
is the same in all trials. CMC ranks persons, each by its most similar crop; mAP and mINP rank
crops, as in ``ranking``. The trials' numbers are averaged.

The gallery is drawn in either of two ways, which give different numbers:

- ``official``: the authors' file of permutations; trial t takes the first crops of permutation t.
- ``agw``: what most later papers do, after the code of AGW (Ye et al., TPAMI 2021; its evaluation
  for SYSU-MM01): ``random.seed(t)``, t from 0, then ``random.choice`` among the crops of each
  person, in order of number, and camera, in order. All and indoor search draw anew. Multi-shot
  differs in public code: some use ``random.sample``, as here, others a NumPy generator that the
  trial does not seed, whose galleries cannot be repeated.

A person with fewer crops in a camera than are drawn gives all. The official MATLAB code stops with
an error there; of the real test persons every camera that saw one has 13 crops or more.

Letters: Q queries, V queries with a match, B queries of a block, G gallery crops, S drawn crops, P
people among them, R trials.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from reid_heads.evaluation.ranking import RankingResult, check_any_valid, iterate_blocks
from reid_heads.sysu_protocol import (
    INFRARED_CAMERAS,
    SEARCH_MODES,
    VISIBLE_CAMERAS,
    Permutations,
    check_permutations,
)

CMC_RANKS = (1, 5, 10, 20)
"""Ranks that papers on this data report."""

Cells = Mapping[tuple[int, int], np.ndarray]
"""Person and camera, in order, to the gallery rows of the person's crops there, ascending."""


@dataclass(frozen=True)
class Search:
    """One way to draw and search galleries."""

    mode: str
    """A key of ``SEARCH_MODES``."""

    shots: int
    """Crops drawn of each person in each camera."""

    sampling: str
    """``official`` or ``agw``."""


def evaluate_sysu(
    similarities: Iterable[np.ndarray],
    query_pids: np.ndarray,
    query_cam_ids: np.ndarray,
    gallery_pids: np.ndarray,
    gallery_cam_ids: np.ndarray,
    *,
    permutations: Permutations | None = None,
    trials: int = 10,
    multi_shots: int = 10,
) -> dict[str, RankingResult]:
    """Rank the drawn galleries of SYSU-MM01 for each probe, in every way the protocol has.

    Args:
        similarities: Blocks (B, G) of consecutive probes, together Q rows; unchanged. Higher is
            more similar. Equal ones rank by gallery row.
        query_pids: (Q,) integer, as numbered on disk.
        query_cam_ids: (Q,) integer, 3 or 6.
        gallery_pids: (G,) integer.
        gallery_cam_ids: (G,) integer, 1, 2, 4 or 5. The crops of one person in one camera are in
            the order of their file names.
        permutations: The authors' draws; None leaves the official ones out.
        trials: R, galleries of each kind.
        multi_shots: Crops of each person in each camera in multi-shot galleries.

    Returns:
        ``{all,indoor}_{single,multi}_{official,agw}``; the official ones first, if known.

    Raises:
        ValueError: If the permutations are of another gallery or of fewer trials, a camera is none
            of SYSU-MM01's, a number is below 1, no probe has a match in some mode, a similarity is
            NaN, or the blocks do not fit.
    """
    _check(query_cam_ids, gallery_cam_ids, permutations, trials, multi_shots)
    cells = group_gallery(gallery_pids, gallery_cam_ids)
    if permutations is not None:
        check_permutations(permutations, gallery_pids, gallery_cam_ids)
    searches = {
        f"{mode}_{name}_{sampling}": Search(mode, shots, sampling)
        for sampling in (("official",) if permutations is not None else ()) + ("agw",)
        for mode in SEARCH_MODES
        for name, shots in (("single", 1), ("multi", multi_shots))
    }
    tables = {}
    for name, search in searches.items():
        draws = [draw_gallery(cells, search, trial, permutations) for trial in range(trials)]
        tables[name] = _Table(search, draws, gallery_pids, gallery_cam_ids)
    for start, block in iterate_blocks(similarities, len(query_pids), len(gallery_pids)):
        places = _places(block)
        queries = np.arange(start, start + len(block))
        for is_in_room in (False, True):
            group = np.flatnonzero((query_cam_ids[queries] == 3) == is_in_room)
            if not len(group):
                continue
            for table in tables.values():
                table.add(queries[group], query_pids[queries[group]], places[group], is_in_room)
    return {name: table.result(len(query_pids)) for name, table in tables.items()}


def group_gallery(gallery_pids: np.ndarray, gallery_cam_ids: np.ndarray) -> Cells:
    """Group the gallery rows by person and camera.

    Args:
        gallery_pids: (G,) integer.
        gallery_cam_ids: (G,) integer.

    Returns:
        Rows of each person in each camera that saw it, ordered by person, then camera.
    """
    order = np.lexsort((gallery_cam_ids, gallery_pids))
    keys = np.stack([gallery_pids[order], gallery_cam_ids[order]], axis=1)
    bounds = np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1)) + 1
    groups = np.split(order, bounds)
    return {(int(gallery_pids[rows[0]]), int(gallery_cam_ids[rows[0]])): rows for rows in groups}


def draw_gallery(
    cells: Cells, search: Search, trial: int, permutations: Permutations | None = None
) -> np.ndarray:
    """Draw the gallery of one trial.

    Args:
        cells: As ``group_gallery`` gives them.
        search: What to draw.
        trial: From 0.
        permutations: For official draws.

    Returns:
        (S,) int64 gallery rows, by person, then camera.

    Raises:
        ValueError: If official draws are asked for without permutations.
    """
    if search.sampling == "official" and permutations is None:
        raise ValueError("official draws need the permutations of rand_perm_cam.mat")
    generator = random.Random(trial)
    cameras = SEARCH_MODES[search.mode]
    drawn = []
    for (person, camera), rows in cells.items():
        if camera not in cameras:
            continue
        if search.sampling == "official" and permutations is not None:
            picked = permutations[camera, person][trial, : search.shots]
        else:
            # A sample of one consumes and gives what random.choice does.
            picked = np.array(generator.sample(range(len(rows)), min(search.shots, len(rows))))
        drawn.append(rows[picked])
    return np.concatenate(drawn) if drawn else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class _Drawn:
    """What the probes of one camera see of a drawn gallery, laid out for ranking."""

    rows: np.ndarray
    """(S,) gallery rows, grouped by person."""

    pids: np.ndarray
    """(S,) their persons, ascending."""

    people: np.ndarray
    """(P,) persons, ascending."""

    starts: np.ndarray
    """(P,) where each begins."""

    counts: np.ndarray
    """(P,) crops of each."""


@dataclass
class _Table:
    """The galleries of one search and what they gave so far."""

    search: Search
    draws: list[np.ndarray]
    gallery_pids: np.ndarray
    gallery_cam_ids: np.ndarray
    queries: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Lay out each gallery as the probes of camera 3 see it and as the others do."""
        self.seen: dict[bool, list[_Drawn]] = {False: [], True: []}
        for rows in self.draws:
            outside = rows[self.gallery_cam_ids[rows] != 2]
            for is_in_room, visible in ((False, rows), (True, outside)):
                pids = self.gallery_pids[visible]
                people = np.unique(pids, return_index=True, return_counts=True)
                self.seen[is_in_room].append(_Drawn(visible, pids, *people))

    def add(
        self, queries: np.ndarray, pids: np.ndarray, places: np.ndarray, is_in_room: bool
    ) -> None:
        """Rank all trials for a group of probes. places: (B, G) ranks in the whole gallery."""
        galleries = self.seen[is_in_room]
        valid = np.flatnonzero(np.isin(pids, galleries[0].people))
        if not len(valid):
            return
        # Probes without a match need not be ranked, and their rows not be read.
        places, pids = places[valid], pids[valid]
        self.queries.append(queries[valid])
        self.scores.append(np.stack([rank_drawn(places, pids, drawn) for drawn in galleries], 1))

    def result(self, num_queries: int) -> RankingResult:
        """Join what was ranked, in the order of the probes."""
        num_valid = sum(len(queries) for queries in self.queries)
        try:
            check_any_valid(num_valid, num_queries)
        except ValueError as error:
            raise ValueError(f"{self.search.mode} search: {error}") from None
        queries = np.concatenate(self.queries)
        order = np.argsort(queries)
        scores = np.concatenate(self.scores)[order]
        return RankingResult(
            queries=queries[order],
            first_ranks=scores[:, :, 0].astype(np.int64),
            average_precisions=scores[:, :, 1].mean(axis=1),
            inverse_penalties=scores[:, :, 2].mean(axis=1),
            num_skipped=num_queries - num_valid,
            cmc_ranks=CMC_RANKS,
            setting={
                "mode": self.search.mode,
                "shots": self.search.shots,
                "gallery_sampling": self.search.sampling,
                "trials": len(self.draws),
            },
        )


def rank_drawn(places: np.ndarray, pids: np.ndarray, drawn: _Drawn) -> np.ndarray:
    """Rank one drawn gallery for some probes, each with a match in it.

    Args:
        places: (B, G) integer, each gallery crop's place in the ranking of the whole gallery.
        pids: (B,) persons of the probes.
        drawn: The gallery.

    Returns:
        (B, 3): rank of the probe's person among the persons, from 1; average precision and inverse
        penalty among the crops.
    """
    own = drawn.people.searchsorted(pids)
    seen = places.take(drawn.rows, axis=1)
    best = np.minimum.reduceat(seen, drawn.starts, axis=1)
    ahead = np.count_nonzero(best < best[np.arange(len(own)), own, None], axis=1)
    # The last bit, which is 0 for a match, comes along when the places are sorted.
    seen = 2 * seen + (drawn.pids != pids[:, None])
    seen.sort(axis=1)
    ranks = np.flatnonzero(seen & 1 == 0) % seen.shape[1] + 1
    counts = drawn.counts[own]
    ends = np.cumsum(counts)
    starts = ends - counts
    numbers = np.arange(1, len(ranks) + 1) - np.repeat(starts, counts)
    precisions = np.add.reduceat(numbers / ranks, starts) / counts
    return np.stack([ahead + 1, precisions, counts / ranks[ends - 1]], axis=1)


def _places(similarities: np.ndarray) -> np.ndarray:
    """Return each crop's place, from 0, by falling similarity, then row. (B, G) int32."""
    order = np.argsort(-similarities, axis=1, kind="stable")
    places = np.empty(order.shape, dtype=np.int32)
    np.put_along_axis(places, order, np.arange(order.shape[1], dtype=np.int32)[None], axis=1)
    return places


def _check(
    query_cam_ids: np.ndarray,
    gallery_cam_ids: np.ndarray,
    permutations: Permutations | None,
    trials: int,
    multi_shots: int,
) -> None:
    for name, number in (("trials", trials), ("multi_shots", multi_shots)):
        if number < 1:
            raise ValueError(f"{name}: got {number}, expected at least 1")
    for name, cam_ids, expected in (
        ("query_camids", query_cam_ids, INFRARED_CAMERAS),
        ("gallery_camids", gallery_cam_ids, VISIBLE_CAMERAS),
    ):
        other = cam_ids[~np.isin(cam_ids, expected)]
        if len(other):
            raise ValueError(
                f"{name}: got camera {other[0]}, expected those of SYSU-MM01, "
                f"{', '.join(map(str, expected))}: infrared crops search among visible ones"
            )
    if permutations:
        known = len(next(iter(permutations.values())))
        if trials > known:
            raise ValueError(f"trials: got {trials}, but the permutation file has {known}")
