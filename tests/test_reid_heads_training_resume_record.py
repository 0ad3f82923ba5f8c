import logging
from types import SimpleNamespace

import pytest
from detectron2.config import get_cfg

from reid_heads.training.resume_record import ResumeRecord


def make_record(batch_size=8, size=100, names=("a",), processes=1, max_iter=20):
    cfg = get_cfg()
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
