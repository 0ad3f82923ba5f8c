import logging
from types import SimpleNamespace

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.solver import LRMultiplier
from fvcore.common.param_scheduler import ConstantParamScheduler
from torch.nn import Parameter
from torch.optim import SGD

from reid_heads.config import add_reid_head_config
from reid_heads.training.resume_record import ResumeRecord


def make_record(batch_size=8, size=100, names=("a",), processes=1, max_iter=20, settings=()):
    cfg = get_cfg()
    add_reid_head_config(cfg)
    cfg.merge_from_list(settings)
    cfg.DATASETS.TRAIN, cfg.SOLVER.MAX_ITER = names, max_iter
    sampler = SimpleNamespace(batch_size=batch_size, size=size, num_processes=processes)
    return ResumeRecord(cfg, sampler)


def resume(before, after, start=12):
    after.load_state_dict(before.state_dict())
    after.check(start)


def test_the_same_run_goes_on_without_a_word(caplog):
    with caplog.at_level(logging.INFO):
        resume(make_record(), make_record(max_iter=40))
    assert caplog.text == ""


def test_another_batch_size_is_refused_with_the_samples_seen():
    """Two epochs at batch 8, resumed at 16 for four: 0 iterations and success."""
    expected = (
        r"took 8 samples an iteration and has seen 96; SOLVER\.IMS_PER_BATCH is now 16, with which "
        r"its 12 iterations would be 192\. Set it to 8, or start a new training"
    )
    with pytest.raises(ValueError, match=expected):
        resume(make_record(), make_record(batch_size=16))


def test_a_batch_that_was_scaled_with_the_processes_names_them():
    with pytest.raises(ValueError, match="or resume on 4 processes, with which it was trained"):
        resume(make_record(batch_size=16, processes=4), make_record())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 101}, "was of a of 100 samples, this one is of a of 101 samples"),
        ({"names": ("a", "b")}, r"this one is of a \+ b of 100 samples, .* Give it the same data"),
    ],
)
def test_other_data_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        resume(make_record(), make_record(**change))


def test_another_number_of_processes_shares_the_same_batches(caplog):
    resume(make_record(), make_record(processes=2))
    assert "had 1 processes, this one has 2" in caplog.text


def test_a_checkpoint_without_a_record_is_warned_of(caplog):
    make_record().check(12)
    assert "does not say what data and batch size its 12 iterations were of" in caplog.text


@pytest.mark.parametrize("start", [20, 24])
def test_a_run_with_nothing_left_says_so(start, caplog):
    resume(make_record(), make_record(), start)
    assert f"has done {start} iterations, and SOLVER.MAX_ITER is 20; raise it" in caplog.text


def test_a_new_run_has_nothing_to_compare(caplog):
    make_record().check(0)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["SEED", 7], "SEED 7 instead of -1; the order of the samples is another one from here on"),
        (
            ["SOLVER.BASE_LR", 0.5],
            "SOLVER.BASE_LR 0.5 instead of 0.001; the learning rate goes on as the checkpoint has",
        ),
        (["INPUT.RANDOM_FLIP", "none"], "INPUT.RANDOM_FLIP 'none' instead of 'horizontal'. For a"),
    ],
)
def test_other_settings_are_named_with_what_they_mean(settings, message, caplog):
    """A learning rate that was given with --resume had no effect, without a word."""
    resume(make_record(), make_record(settings=settings))
    assert message in caplog.text


def test_a_learning_rate_given_at_resume_has_no_effect():
    """What the warning says is what detectron2's schedule does."""
    rates = []
    state: dict = {}
    for rate in (0.1, 0.5):
        optimizer = SGD([Parameter(torch.zeros(1))], lr=rate)
        schedule = LRMultiplier(optimizer, ConstantParamScheduler(1.0), max_iter=4)
        schedule.load_state_dict(state or schedule.state_dict())
        optimizer.step()
        schedule.step()
        state = schedule.state_dict()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [0.1, 0.1]


def test_another_number_of_people_is_refused():
    """Their classes were learned anew from the middle of the schedule."""
    other = make_record(settings=["MODEL.REID_HEAD.NUM_IDENTITIES", 9])
    with pytest.raises(ValueError, match=r"was of .* identities, this one is of 9 \(MODEL"):
        resume(make_record(), other)


def test_what_may_change_is_not_told(caplog):
    changed = ["OUTPUT_DIR", "elsewhere", "SOLVER.STEPS", (9,), "TEST.EVAL_PERIOD", 5]
    resume(make_record(), make_record(settings=changed))
    assert caplog.text == ""


def test_a_record_of_a_former_version_says_nothing_of_settings(caplog):
    before, after = make_record().state_dict(), make_record(settings=["SEED", 7])
    del before["settings"]
    after.load_state_dict(before)
    after.check(12)
    assert caplog.text == ""
