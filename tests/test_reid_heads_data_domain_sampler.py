"""Batches with the same number of crops of every training set."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from test_reid_heads_data_loaders import assert_same, first_batches, make_cfg, register  # noqa: F401

from reid_heads.data import loaders
from reid_heads.data.domain_sampler import MultiDomainSampler
from reid_heads.data.loaders import build_train_loader, iterations_per_epoch
from reid_heads.data.samplers import IdentityUniformSampler, RandomIdentitySampler

P, K = 2, 3
# Crops of each identity of each of three sets, unequal in every way.
COUNTS = [(3, 5, 9), (2, 4, 6, 8, 30), (7, 7)]
DOMAIN_OF = [d for d, counts in enumerate(COUNTS) for _ in counts]
PIDS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), np.concatenate(COUNTS)))
DOMAINS = np.array(DOMAIN_OF)[PIDS]
BOTH = pytest.mark.parametrize("kind", [RandomIdentitySampler, IdentityUniformSampler])


def make_sampler(kind, batch_size=3 * P * K, **settings):
    return MultiDomainSampler(kind, PIDS.tolist(), DOMAINS.tolist(), batch_size, K, 3, **settings)


def keys(sampler, count):
    share = sampler.batch_size // sampler.num_processes
    stream = list(islice(sampler, count * share))
    return [stream[i : i + share] for i in range(0, len(stream), share)]


@BOTH
def test_every_batch_is_p_identities_of_k_crops_of_each_set(kind):
    for batch in islice(make_sampler(kind).batches_from(0), 60):
        assert Counter(DOMAINS[batch].tolist()) == {0: P * K, 1: P * K, 2: P * K}
        groups = PIDS[batch].reshape(-1, K)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0])) == 3 * P


@BOTH
@pytest.mark.parametrize("start", [1, 5, 23, 40])
def test_resumed_stream_is_the_tail_of_the_straight_one(kind, start):
    straight = keys(make_sampler(kind), 50)
    resumed = make_sampler(kind)
    resumed.start_iteration = start
    assert keys(resumed, 50 - start) == straight[start:]


@BOTH
def test_processes_have_all_sets_and_join_to_the_batch(kind):
    whole = keys(make_sampler(kind), 30)
    parts = [keys(make_sampler(kind, rank=rank, num_processes=2), 30) for rank in range(2)]
    for iteration, batch in enumerate(whole):
        assert parts[0][iteration] + parts[1][iteration] == batch
        for part in parts:
            rows = np.array(part[iteration]) % len(PIDS)
            assert Counter(DOMAINS[rows].tolist()) == {0: K, 1: K, 2: K}


@BOTH
def test_each_set_is_drawn_by_its_own_sampler(kind):
    """The crops of set 1, in order, are what a sampler of set 1 alone draws."""
    sampler = make_sampler(kind)
    rows = np.flatnonzero(DOMAINS == 1)
    seed = int(np.random.SeedSequence([3, 1]).generate_state(1)[0])
    alone = kind(PIDS[rows].tolist(), P * K, K, seed)
    for batch, own in islice(zip(sampler.batches_from(0), alone.batches_from(0), strict=True), 30):
        assert batch[DOMAINS[batch] == 1].tolist() == rows[own].tolist()


def test_sets_that_look_alike_are_drawn_apart():
    pids = np.repeat(np.arange(16), 4)
    sampler = MultiDomainSampler(RandomIdentitySampler, pids, pids // 8, 16, 4, 0)
    drawn = [
        [sorted(set(pids[batch[pids[batch] // 8 == d]] % 8)) for d in (0, 1)]
        for batch in islice(sampler.batches_from(0), 30)
    ]
    assert any(first != second for first, second in drawn)


def test_an_epoch_is_that_of_the_largest_set():
    # Crops 17, 50 and 14, six a batch: 50 // 6.
    assert make_sampler(IdentityUniformSampler).epoch_length == 8
    lengths = [s.epoch_length for s in make_sampler(RandomIdentitySampler).samplers]
    assert make_sampler(RandomIdentitySampler).epoch_length == max(lengths)
    assert len(set(lengths)) > 1


@pytest.mark.parametrize("batch_size", [16, 12, 17])
def test_a_batch_that_the_sets_cannot_share_is_refused(batch_size):
    with pytest.raises(ValueError, match=r"IMS_PER_BATCH.*multiple of 9 = 3 training sets x .* 3"):
        make_sampler(RandomIdentitySampler, batch_size)


def test_a_share_larger_than_its_set_is_refused():
    with pytest.raises(ValueError, match=r"set number 2 .*27 crops of a batch of 81.*2 identities"):
        # Nine identities of each; the first set has three.
        MultiDomainSampler(
            RandomIdentitySampler,
            list(range(9)) + [9] * 3 + list(range(10, 19)) + [19, 20],
            [0] * 9 + [1] * 12 + [2] * 2,
            81,
            3,
            0,
        )


def test_processes_that_cannot_share_a_set_are_refused():
    with pytest.raises(ValueError, match=r"multiple of 27 .*3 processes"):
        make_sampler(RandomIdentitySampler, 18, num_processes=3)


# --- by config -------------------------------------------------------------------------------


def two_sets(register, **overrides):  # noqa: F811
    names = [register("toy_first", (3, 5, 2)), register("toy_second", (4, 4))]
    settings = {"MODEL__REID_HEAD__NUM_IDENTITIES": 5, "SOLVER__IMS_PER_BATCH": 8}
    settings |= {"DATALOADER__REID__DOMAIN_BALANCED": True, **overrides}
    return make_cfg(*names, **settings)


@pytest.mark.parametrize("sampler", ["random_identity", "identity_uniform"])
def test_loader_gives_both_sets_alike(sampler, register):  # noqa: F811
    cfg = two_sets(register, DATALOADER__REID__SAMPLER=sampler)
    for batch in first_batches(cfg, 6):
        assert Counter(x["domain"] for x in batch) == {0: 4, 1: 4}
        assert all((x["person_id"] >= 3) == (x["domain"] == 1) for x in batch)
    straight = first_batches(cfg, 6)
    assert_same(first_batches(cfg, 2, start=4), straight[4:])


def test_two_processes_join_to_the_batch(register, monkeypatch):  # noqa: F811
    cfg = two_sets(register)
    whole = first_batches(cfg, 4)
    monkeypatch.setattr(loaders.comm, "get_world_size", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(loaders.comm, "get_rank", lambda rank=rank: rank)
        parts.append(first_batches(cfg, 4))
    assert_same([a + b for a, b in zip(*parts, strict=True)], whole)


def test_iterations_of_an_epoch(register):  # noqa: F811
    cfg = two_sets(register, DATALOADER__REID__SAMPLER="identity_uniform")
    assert iterations_per_epoch(cfg) == 10 // 4
    cfg.SOLVER.REID.ITERATIONS_PER_EPOCH = 200
    assert iterations_per_epoch(cfg) == 200


def test_identities_of_the_sets_are_checked(register):  # noqa: F811
    cfg = two_sets(register, MODEL__REID_HEAD__DOMAIN_IDENTITIES=(3, 2))
    build_train_loader(cfg)
    cfg.MODEL.REID_HEAD.DOMAIN_IDENTITIES = (2, 3)
    with pytest.raises(ValueError, match=r"toy_first \+ toy_second have \(3, 2\).*set it to"):
        build_train_loader(cfg)
