import itertools

import numpy as np
import pytest
from helpers_tracking import STREAMS, make_stream, to_tracks

from person_search.evaluation.tracking import ALPHAS, evaluate_identities, evaluate_tracking
from person_search.people import paired_iou

NAMES = ("HOTA", "DetA", "AssA", "LocA", "IDF1", "MOTA", "IDSW")
# TrackEval 1.3.0's for STREAMS, one by one and together.
TRACKEVAL = (
    (
        32.69044963148071,
        52.757636421904905,
        20.371378555502922,
        83.83349225344965,
        40.0,
        44.27083333333333,
        24.0,
    ),
    (
        29.843613675359613,
        32.21462876816295,
        27.682096207451174,
        82.98339464818295,
        51.02040816326531,
        34.32835820895522,
        2.0,
    ),
    (
        18.254047316046318,
        25.672369076531815,
        13.539471034568894,
        66.16461355430332,
        20.952380952380953,
        -36.607142857142854,
        9.0,
    ),
)
TRACKEVAL_TOGETHER = (
    28.485802147942596,
    39.48009588379174,
    20.921135448324456,
    79.09114126593838,
    35.72474377745242,
    18.059299191374663,
    35.0,
)


@pytest.fixture(scope="module")
def streams():
    return [tuple(to_tracks(rows) for rows in make_stream(*stream)) for stream in STREAMS]


def test_scores_are_those_of_trackeval(streams):
    for (true, found), expected in zip(streams, TRACKEVAL, strict=True):
        scores = evaluate_tracking([true], [found])
        assert tuple(scores) == NAMES
        np.testing.assert_allclose(list(scores.values()), expected, rtol=1e-13)


def test_streams_are_put_together_as_trackeval_does(streams):
    scores = evaluate_tracking(*zip(*streams, strict=True))
    np.testing.assert_allclose(list(scores.values()), TRACKEVAL_TOGETHER, rtol=1e-13)


def test_perfect_tracks_have_full_marks_whatever_they_are_called():
    rows = make_stream(*STREAMS[0])[0]
    renamed = rows.copy()
    renamed[:, 1] = 1000 - 7 * rows[:, 1]
    scores = evaluate_tracking([to_tracks(rows)], [to_tracks(renamed[::-1])])
    assert scores == pytest.approx({name: 100.0 for name in NAMES[:-1]} | {"IDSW": 0.0})


