import multiprocessing
import os
import signal

import pytest
import torch
from helpers_processes import run_processes

from reid_heads.training import stopping
from reid_heads.training.stopping import StopSignals, StopWhenTold, TrainingStoppedError


def tell(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.fixture
def signals(monkeypatch):
    """Those of a process of the test's own; the handlers are put back."""
    before = {number: signal.getsignal(number) for number in stopping.STOPPING}
    own = StopSignals()
    monkeypatch.setattr(stopping, "SIGNALS", own)
    with own:
        yield own
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "name", "status"), [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "SIGINT", 130)]
)
def test_a_signal_ends_at_once_what_can_be_begun_anew(signals, number, name, status):
    with pytest.raises(TrainingStoppedError):
        tell(number)
    assert (signals.name, signals.status) == (name, status)


def test_a_step_ends_first_and_a_second_ctrl_c_ends_all(signals):
    signals.may_interrupt = False
    tell(signal.SIGTERM)
    tell(signal.SIGTERM)
    assert signals.received == signal.SIGTERM
    with pytest.raises(KeyboardInterrupt):
        tell(signal.SIGINT)


def test_handlers_go_back_where_nothing_came():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_forked_process_leaves_it_to_its_parent(signals):
    def child():
        tell(signal.SIGINT)
        os._exit(7)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(20)
    assert process.exitcode == 7


class Checkpointer:
    def __init__(self, folder):
        self.save_dir = str(folder)
        self.saved = []

    def save(self, name, iteration):
        self.saved.append((name, iteration))


class Trainer:
    """Runs steps, then what follows each, as detectron2's does."""

    def __init__(self, hook, max_iter):
        self.hook, self.max_iter, self.iter = hook, max_iter, 0
        hook.trainer = self

    def run(self, told_in_step=None, told_in_evaluation=None):
        try:
            self.hook.before_train()
            for iteration in range(self.max_iter):
                self.iter = iteration
                self.hook.before_step()
                if self.iter == told_in_step:
                    tell()
                self.hook.after_step()
                if self.iter == told_in_evaluation:
                    tell()
            self.iter += 1
        finally:
            self.hook.after_train()
            if self.iter >= self.max_iter and told_in_evaluation == self.max_iter:
                tell()


@pytest.fixture
def trainer(tmp_path, signals):
    checkpointer = Checkpointer(tmp_path)
    return Trainer(StopWhenTold(checkpointer, 4, None, torch.device("cpu")), max_iter=10)


@pytest.mark.parametrize("told", ["told_in_step", "told_in_evaluation"])
@pytest.mark.parametrize(
    ("iteration", "saved"),
    [(0, [("model_0000000", 0)]), (5, [("model_0000005", 5)]), (7, [])],
)
def test_a_checkpoint_is_written_once(trainer, signals, tmp_path, told, iteration, saved):
    """After every fourth iteration there is one already."""
    with pytest.raises(TrainingStoppedError):
        trainer.run(**{told: iteration})
    assert trainer.hook.checkpointer.saved == saved
    file = tmp_path / f"model_{iteration:07d}.pth"
    assert signals.outcome == (
        f"after iteration {iteration + 1} of 10: {file} is written, go on with --resume"
    )


@pytest.mark.parametrize("told", [{"told_in_step": 9}, {"told_in_evaluation": 10}])
def test_after_the_last_step_only_its_evaluation_is_left_out(trainer, signals, told):
    with pytest.raises(TrainingStoppedError):
        trainer.run(**told)
    assert trainer.hook.checkpointer.saved == []
    assert "after iteration 10 of 10: " in signals.outcome
    assert "model_final.pth is written, go on with --resume" in signals.outcome


def test_nothing_is_written_of_a_step_that_failed(trainer, signals):
    trainer.hook.before_train()
    trainer.hook.before_step()
    tell()
    trainer.hook.after_train()
    assert trainer.hook.checkpointer.saved == []
    assert signals.outcome == "before the first iteration, with nothing to keep"


def test_untold_it_trains_to_the_end(trainer, signals):
    trainer.run()
    assert trainer.iter == 10 and not signals.received and signals.may_interrupt


def stop_at(rank, folder, rank_told, told):
    checkpointer = Checkpointer(folder)
    own = Trainer(StopWhenTold(checkpointer, 4, None, torch.device("cpu")), max_iter=10)
    with stopping.SIGNALS:
        try:
            own.run(told_in_step=told if rank == rank_told else None)
            return "trained to the end"
        except TrainingStoppedError:
            return own.iter, checkpointer.saved, stopping.SIGNALS.name


def test_processes_end_after_the_same_iteration_whichever_is_told(tmp_path):
    expected = (5, [("model_0000005", 5)], "SIGTERM")
    assert run_processes(stop_at, 2, str(tmp_path), 1, 5) == [expected, expected]
