from types import SimpleNamespace

import pytest
import torch

from person_search.hooks import BestSearchCheckpointer, ReseedEachIteration


def draws(seed, iteration, disturb=0):
    hook = ReseedEachIteration(seed)
    hook.trainer = SimpleNamespace(iter=iteration)
    torch.manual_seed(disturb)
    hook.before_step()
    return torch.rand(4).tolist()


def test_an_iteration_draws_the_same_whatever_came_before():
    assert draws(1, 7, disturb=3) == draws(1, 7, disturb=4)


def test_iterations_and_seeds_draw_differently():
    seen = {tuple(draws(seed, iteration)) for seed in range(3) for iteration in range(5)}
    assert len(seen) == 15


def test_processes_draw_differently(monkeypatch):
    first = draws(1, 7)
    monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda: 1)
    assert draws(1, 7) != first


def test_without_a_seed_nothing_is_seeded():
    """detectron2's SEED: -1 asks for no reproducibility."""
    assert draws(-1, 7, disturb=3) != draws(-1, 7, disturb=4)


class FakeCheckpointer:
    def __init__(self):
        self.saved = []

    def save(self, name, **state):
        self.saved.append((name, state["iteration"]))


@pytest.fixture
def run_evaluations():
    """Feed one mAP an evaluation to a hook, every second iteration."""

    def run(hook, values, first_iteration):
        latest = {}
        storage = SimpleNamespace(latest=lambda: latest)
        hook.trainer = SimpleNamespace(storage=storage, max_iter=1000)
        for i, value in enumerate(values):
            hook.trainer.iter = first_iteration + 2 * i + 1
            latest["search/mAP"] = (value, hook.trainer.iter)
            hook.after_step()

    return run


def test_best_weights_are_kept_over_a_resume(run_evaluations):
    """detectron2's BestCheckpointer forgets the best value: a resumed run overwrote the best
    weights with the first ones it evaluated."""
    checkpointer = FakeCheckpointer()
    first = BestSearchCheckpointer(2, checkpointer, "search/mAP")
    run_evaluations(first, [50.0, 70.0, 60.0], 0)
    assert checkpointer.saved == [("model_best", 1), ("model_best", 3)]
    second = BestSearchCheckpointer(2, checkpointer, "search/mAP")
    second.load_state_dict(first.state_dict())
    run_evaluations(second, [65.0, 71.0], 6)
    assert checkpointer.saved[2:] == [("model_best", 9)]


def test_nothing_is_saved_between_evaluations():
    checkpointer = FakeCheckpointer()
    hook = BestSearchCheckpointer(2, checkpointer, "search/mAP")
    hook.trainer = SimpleNamespace(iter=0, max_iter=1000)
    hook.after_step()
    assert checkpointer.saved == []
