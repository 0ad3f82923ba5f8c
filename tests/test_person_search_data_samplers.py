from collections import Counter
from itertools import islice

import pytest

from person_search.data.samplers import OrientationSampler

NUM_FRAMES = 23
IS_PORTRAIT = [i % 3 == 0 for i in range(NUM_FRAMES)]  # 8 portrait, 15 landscape
BATCH = 4
BATCHES_PER_EPOCH = 8 // BATCH + 15 // BATCH


def make_sampler(**settings):
    arguments = {"is_portrait": IS_PORTRAIT, "batch_size": BATCH, "seed": 3, **settings}
    return OrientationSampler(**arguments)


def batches(sampler, count, share=BATCH):
    keys = list(islice(sampler, count * share))
    return [keys[i : i + share] for i in range(0, len(keys), share)]


def indices(batch):
    return [key % NUM_FRAMES for key in batch]


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 13, 25])
def test_resumed_stream_is_the_tail_of_the_straight_one(start):
    """5 batches an epoch: starts within, at and beyond the first epochs."""
    assert BATCHES_PER_EPOCH == 5
    straight = batches(make_sampler(), 40)
    resumed = make_sampler()
    resumed.start_iteration = start
    assert batches(resumed, 40 - start) == straight[start:]


def test_resume_with_fewer_frames_than_a_batch():
    straight = batches(make_sampler(is_portrait=[False, True, False]), 9)
    resumed = make_sampler(is_portrait=[False, True, False])
    resumed.start_iteration = 4
    assert batches(resumed, 5) == straight[4:]
    for batch in straight:
        assert sorted({key % 3 for key in batch}) == [0, 1, 2]


def test_one_frame_fills_every_batch():
    (batch,) = batches(make_sampler(is_portrait=[True]), 1)
    assert len(batch) == BATCH


def test_batches_hold_one_orientation():
    seen = set()
    for batch in batches(make_sampler(), 30):
        kinds = {IS_PORTRAIT[index] for index in indices(batch)}
        assert len(kinds) == 1
        seen |= kinds
    assert seen == {True, False}


def test_an_epoch_visits_nearly_every_frame_once():
    stream = batches(make_sampler(), 8 * BATCHES_PER_EPOCH)
    left_out = Counter()
    for epoch in range(8):
        chunk = stream[epoch * BATCHES_PER_EPOCH : (epoch + 1) * BATCHES_PER_EPOCH]
        visits = Counter(index for batch in chunk for index in indices(batch))
        assert max(visits.values()) == 1
        # Incomplete: 15 landscape frames leave 3 over.
        assert len(visits) == NUM_FRAMES - 3
        left_out.update(set(range(NUM_FRAMES)) - set(visits))
    assert len(left_out) > 3, "the same frames were dropped in each epoch"


def test_epochs_and_seeds_differ():
    stream = [tuple(indices(b)) for b in batches(make_sampler(), 2 * BATCHES_PER_EPOCH)]
    assert stream[:BATCHES_PER_EPOCH] != stream[BATCHES_PER_EPOCH:]
    other = [tuple(indices(b)) for b in batches(make_sampler(seed=4), 2 * BATCHES_PER_EPOCH)]
    assert stream != other


def test_orientations_are_mixed_within_an_epoch():
    """Not all landscape batches first: the order of batches is shuffled as well."""
    orders = set()
    stream = batches(make_sampler(), 10 * BATCHES_PER_EPOCH)
    for i in range(0, len(stream), BATCHES_PER_EPOCH):
        chunk = stream[i : i + BATCHES_PER_EPOCH]
        orders.add(tuple(IS_PORTRAIT[indices(batch)[0]] for batch in chunk))
    assert len(orders) > 1


@pytest.mark.parametrize("num_processes", [2, 4])
def test_processes_partition_each_batch(num_processes):
    whole = batches(make_sampler(), 12)
    share = BATCH // num_processes
    parts = [
        batches(make_sampler(rank=rank, num_processes=num_processes), 12, share)
        for rank in range(num_processes)
    ]
    for iteration, batch in enumerate(whole):
        assert [key for part in parts for key in part[iteration]] == batch


def test_no_draw_number_occurs_twice():
    draws = [key // NUM_FRAMES for batch in batches(make_sampler(), 30) for key in batch]
    assert draws == list(range(30 * BATCH))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"is_portrait": []}, "empty"),
        ({"batch_size": 0}, "IMS_PER_BATCH is 0"),
        ({"batch_size": 5, "num_processes": 2}, "IMS_PER_BATCH is 5.*multiple of the 2"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_sampler(**settings)
