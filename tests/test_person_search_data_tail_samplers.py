"""The samplers for long tails, against loops written from the papers and sums by hand."""

import math
from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest

from person_search.data.samplers import (
    OWN_SHARE,
    ClassBalancedSampler,
    IdentityUniformFrameSampler,
    RepeatFactorSampler,
)
from reid_heads.labels import UNLABELED_PID

FRAMES_OF = {7: range(16), 3: (4, 8, 12, 16), 11: (5, 17), 2: (18,), 5: (19, 20, 21)}
PIDS = [[pid for pid, frames in FRAMES_OF.items() if i in frames] for i in range(26)]
PIDS[16] += [3]  # twice in one frame
PIDS[18] += [UNLABELED_PID]
PIDS[23] = [UNLABELED_PID, UNLABELED_PID]  # 22 to 25 show nobody with an identity
NUM_FRAMES = len(PIDS)
IS_PORTRAIT = [i % 3 == 0 for i in range(NUM_FRAMES)]
BATCH = 4

KINDS = {
    RepeatFactorSampler: {"threshold": 0.4},
    ClassBalancedSampler: {"beta": 0.9},
    IdentityUniformFrameSampler: {},
}
ALL = pytest.mark.parametrize("kind", KINDS)


def make_sampler(kind, **settings):
    arguments = {"is_portrait": IS_PORTRAIT, "pids": PIDS, "batch_size": BATCH, "seed": 3}
    return kind(**{**arguments, **KINDS[kind], **settings})


def batches(sampler, count, share=BATCH):
    keys = list(islice(sampler, count * share))
    return [keys[i : i + share] for i in range(0, len(keys), share)]


def count_epochs(sampler, number):
    """Frames' draws in each of the first epochs: (number, N)."""
    epochs = islice(sampler.epochs(np.random.default_rng(0)), number)
    return np.array([np.bincount(drawn, minlength=sampler.size) for drawn in epochs])


# --- how often each frame is drawn -----------------------------------------------------------


def test_repeat_factors_by_hand():
    # Of 8 frames, identity 0 is in 8, 1 in 2 (f = 1/4) and 2 in 1 (f = 1/8); t = 1:
    # r0 = 1, r1 = sqrt(4) = 2, r2 = sqrt(8); frame 0 shows all three, frame 1 the first two.
    pids = [[0, 1, 2], [0, 1], *[[0]] * 6]
    sampler = make_sampler(RepeatFactorSampler, pids=pids, is_portrait=[0] * 8, threshold=1.0)
    assert sampler.expected_draws == pytest.approx([math.sqrt(8), 2, *[1] * 6])


def test_repeat_factors_follow_the_paper():
    expected = []
    for people in PIDS:
        factor = 1.0
        for pid in set(people) - {UNLABELED_PID}:
            share = sum(pid in others for others in PIDS) / NUM_FRAMES
            factor = max(factor, math.sqrt(0.4 / share))
        expected.append(factor)
    assert make_sampler(RepeatFactorSampler).expected_draws == pytest.approx(expected)
    assert max(expected) > 3


@pytest.mark.parametrize("share", [OWN_SHARE, 0.0, 0.3])
def test_class_balanced_draws_follow_the_effective_number(share):
    sampler = make_sampler(ClassBalancedSampler, beta=0.9, unlabeled_share=share)
    weights = []
    for people in PIDS:
        # The effective number of n samples: 1 + beta + ... + beta^(n-1).
        numbers = [
            sum(0.9**i for i in range(sum(pid in others for others in PIDS)))
            for pid in set(people) - {UNLABELED_PID}
        ]
        weights.append(1 / min(numbers) if numbers else 0.0)
    share = 4 / 26 if share == OWN_SHARE else share
    expected = [
        26 * (1 - share) * weight / sum(weights) if weight else 26 * share / 4 for weight in weights
    ]
    assert sampler.expected_draws == pytest.approx(expected)
    assert sampler.expected_draws.sum() == pytest.approx(26)


def test_beta_goes_from_uniform_to_inverse_frequency():
    uniform = make_sampler(ClassBalancedSampler, beta=0.0).expected_draws
    assert uniform == pytest.approx(np.ones(26))
    draws = make_sampler(ClassBalancedSampler, beta=1 - 1e-9).expected_draws
    # Frame 18 shows an identity of one frame, frame 0 one of 16 and frame 17 one of two.
    assert draws[18] / draws[0] == pytest.approx(16, rel=1e-5)
    assert draws[18] / draws[17] == pytest.approx(2, rel=1e-5)


