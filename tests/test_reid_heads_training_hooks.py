from types import SimpleNamespace

import pytest
import torch

from reid_heads.training.hooks import BestMetricCheckpointer, ReseedEachIteration, WeightAverage


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
    def __init__(self, folder):
        self.save_dir = str(folder)
        self.saved = []

    def save(self, name, **state):
        self.saved.append((name, state["iteration"]))


@pytest.fixture
def checkpointer(tmp_path):
    return FakeCheckpointer(tmp_path)


def run_evaluations(checkpointer, values, first_iteration):
    """A run that evaluates every second iteration, with these values of mAP."""
    hook = BestMetricCheckpointer(2, checkpointer, "search/mAP")
    latest = {}
    storage = SimpleNamespace(latest=lambda: latest)
    hook.trainer = SimpleNamespace(storage=storage, start_iter=first_iteration, max_iter=1000)
    hook.before_train()
    for i, value in enumerate(values):
        hook.trainer.iter = first_iteration + 2 * i + 1
        latest["search/mAP"] = (value, hook.trainer.iter)
        hook.after_step()


def test_best_weights_are_kept_over_a_resume(checkpointer):
    """detectron2's BestCheckpointer forgets the best value: a resumed run overwrote the best
    weights with the first ones it evaluated."""
    run_evaluations(checkpointer, [50.0, 70.0, 60.0], 0)
    assert checkpointer.saved == [("model_best", 1), ("model_best", 3)]
    run_evaluations(checkpointer, [65.0, 71.0], 6)
    assert checkpointer.saved[2:] == [("model_best", 9)]


def test_the_evaluation_after_the_last_checkpoint_counts(checkpointer):
    """A checkpoint is saved before the evaluation of its iteration. Where both happened and the run
    was then stopped, the state in that checkpoint did not know the new best value."""
    run_evaluations(checkpointer, [50.0, 70.0], 0)  # stopped; resumed from iteration 4
    run_evaluations(checkpointer, [60.0], 4)
    assert checkpointer.saved == [("model_best", 1), ("model_best", 3)]


def test_a_new_run_in_the_folder_starts_anew(checkpointer):
    run_evaluations(checkpointer, [70.0], 0)
    run_evaluations(checkpointer, [40.0], 0)
    assert checkpointer.saved == [("model_best", 1), ("model_best", 1)]


def test_nan_is_never_the_best(checkpointer, tmp_path):
    run_evaluations(checkpointer, [float("nan"), 3.0], 0)
    assert checkpointer.saved == [("model_best", 3)]
    assert '"value": 3.0' in (tmp_path / "model_best.json").read_text()


def test_nothing_is_saved_between_evaluations(checkpointer):
    hook = BestMetricCheckpointer(2, checkpointer, "search/mAP")
    hook.trainer = SimpleNamespace(iter=0, max_iter=1000)
    hook.after_step()
    assert checkpointer.saved == []


def averaged(decay=0.75):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 8.0)
    hook = WeightAverage(model, decay)
    hook.before_train()
    return model, hook


def set_weight(model, value):
    with torch.no_grad():
        model.weight.fill_(value)


def average_of(hook):
    return hook.averaged_model.weight.item()


def test_the_average_follows_the_weights():
    model, hook = averaged()
    set_weight(model, 4.0)
    hook.after_step()  # 0.75 * 8 + 0.25 * 4
    assert average_of(hook) == 7.0
    set_weight(model, 3.0)
    hook.after_step()  # 0.75 * 7 + 0.25 * 3
    assert average_of(hook) == 6.0
    assert model.weight.item() == 3.0


def test_buffers_are_those_of_the_model():
    """The average of running statistics would be of other weights than the average's."""
    model = torch.nn.BatchNorm1d(2)
    hook = WeightAverage(model, 0.75)
    hook.before_train()
    model(torch.tensor([[1.0, 2.0], [5.0, 8.0]]))
    hook.after_step()
    for name, buffer in model.named_buffers():
        assert torch.equal(hook.averaged_model.get_buffer(name), buffer), name


def test_the_average_of_a_checkpoint_is_taken_up():
    _, first = averaged()
    state = first.state_dict()
    model, second = averaged()
    second.load_state_dict({"average": {"weight": torch.full((1, 1), 5.0)}})
    second.before_train()
    assert average_of(second) == 5.0
    assert state["average"]["weight"].item() == 8.0
    second.after_step()  # 0.75 * 5 + 0.25 * 8
    assert average_of(second) == 5.75 and model.weight.item() == 8.0


def test_the_average_of_another_model_is_refused():
    _, hook = averaged()
    hook.load_state_dict({"average": {"losses.losses.ARCFACE.weights.0": torch.zeros(1)}})
    with pytest.raises(ValueError, match=r"average of another model: \['losses.losses.ARCFACE"):
        hook.before_train()


@pytest.mark.parametrize("decay", [-0.1, 0.0, 1.0, 1.5])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="EMA_DECAY"):
        averaged(decay)
