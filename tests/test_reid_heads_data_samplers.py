import logging
import random
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from reid_heads.data.samplers import (
    DRAW_KEY,
    IdentityUniformSampler,
    RandomIdentitySampler,
    ResumableSampler,
    SeededDicts,
    balanced_blocks,
    epoch_after_epoch,
)

P, K = 3, 4
# A long tail: 2 and 3 crops are fewer than K; 9 is no multiple of K.
COUNTS = [2, 3, 4, 5, 9, 16, 7, 30]
PIDS = np.random.default_rng(0).permutation(np.repeat(np.arange(len(COUNTS)), COUNTS))
BOTH = pytest.mark.parametrize("kind", [RandomIdentitySampler, IdentityUniformSampler])


def make_sampler(kind, **settings):
    arguments = {
        "pids": PIDS,
        "batch_size": P * K,
        "images_per_identity": K,
        "seed": 3,
        **settings,
    }
    return kind(**arguments)


def batches_of_keys(sampler, count):
    share = sampler.batch_size // sampler.num_processes
    keys = list(islice(sampler, count * share))
    return [keys[i : i + share] for i in range(0, len(keys), share)]


def first_batches(sampler, count):
    return np.array(list(islice(sampler.batches_from(0), count)))


# --- the stream of keys ----------------------------------------------------------------------


class CountingSampler(ResumableSampler):
    """Epoch e has e + 1 batches: (e, i), (e, i), …"""

    def batches_from(self, start):
        return epoch_after_epoch(
            lambda epoch: [np.array([epoch % 5, i]) for i in range(epoch + 1)], start
        )


def test_a_key_is_draw_times_size_plus_index():
    keys = list(islice(CountingSampler(5, 2, seed=0), 6))
    # Batches (0, 0), (1, 0), (1, 1) as draws 0..5.
    assert keys == [0 * 5 + 0, 1 * 5 + 0, 2 * 5 + 1, 3 * 5 + 0, 4 * 5 + 1, 5 * 5 + 1]


@pytest.mark.parametrize("start", range(12))
def test_epochs_of_different_length_are_skipped_rightly(start):
    """A start at, within and after epochs that begin at batches 0, 1, 3, 6, 10."""
    straight = list(islice(CountingSampler(5, 2, seed=0), 40))
    resumed = CountingSampler(5, 2, seed=0)
    resumed.start_iteration = start
    assert list(islice(resumed, 40 - 2 * start)) == straight[2 * start :]


def test_seeded_dicts_take_the_key_apart():
    dicts = [{"file_name": str(i)} for i in range(23)]
    mapped = SeededDicts(dicts, lambda d: {**d, "mapped": True})
    assert len(mapped) == 23
    assert mapped[7 * 23 + 5] == {"file_name": "5", DRAW_KEY: 7, "mapped": True}
    assert dicts[5] == {"file_name": "5"}


# --- both P x K samplers ---------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("start", [0, 1, 4, 7, 25, 60])
def test_resumed_stream_is_the_tail_of_the_straight_one(kind, start):
    straight = batches_of_keys(make_sampler(kind), 80)
    resumed = make_sampler(kind)
    resumed.start_iteration = start
    assert batches_of_keys(resumed, 80 - start) == straight[start:]


@BOTH
def test_a_second_iterator_begins_anew(kind):
    sampler = make_sampler(kind)
    assert batches_of_keys(sampler, 30) == batches_of_keys(sampler, 30)


@BOTH
def test_a_batch_is_p_identities_of_k_crops(kind):
    for batch in first_batches(make_sampler(kind), 100):
        rows = PIDS[batch].reshape(P, K)
        assert (rows == rows[:, :1]).all()
        assert len(set(rows[:, 0])) == P
        for pid, crops in zip(rows[:, 0], batch.reshape(P, K), strict=True):
            if COUNTS[pid] >= K:
                assert len(set(crops)) == K, "an identity with K crops has one twice"


@BOTH
def test_processes_take_whole_identities_and_join_to_the_batch(kind):
    settings = {"batch_size": 4 * K}
    whole = batches_of_keys(make_sampler(kind, **settings), 40)
    parts = [
        batches_of_keys(make_sampler(kind, rank=rank, num_processes=2, **settings), 40)
        for rank in range(2)
    ]
    for iteration, batch in enumerate(whole):
        assert parts[0][iteration] + parts[1][iteration] == batch
        for part in parts:
            identities = Counter(PIDS[key % len(PIDS)] for key in part[iteration])
            assert list(identities.values()) == [K, K]


