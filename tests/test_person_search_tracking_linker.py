import time

import numpy as np
import pytest
from helpers_tracking import make_walkers

from person_search.people import People
from person_search.tracking.linker import Linker, LinkOptions, Sight

TENTHS = np.arange(0, 12, 0.1)
LOOKS = np.eye(8, dtype=np.float32)


def link(frames, linker=None):
    linker = linker or Linker()
    return [linker.step(frame.time, frame.people) for frame in frames]


def one(x, look, *, y=200, height=100, score=0.9):
    """One person whose box begins at x."""
    box = np.array([[x, y - height, x + 0.4 * height, y]], np.float32)
    embedding = np.asarray(look, np.float32)[None]
    return People(box, np.array([score], np.float32), embedding)


def join(*people):
    columns = zip(*[(p.boxes, p.scores, p.embeddings) for p in people], strict=True)
    return People(*(np.concatenate(column) for column in columns))


NOBODY = People(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 8), np.float32))


def mixed(similarity):
    """A look of this similarity to the first."""
    return similarity * LOOKS[0] + np.sqrt(1 - similarity**2) * LOOKS[1]


# Rates from ten frames a second to one in five, one after the other and mixed.
RHYTHMS = {
    "10 a second": TENTHS,
    "1 a second": np.arange(40.0),
    "1 in five seconds": np.arange(0, 100, 5.0),
    "mixed": np.cumsum(np.random.default_rng(3).choice([0.1, 0.2, 1.0, 4.0], 80)),
}


@pytest.mark.parametrize("times", RHYTHMS.values(), ids=RHYTHMS)
def test_people_keep_their_numbers_at_any_rate(times):
    frames = make_walkers(1, times)
    # Somebody may be missed three times in a row, at the slowest rate too.
    linked = link(frames, Linker(LinkOptions(max_gap=20)))
    numbers, ids = np.concatenate(linked), np.concatenate([frame.ids for frame in frames])
    for number in np.unique(numbers):
        assert len(np.unique(ids[numbers == number])) == 1
    assert len(np.unique(numbers)) == len(np.unique(ids)) == 6


@pytest.mark.parametrize("seed", range(4))
def test_in_pieces_the_numbers_are_those_of_one_go(seed):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.choice([0.1, 0.5, 2.0, 9.0], 60))
    # Alike and often missed, so that tracks end, begin and are mistaken.
    frames = make_walkers(seed, times, noise=0.35, missed=0.3)
    whole = link(frames)
    cuts = np.sort(rng.choice(np.arange(1, 60), 6, replace=False))
    sights, linker, pieces = {}, Linker(), []
    for place, frame in enumerate(frames):
        if place in cuts:
            alive = linker.alive()
            first = 1 + max(sights, default=-1)
            linker = Linker(first_number=first)
            linker.restore({n: sights[n][-Linker.MEMORY :] for n in alive})
            assert linker.alive() == alive
        numbers = linker.step(frame.time, frame.people)
        pieces.append(numbers)
        for row, number in enumerate(numbers.tolist()):
            people = frame.people
            score, embedding = float(people.scores[row]), people.embeddings[row]
            sights.setdefault(number, []).append(
                Sight(frame.time, people.box(row), score, embedding)
            )
    assert [p.tolist() for p in pieces] == [w.tolist() for w in whole]
    assert len(sights) > 6


def test_no_number_comes_twice_in_a_frame_and_new_ones_rise():
    frames = make_walkers(5, TENTHS, noise=0.5, missed=0.4)
    highest = 6
    for numbers in link(frames, Linker(first_number=7)):
        assert len(set(numbers.tolist())) == len(numbers)
        new = numbers[numbers > highest]
        assert sorted(new.tolist()) == list(range(highest + 1, highest + 1 + len(new)))
        highest = max(highest, *numbers.tolist(), 0)


def test_at_a_cut_nobody_is_linked():
    # The same boxes, other people.
    before = [join(one(100, LOOKS[0]), one(300, LOOKS[1]))] * 5
    after = [join(one(100, LOOKS[2]), one(300, LOOKS[3]))] * 5
    linker = Linker()
    numbers = [linker.step(0.1 * k, people).tolist() for k, people in enumerate(before + after)]
    assert numbers == [[0, 1]] * 5 + [[2, 3]] * 5


def test_who_meet_keep_apart_by_their_looks():
    # Two walk through each other; for half a second only the front one is found.
    frames = []
    for k in range(40):
        left, right = one(100 + 5 * k, LOOKS[0]), one(300 - 5 * k, LOOKS[1], y=205)
        frames.append(right if 17 <= k <= 22 else join(left, right))
    linker = Linker()
    numbers = [linker.step(0.1 * k, people).tolist() for k, people in enumerate(frames)]
    assert numbers == [[0, 1]] * 17 + [[1]] * 6 + [[0, 1]] * 17


def test_twins_who_meet_keep_apart_by_their_ways():
    linker = Linker()
    for k in range(40):
        people = join(one(100 + 5 * k, LOOKS[0]), one(300 - 5 * k, LOOKS[0], y=230))
        assert linker.step(0.1 * k, people).tolist() == [0, 1]


def test_back_within_the_gap_is_the_same_stay_and_later_a_new_one():
    options = LinkOptions(max_gap=6)
    for gap, expected in ((5.9, 0), (6.1, 1)):
        linker = Linker(options)
        assert linker.step(0, one(100, LOOKS[0])) == 0
        assert linker.step(gap, one(150, LOOKS[0])) == expected
    assert linker.alive() == (1,)