@pytest.mark.parametrize("share", [OWN_SHARE, 0.0, 0.3])
def test_identity_uniform_draws_are_each_identity_once(share):
    sampler = make_sampler(IdentityUniformFrameSampler, unlabeled_share=share)
    share = 4 / 26 if share == OWN_SHARE else share
    expected = np.zeros(26)
    for frames in FRAMES_OF.values():
        for frame in frames:
            expected[frame] += 26 * (1 - share) / 5 / len(frames)
    expected[22:] = 26 * share / 4
    assert sampler.expected_draws == pytest.approx(expected)


def test_repeated_frames_are_rounded_at_random():
    sampler = make_sampler(RepeatFactorSampler)
    counts = count_epochs(sampler, 2000)
    assert (counts >= np.floor(sampler.expected_draws)).all()
    assert (counts <= np.ceil(sampler.expected_draws)).all()
    rest = sampler.expected_draws % 1
    error = 5 * np.sqrt(rest * (1 - rest) / 2000)
    assert (np.abs(counts.mean(axis=0) - sampler.expected_draws) <= error + 1e-9).all()
    assert len(set(counts.sum(axis=1))) > 1


def test_class_balanced_epochs_have_the_expected_counts():
    sampler = make_sampler(ClassBalancedSampler)
    counts = count_epochs(sampler, 2000)
    assert (counts.sum(axis=1) == NUM_FRAMES).all()
    share = sampler.expected_draws / NUM_FRAMES
    error = 5 * np.sqrt(2000 * NUM_FRAMES * share * (1 - share))
    assert (np.abs(counts.sum(axis=0) - 2000 * sampler.expected_draws) <= error).all()


def test_identity_uniform_counts_are_exact():
    """An epoch has 22 draws for the 5 identities; 48 passes bring each one's frames to an end
    together (16, 4, 2, 1 and 3 frames), so 120 epochs are 11 times 48 passes."""
    sampler = make_sampler(IdentityUniformFrameSampler)
    counts = count_epochs(sampler, 120)
    assert (counts.sum(axis=1) == NUM_FRAMES).all()
    assert (counts[:, 22:] == 1).all()
    assert counts.sum(axis=0).tolist() == (120 * sampler.expected_draws).round().tolist()
    # 528 passes: 528 draws of 2's only frame, 528 / 3 of each of 5's, 33 of the first of 7's.
    assert counts.sum(axis=0)[[18, 19, 0]].tolist() == [528, 176, 33]


def test_each_pass_shows_each_identity_once_and_goes_through_its_frames():
    sampler = make_sampler(IdentityUniformFrameSampler)
    passes = list(islice(sampler._passes(np.random.default_rng(0)), 96))
    for frames in passes:
        assert all(len(set(range_) & set(frames.tolist())) >= 1 for range_ in FRAMES_OF.values())
        assert len(frames) == 5
    # Identity 5 alone is in 19 to 21: three passes in a row show each of them once.
    own = [next(f for f in frames.tolist() if 19 <= f <= 21) for frames in passes]
    blocks = [tuple(own[i : i + 3]) for i in range(0, 96, 3)]
    assert all(sorted(block) == [19, 20, 21] for block in blocks)
    assert len(set(blocks)) > 1
    assert len({tuple(frames) for frames in passes}) > 40


def test_a_share_of_less_than_a_frame_an_epoch_adds_up():
    sampler = make_sampler(IdentityUniformFrameSampler, unlabeled_share=0.02)
    counts = count_epochs(sampler, 50)
    # 0.02 * 26 = 0.52 an epoch
    assert counts[:, 22:].sum() == 26
    assert set(counts[:, 22:].sum(axis=1)) == {0, 1}
    assert counts.sum(axis=0)[22:].max() <= 7


def test_no_draw_is_lost_between_epochs():
    """120 epochs are 780 batches; 3120 draws less what waits for a batch, which is 0 or 4."""
    sampler = make_sampler(IdentityUniformFrameSampler)
    keys = [key % NUM_FRAMES for batch in batches(sampler, 779) for key in batch]
    missing = 120 * sampler.expected_draws - np.bincount(keys, minlength=NUM_FRAMES)
    assert missing.min() > -1e-6
    assert missing.sum() == pytest.approx(BATCH)