@BOTH
def test_seeds_differ(kind):
    one, two = (first_batches(make_sampler(kind, seed=seed), 20) for seed in (1, 2))
    assert (one != two).mean() > 0.5


@BOTH
def test_person_ids_need_not_be_consecutive(kind):
    gaps = make_sampler(kind, pids=PIDS * 100 + 7)
    np.testing.assert_array_equal(first_batches(gaps, 30), first_batches(make_sampler(kind), 30))


@BOTH
def test_as_many_identities_as_a_batch_has(kind):
    settings = {"pids": [5, 5, 9, 9, 9, 5], "batch_size": 4, "images_per_identity": 2}
    sampler = make_sampler(kind, **settings)
    for batch in first_batches(sampler, 20):
        assert sorted(np.array(settings["pids"])[batch]) == [5, 5, 9, 9]


@BOTH
def test_k_of_one(kind):
    for batch in first_batches(make_sampler(kind, batch_size=8, images_per_identity=1), 20):
        assert sorted(PIDS[batch]) == list(range(8))


@BOTH
def test_small_identities_are_counted_in_a_warning(kind, caplog):
    with caplog.at_level(logging.WARNING):
        make_sampler(kind)
    assert "2 of 8 identities have fewer than 4 images" in caplog.text
    caplog.clear()
    make_sampler(kind, images_per_identity=2, batch_size=6)
    assert not caplog.text


@BOTH
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pids": []}, "empty"),
        ({"batch_size": 10}, "IMS_PER_BATCH is 10; .*IMAGES_PER_IDENTITY, which is 4"),
        ({"images_per_identity": 0}, "IMAGES_PER_IDENTITY, which is 0"),
        ({"pids": [6] * 20}, "one person 6"),
        (
            {"batch_size": 9 * K},
            r"8 identities, but a batch holds 9 .*36 / .*4\); set .* to at most 32",
        ),
        ({"num_processes": 2}, "the 3 identities .* do not divide among 2 processes"),
        ({"num_processes": 5}, "IMS_PER_BATCH is 12; expected a multiple of the 5"),
    ],
)
def test_impossible_settings_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        make_sampler(kind, **settings)


# --- the classic sampler ---------------------------------------------------------------------


def classic_epoch(pids, p, k, rng):
    """Plan an epoch literally as the published sampler is described."""
    chunks = {}
    for pid in sorted(set(pids)):
        crops = [i for i, other in enumerate(pids) if other == pid]
        if len(crops) < k:
            crops = [rng.choice(crops) for _ in range(k)]
        rng.shuffle(crops)
        chunks[pid] = [crops[i : i + k] for i in range(0, len(crops) - k + 1, k)]
    batches = []
    available = sorted(chunks)
    while len(available) >= p:
        batch = []
        for pid in rng.sample(available, p):
            batch += chunks[pid].pop(0)
            if not chunks[pid]:
                available.remove(pid)
        batches.append(batch)
    return batches