def test_reach_grows_with_the_gap():
    # Six heights away: nobody gets there in a tenth of a second, in five seconds anybody.
    for gap, expected in ((0.1, 1), (5.0, 0)):
        linker = Linker()
        linker.step(0, one(100, LOOKS[0]))
        assert linker.step(gap, one(700, LOOKS[0])) == expected


def test_after_a_gap_the_look_has_to_agree_better():
    similar = mixed(0.6)
    for gap, expected in ((0.1, 0), (8.0, 1)):
        linker = Linker()
        linker.step(0, one(100, LOOKS[0]))
        assert linker.step(gap, one(102, similar)) == expected


def test_high_scores_choose_first():
    # The low one fits better, yet it may be what is left of somebody behind.
    linker = Linker()
    linker.step(0, one(100, LOOKS[0]))
    people = join(one(101, LOOKS[0], score=0.3), one(105, LOOKS[0], score=0.9))
    assert linker.step(0.1, people).tolist() == [1, 0]
    # With nobody else there, it is the one.
    linker = Linker()
    linker.step(0, one(100, LOOKS[0]))
    assert linker.step(0.1, one(101, LOOKS[0], score=0.3)).tolist() == [0]


def test_frames_may_change_their_size():
    linker = Linker()
    for k in range(5):
        linker.step(0.2 * k, one(100, LOOKS[0]))
    # The video goes on at half its size: the box is another, the look is the same.
    numbers = [
        int(linker.step(1 + 0.2 * k, one(50, LOOKS[0], y=100, height=50))[0]) for k in range(9)
    ]
    assert len(set(numbers)) == 1


def test_nobody_and_the_first_frame():
    linker = Linker(first_number=3)
    assert linker.step(0, NOBODY).tolist() == []
    assert linker.alive() == ()
    assert linker.step(1, one(0, LOOKS[0])).dtype == np.int64
    assert linker.step(2, NOBODY).tolist() == []
    assert linker.alive() == (3,)
    linker.restore({})
    assert linker.alive() == ()
    assert linker.step(0.5, one(0, LOOKS[0])).tolist() == [4]


def test_times_have_to_rise():
    linker = Linker()
    linker.step(4.5, NOBODY)
    for wrong in (4.5, 4.25, float("nan")):
        with pytest.raises(ValueError, match=rf"time {wrong} .*4\.5"):
            linker.step(wrong, NOBODY)
    restored = Linker()
    restored.restore({0: [Sight(7.0, (0, 0, 10, 20), 0.9, LOOKS[0])]})
    with pytest.raises(ValueError, match=r"time 6\.5 .*7\.0"):
        restored.step(6.5, NOBODY)


def test_sights_that_cannot_be_are_refused():
    later, sooner = (Sight(t, (0, 0, 10, 20), 0.9, LOOKS[0]) for t in (2.0, 1.0))
    for sights in ([], [later, sooner], [later, later]):
        with pytest.raises(ValueError, match="track 5 has sights at the times"):
            Linker().restore({5: sights})


def test_another_models_embeddings_are_refused():
    linker = Linker()
    linker.step(0, one(0, LOOKS[0]))
    with pytest.raises(ValueError, match=r"4 numbers .* 8"):
        linker.step(1, one(0, LOOKS[0][:4]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_gap": 0}, "max_gap is 0"),
        ({"max_gap": float("nan")}, "max_gap is nan"),
        ({"exit_gap": 0}, "exit_gap is 0; expected above 0"),
        ({"min_similarity": 1.5}, "min_similarity is 1.5"),
        ({"reach": -1}, "reach is -1"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        LinkOptions(**wrong)


def test_a_step_is_short():
    frames = make_walkers(2, np.arange(0, 6, 0.1), people=20, dim=256, noise=0.03, missed=0.05)
    linker = Linker()
    link(frames[:20], linker)
    best = float("inf")
    for frame in frames[20:]:
        started = time.process_time()
        linker.step(frame.time, frame.people)
        best = min(best, time.process_time() - started)
    # Below a millisecond on an idle machine; the best of 40 steps is little troubled by others.
    assert best < 2e-3


@pytest.mark.parametrize(("last", "expected"), [(600, 1), (400, 0)])
@pytest.mark.parametrize("axis", [0, 1])
def test_who_walks_out_of_the_picture_has_left(last, expected, axis):
    # Out by the right or the lower edge of 640 pixels, and back 4 s later; or lost before it.
    linker, size = Linker(), (640, 360) if axis == 0 else (360, 640)

    def at(place):
        return one(place, LOOKS[0]) if axis == 0 else one(90, LOOKS[0], y=place + 60)

    for k in range(12):
        linker.step(0.1 * k, at(last - 110 + 10 * k), size)
    assert linker.step(5.0, at(last), size).tolist() == [expected]


def test_without_a_size_nobody_has_left_and_soon_back_is_the_same_stay():
    for size, gap, expected in ((None, 4.0, 0), ((640, 360), 4.0, 1), ((640, 360), 1.4, 0)):
        linker = Linker()
        for k in range(12):
            linker.step(0.1 * k, one(490 + 10 * k, LOOKS[0]), size)
        assert linker.step(1.1 + gap, one(605, LOOKS[0]), size).tolist() == [expected]