# --- the stream ------------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize("start", [0, 1, 6, 17, 60])
def test_resumed_stream_is_the_tail_of_the_straight_one(kind, start):
    straight = batches(make_sampler(kind), 80)
    resumed = make_sampler(kind)
    resumed.start_iteration = start
    assert batches(resumed, 80 - start) == straight[start:]


@ALL
def test_processes_partition_each_batch(kind):
    whole = batches(make_sampler(kind), 30)
    parts = [batches(make_sampler(kind, rank=r, num_processes=2), 30, BATCH // 2) for r in (0, 1)]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole


@ALL
def test_batches_hold_one_orientation_and_every_frame_comes(kind):
    seen, orders = Counter(), []
    for batch in batches(make_sampler(kind), 600):
        frames = [key % NUM_FRAMES for key in batch]
        (is_portrait,) = {IS_PORTRAIT[frame] for frame in frames}
        orders.append(is_portrait)
        seen.update(frames)
    assert set(seen) == set(range(NUM_FRAMES))
    # Not first all of one kind, then all of the other.
    changes = sum(a != b for a, b in pairwise(orders))
    assert changes > 150


@ALL
def test_a_rare_orientation_is_not_left_out(kind):
    """Two portrait frames never fill a batch of four within an epoch."""
    is_portrait = [i in (0, 18) for i in range(NUM_FRAMES)]
    keys = batches(make_sampler(kind, is_portrait=is_portrait), 200)
    portrait = [batch for batch in keys if {key % NUM_FRAMES for key in batch} <= {0, 18}]
    assert {key % NUM_FRAMES for batch in portrait for key in batch} == {0, 18}


@ALL
def test_seeds_and_epochs_differ(kind):
    streams = [
        [tuple(key % NUM_FRAMES for key in batch) for batch in batches(sampler, 40)]
        for sampler in (make_sampler(kind), make_sampler(kind, seed=4))
    ]
    assert streams[0] != streams[1]
    assert streams[0][:20] != streams[0][20:]


@ALL
def test_one_frame_fills_every_batch(kind):
    got = batches(make_sampler(kind, is_portrait=[True], pids=[[9]]), 3)
    assert [key % 1 for batch in got for key in batch] == [0] * 12


def test_what_the_log_says():
    line = make_sampler(IdentityUniformFrameSampler).describe_tail()
    # 22 draws for 5 identities: 4.4 each. Frames of 7 also come for 3 (frames 4, 8, 12: 3/4 of its
    # draws) and for 11 (frame 5: half): 4.4 + 3.3 + 2.2 = 9.9.
    assert line == (
        "an epoch draws 26 from 26 frames, the rarest identities (1, in 1 frames each) are shown "
        "4.4 times each on average, the most frequent identities (1, in 16 frames each) are shown "
        "9.9 times each on average"
    )


# --- impossible settings ---------------------------------------------------------------------


@ALL
def test_sets_without_labelled_people_are_refused(kind):
    pids = [[UNLABELED_PID], [], []]
    with pytest.raises(ValueError, match="nobody in the 3 training frames has an identity"):
        make_sampler(kind, pids=pids, is_portrait=[False] * 3)
    with pytest.raises(ValueError, match="the training set is empty"):
        make_sampler(kind, pids=[], is_portrait=[])


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (RepeatFactorSampler, {"threshold": 0.0}, r"REPEAT_THRESHOLD is 0\.0; expected above 0"),
        (RepeatFactorSampler, {"threshold": 1.5}, r"REPEAT_THRESHOLD is 1\.5"),
        (RepeatFactorSampler, {"threshold": math.nan}, "REPEAT_THRESHOLD is nan"),
        (ClassBalancedSampler, {"beta": 1.0}, r"CLASS_BALANCED_BETA is 1\.0; expected 0 or more"),
        (ClassBalancedSampler, {"beta": -0.1}, "CLASS_BALANCED_BETA is -0.1"),
        (ClassBalancedSampler, {"unlabeled_share": 1.0}, r"UNLABELED_SHARE is 1\.0; expected"),
        (IdentityUniformFrameSampler, {"unlabeled_share": -0.5}, "UNLABELED_SHARE is -0.5"),
        (
            IdentityUniformFrameSampler,
            {"unlabeled_share": 0.1, "pids": [[1]] * NUM_FRAMES},
            r"every training frame shows somebody with an identity; set it to 0\.0 or -1\.0",
        ),
        (IdentityUniformFrameSampler, {"num_processes": 3}, "multiple of the 3 processes"),
    ],
)
def test_impossible_settings_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        make_sampler(kind, **settings)