def test_an_epoch_follows_the_published_rule():
    """No identity gives more chunks than it has, none of its crops comes twice, and the epoch ends
    exactly when fewer than P identities have a chunk left."""
    sampler = make_sampler(RandomIdentitySampler)
    for epoch in range(30):
        left = {pid: max(count // K, 1) for pid, count in enumerate(COUNTS)}
        seen = Counter()
        for batch in sampler.plan_epoch(epoch):
            assert sum(count > 0 for count in left.values()) >= P
            for pid in set(PIDS[batch]):
                left[pid] -= 1
            seen.update(batch.tolist())
        assert min(left.values()) >= 0
        assert sum(count > 0 for count in left.values()) < P
        assert all(seen[i] <= 1 for i in range(len(PIDS)) if COUNTS[PIDS[i]] >= K)


def test_epochs_are_distributed_as_the_oracles():
    """Mean length of an epoch and mean batches of each identity, over 400 epochs."""
    sampler, rng = make_sampler(RandomIdentitySampler), random.Random(0)
    planned = [sampler.plan_epoch(epoch) for epoch in range(400)]
    oracle = [classic_epoch(PIDS.tolist(), P, K, rng) for _ in range(400)]
    lengths = [np.array([len(epoch) for epoch in epochs]) for epochs in (planned, oracle)]
    # Lengths are 2 to 6: a standard error below 0.05.
    assert abs(lengths[0].mean() - lengths[1].mean()) < 0.2
    frequencies = [
        np.mean([np.bincount(PIDS[np.concatenate(e)], minlength=len(COUNTS)) for e in epochs], 0)
        for epochs in (planned, oracle)
    ]
    # In crops: a chunk is 4 of them, the standard error below 0.3.
    np.testing.assert_allclose(frequencies[0], frequencies[1], atol=0.8)
    assert frequencies[0][7] > 2 * frequencies[0][0], "the long tail is not kept"


def test_the_hand_computed_length_of_an_epoch():
    """6 identities of 8 crops are 12 chunks of 4. Batches of 6 x 4 take one chunk of everybody:
    two batches, nothing left over."""
    sampler = RandomIdentitySampler(np.repeat(np.arange(6), 8), 24, 4, seed=0)
    assert sampler.epoch_length == 2
    for epoch in range(3):
        crops = np.concatenate(sampler.plan_epoch(epoch))
        assert sorted(crops.tolist()) == list(range(48))


def test_every_crop_of_a_small_identity_comes_and_the_dropped_ones_change():
    sampler = make_sampler(RandomIdentitySampler)
    seen = Counter(np.concatenate([np.concatenate(sampler.plan_epoch(e)) for e in range(60)]))
    assert set(seen) == set(range(len(PIDS)))


def test_epoch_length_is_that_of_the_first_epoch():
    sampler = make_sampler(RandomIdentitySampler)
    straight = first_batches(sampler, sampler.epoch_length)
    np.testing.assert_array_equal(straight, sampler.plan_epoch(0))
    assert not np.array_equal(sampler.plan_epoch(0)[0], sampler.plan_epoch(1)[0])


# --- the uniform sampler ---------------------------------------------------------------------


def test_identities_come_equally_often():
    """8 identities, 3 a batch: after every 8 batches each came exactly 3 times, in between the
    counts differ by 1 at most."""
    batches = first_batches(make_sampler(IdentityUniformSampler), 80)
    counts = np.zeros(len(COUNTS), dtype=int)
    for number, batch in enumerate(batches, 1):
        counts += np.bincount(PIDS[batch[::K]], minlength=len(COUNTS))
        assert counts.max() - counts.min() <= 1
        if number % 8 == 0:
            assert (counts == 3 * number // 8).all()


def test_an_identity_goes_through_its_crops_in_passes():
    """How often two of its crops came never differs by more than 1; also with fewer than K."""
    batches = first_batches(make_sampler(IdentityUniformSampler), 400)
    for pid in range(len(COUNTS)):
        rows = batches.reshape(-1, K)
        rows = rows[PIDS[rows[:, 0]] == pid]
        crops = np.flatnonzero(np.equal(PIDS, pid))
        assert len(rows) == 150
        for number in range(1, len(rows) + 1):
            seen = np.array([(rows[:number] == crop).sum() for crop in crops])
            assert seen.max() - seen.min() <= 1


def test_passes_differ():
    """The order of identities and which crops meet are drawn anew, not repeated."""
    batches = first_batches(make_sampler(IdentityUniformSampler), 40)
    orders = {tuple(PIDS[batches[i : i + 8, ::K]].ravel()) for i in range(0, 40, 8)}
    assert len(orders) == 5
    of_16 = [tuple(sorted(r)) for r in batches.reshape(-1, K) if PIDS[r[0]] == 5]
    assert len(of_16) == 15 and len(set(of_16)) > 12


def test_nominal_epoch_is_as_many_crops_as_there_are():
    # 76 crops in batches of 12.
    assert make_sampler(IdentityUniformSampler).epoch_length == 6
    assert make_sampler(IdentityUniformSampler, pids=[0, 1, 2]).epoch_length == 1


@pytest.mark.parametrize(
    ("num_items", "size"), [(1, 1), (1, 4), (3, 4), (4, 4), (5, 4), (6, 4), (17, 16), (751, 16)]
)
def test_balanced_blocks(num_items, size):
    for seed in range(5):
        blocks = balanced_blocks(np.random.default_rng(seed), num_items, size)
        divisor = np.gcd(num_items, size)
        assert blocks.shape == (num_items // divisor, size)
        assert (np.bincount(blocks.ravel(), minlength=num_items) == size // divisor).all()
        for block in blocks:
            counts = np.bincount(block, minlength=num_items)
            assert counts.max() - counts.min() <= 1


def test_balanced_blocks_have_no_preferred_place():
    """5 items in blocks of 3: each is in the block that spans passes as often as another."""
    spanning = np.zeros(5)
    for seed in range(2000):
        blocks = balanced_blocks(np.random.default_rng(seed), 5, 3)
        spanning += np.bincount(blocks[1], minlength=5)
    # 2000 * 3 / 5, with a standard deviation below 22.
    np.testing.assert_allclose(spanning, 1200, atol=100)