def test_one_switch_by_hand():
    # One person, four frames, the right box each time; a new number from the third frame on.
    true = to_tracks([(f, 1, 0, 0, 10, 20) for f in range(4)])
    found = to_tracks([(f, 1 + f // 2, 0, 0, 10, 20) for f in range(4)])
    scores = evaluate_tracking([true], [found])
    # Each of the four boxes: 2 of its pair of tracks match, 2 true ones do not: 2 / (2 + 2).
    assert scores["AssA"] == pytest.approx(50)
    assert scores["DetA"] == scores["LocA"] == pytest.approx(100)
    assert scores["HOTA"] == pytest.approx(100 * np.sqrt(0.5))
    # 2 boxes of 4 and 4 fall to the one track that the person may have: 2 * 2 / (4 + 4).
    assert scores["IDF1"] == 50
    # 4 found, 1 switch, of 4.
    assert (scores["MOTA"], scores["IDSW"]) == (75, 1)


def test_who_was_matched_before_stays_so():
    # The second frame's first found box lies better, yet the number of the frame before counts.
    true = to_tracks([(0, 1, 0, 0, 10, 20), (1, 1, 0, 0, 10, 20)])
    found = to_tracks([(0, 1, 0, 0, 10, 20), (1, 2, 0, 0, 10, 20), (1, 1, 2, 0, 10, 20)])
    scores = evaluate_tracking([true], [found])
    assert (scores["IDSW"], scores["MOTA"]) == (0, 50)


@pytest.mark.parametrize("stream", [(5, 3, 6, 0.2, 8), (6, 3, 5, 0.4, 12), (7, 2, 8, 0.1, 20)])
def test_hota_and_idf1_are_those_of_a_slow_count(stream):
    true, found = (to_tracks(rows) for rows in make_stream(*stream))
    scores = evaluate_tracking([true], [found])
    assert scores["IDF1"] == pytest.approx(slow_idf1(true, found))
    for name, value in slow_hota(true, found).items():
        assert scores[name] == pytest.approx(value), name


def test_nobody_there_or_nobody_found():
    rows = to_tracks([(0, 1, 0, 0, 10, 20)])
    nobody = to_tracks([])
    zero = {**dict.fromkeys(NAMES, 0.0), "LocA": 100.0}
    assert evaluate_tracking([rows], [nobody]) == zero
    assert evaluate_tracking([nobody], [nobody]) == zero
    # One box too many for nobody: TrackEval divides by at least one.
    assert evaluate_tracking([nobody], [rows]) == {**zero, "MOTA": -100.0}
    assert evaluate_tracking([], []) == zero


def test_a_stream_more_is_refused():
    with pytest.raises(ValueError, match="1 streams of found tracks for 0"):
        evaluate_tracking([], [to_tracks([])])
    with pytest.raises(ValueError, match="1 streams of found tracks for 0"):
        evaluate_identities([], [to_tracks([])])


def test_across_cameras_a_number_has_to_mean_the_same():
    here = [to_tracks([(f, p, 50 * p, 0, 10, 20) for f in range(3) for p in (1, 2)])] * 2
    swapped = [
        here[0],
        to_tracks([(f, 3 - p, 50 * p, 0, 10, 20) for f in range(3) for p in (1, 2)]),
    ]
    assert evaluate_tracking(here, swapped)["IDF1"] == 100
    assert evaluate_identities(here, here) == {"IDF1": 100, "IDP": 100, "IDR": 100}
    # Whichever way: 3 of a person's 6 boxes have the right number.
    assert evaluate_identities(here, swapped) == {"IDF1": 50, "IDP": 50, "IDR": 50}
    one = evaluate_identities(here, [here[0], to_tracks([])])
    assert one == pytest.approx({"IDF1": 200 * 6 / 18, "IDP": 100, "IDR": 50})


def slow_pairs(true, found):
    """List, for each frame, (true id, found id, overlap) of all its pairs."""
    for frame in np.union1d(true.frames, found.frames):
        a, b = true.select(true.frames == frame), found.select(found.frames == frame)
        yield [
            (int(i), int(j), float(paired_iou(box, other[None])[0]))
            for i, box in zip(a.ids, a.boxes, strict=True)
            for j, other in zip(b.ids, b.boxes, strict=True)
        ]


def slow_idf1(true, found):
    """Try every way to give true ids found ones."""
    together = {}
    for pairs in slow_pairs(true, found):
        for i, j, overlap in pairs:
            together[i, j] = together.get((i, j), 0) + (overlap >= 0.5)
    true_ids, found_ids = np.unique(true.ids).tolist(), np.unique(found.ids).tolist()
    found_ids += [None] * len(true_ids)
    best = max(
        sum(together.get(pair, 0) for pair in zip(true_ids, chosen, strict=True))
        for chosen in itertools.permutations(found_ids, len(true_ids))
    )
    return 200 * best / (len(true) + len(found))


def slow_hota(true, found):
    """The paper's sums, box by box; each frame's best matching among all of them."""
    frames = [{(i, j): overlap for i, j, overlap in pairs} for pairs in slow_pairs(true, found)]
    jaccard = {}
    for frame in frames:
        for (i, j), overlap in frame.items():
            rest = sum(s for (k, m), s in frame.items() if (k == i) != (m == j))
            jaccard[i, j] = jaccard.get((i, j), 0) + (overlap / (overlap + rest) if overlap else 0)
    for i, j in jaccard:
        union = (true.ids == i).sum() + (found.ids == j).sum() - jaccard[i, j]
        jaccard[i, j] /= union
    matched = [
        max(matchings(list(frame)), key=lambda ms: sum(jaccard[m] * frame[m] for m in ms))
        for frame in frames
    ]
    sums = dict.fromkeys(("HOTA", "DetA", "AssA", "LocA"), 0.0)
    for alpha in ALPHAS:
        hits = [
            (m, f[m]) for f, ms in zip(frames, matched, strict=True) for m in ms if f[m] >= alpha
        ]
        ass = 0.0
        for (i, j), _ in hits:
            both = sum(m == (i, j) for m, _ in hits)
            ass += both / ((true.ids == i).sum() + (found.ids == j).sum() - both)
        det = len(hits) / (len(true) + len(found) - len(hits))
        ass /= max(1, len(hits))
        loc = sum(s for _, s in hits) / len(hits) if hits else 1
        for name, value in zip(sums, (np.sqrt(det * ass), det, ass, loc), strict=True):
            sums[name] += 100 * value / len(ALPHAS)
    return sums


def matchings(pairs):
    """List every choice of pairs in which no id of either side comes twice."""
    if not pairs:
        return [[]]
    (i, j), rest = pairs[0], pairs[1:]
    with_first = matchings([(k, m) for k, m in rest if k != i and m != j])
    return [[(i, j), *ms] for ms in with_first] + matchings(rest)
