"""Batches of both modalities."""

import itertools
from collections import Counter

import numpy as np
import pytest

from reid_heads.data.cross_modality import CrossModalitySampler

# Seven people: visible and thermal crops of each.
COUNTS = [(4, 4), (9, 5), (1, 6), (6, 1), (3, 3), (8, 8), (5, 2)]
PIDS = [pid for pid, counts in enumerate(COUNTS) for _ in range(sum(counts))]
MODALITIES = [m for counts in COUNTS for m, n in enumerate(counts) for _ in range(n)]


def make(batch_size=16, k=4, seed=1, **options):
    return CrossModalitySampler(PIDS, MODALITIES, batch_size, k, seed, **options)


def batches(sampler, count, start=0):
    return list(itertools.islice(sampler.batches_from(start), count))


def test_each_identity_has_k_of_each_modality_and_nobody_comes_twice():
    for batch in batches(make(batch_size=24), 30):
        rows = batch.reshape(3, 2, 4)
        people = [PIDS[i] for i in rows[:, 0, 0]]
        assert len(set(people)) == 3
        for pid, (visible, thermal) in zip(people, rows, strict=True):
            assert {PIDS[i] for i in (*visible, *thermal)} == {pid}
            assert [MODALITIES[i] for i in visible] == [0] * 4
            assert [MODALITIES[i] for i in thermal] == [1] * 4
            for drawn, own in zip((visible, thermal), COUNTS[pid], strict=True):
                assert len(set(drawn.tolist())) == 4 if own >= 4 else len(set(drawn)) <= own


def test_identities_come_equally_often():
    # 7 batches of 2 are two passes over 7.
    seen = Counter(PIDS[i] for batch in batches(make(), 7) for i in batch[::8])
    assert seen == dict.fromkeys(range(7), 2)


def test_every_crop_is_drawn_in_the_end():
    drawn = {int(i) for batch in batches(make(), 300) for i in batch}
    assert drawn == set(range(len(PIDS)))


@pytest.mark.parametrize("start", [1, 6, 7, 20])
def test_starts_at_any_batch(start):
    straight = batches(make(), start + 9)
    for first, second in zip(straight[start:], batches(make(), 9, start), strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_seed_changes_the_order():
    assert not np.array_equal(batches(make(), 3), batches(make(seed=2), 3))


def test_processes_share_whole_identities():
    keys = [list(itertools.islice(iter(make(rank=rank, num_processes=2)), 16)) for rank in range(2)]
    whole = list(itertools.islice(iter(make()), 32))
    for step in range(2):
        joined = [key for own in keys for key in own[8 * step : 8 * step + 8]]
        assert joined == whole[16 * step : 16 * step + 16]


def test_length_of_an_epoch():
    # 36 visible crops against 29, 8 of them a batch: 36 // 8 + 1.
    assert Counter(MODALITIES) == {0: 36, 1: 29}
    assert make().epoch_length == 5


@pytest.mark.parametrize("modalities", [[0, 1, 1, 1], [0, 1, 0, 0]])
def test_somebody_in_one_modality_is_refused(modalities):
    with pytest.raises(ValueError, match=r"1 of 2 .* one modality only, first identity 5"):
        CrossModalitySampler([2, 2, 5, 5], modalities, 4, 1, 0)


@pytest.mark.parametrize(
    ("batch_size", "k", "processes", "message"),
    [
        (12, 4, 1, "multiple of 8"),
        (16, 0, 1, "multiple of 0"),
        (64, 4, 1, "7 identities; a batch of 64"),
        (24, 4, 2, "3 identities of a batch"),
    ],
)
def test_a_batch_that_does_not_suit_is_refused(batch_size, k, processes, message):
    with pytest.raises(ValueError, match=message):
        make(batch_size, k, num_processes=processes)
