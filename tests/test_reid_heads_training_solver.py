import pytest
import torch
from detectron2.config import get_cfg
from torch import nn

from person_search.config import add_person_search_config
from reid_heads.config import add_crop_reid_config
from reid_heads.training.solver import (
    WarmupStepsByEpoch,
    build_lr_scheduler,
    build_optimizer,
    set_epochs,
)


def _cfg(**clip):
    cfg = get_cfg()
    add_person_search_config(cfg)
    cfg.SOLVER.BASE_LR = 0.5
    cfg.SOLVER.MOMENTUM = 0.0
    cfg.SOLVER.WEIGHT_DECAY = 0.0
    cfg.SOLVER.WEIGHT_DECAY_NORM = 0.0
    for key, value in clip.items():
        cfg.SOLVER.CLIP_GRADIENTS[key] = value
    return cfg


def _two_parameters():
    model = nn.Module()
    model.a = nn.Parameter(torch.zeros(1))
    model.b = nn.Parameter(torch.zeros(1))
    return model


def test_the_norm_of_the_whole_gradient_is_clipped():
    """Gradients 3 and 4 have norm 5; clipped to 1 they are 0.6 and 0.8, times the rate 0.5."""
    model = _two_parameters()
    cfg = _cfg(ENABLED=True, CLIP_TYPE="full_model", CLIP_VALUE=1.0, NORM_TYPE=2.0)
    optimizer = build_optimizer(cfg, model)
    (3 * model.a + 4 * model.b).backward()
    optimizer.step()
    # SGD: 0 - 0.5 * 0.6 and 0 - 0.5 * 0.8; torch divides by the norm plus 1e-6.
    assert model.a.item() == pytest.approx(-0.3, abs=1e-6)
    assert model.b.item() == pytest.approx(-0.4, abs=1e-6)


def test_detectron2s_own_clipping_treats_each_parameter_alone():
    model = _two_parameters()
    cfg = _cfg(ENABLED=True, CLIP_TYPE="norm", CLIP_VALUE=1.0, NORM_TYPE=2.0)
    optimizer = build_optimizer(cfg, model)
    (3 * model.a + 4 * model.b).backward()
    optimizer.step()
    assert model.a.item() == pytest.approx(-0.5, abs=1e-6)
    assert model.b.item() == pytest.approx(-0.5, abs=1e-6)


def test_small_gradients_stay_as_they_are():
    model = _two_parameters()
    cfg = _cfg(ENABLED=True, CLIP_TYPE="full_model", CLIP_VALUE=10.0, NORM_TYPE=2.0)
    optimizer = build_optimizer(cfg, model)
    (3 * model.a + 4 * model.b).backward()
    optimizer.step()
    assert model.a.item() == pytest.approx(-1.5)


def test_adamw_is_chosen_by_name_and_clips_too():
    cfg = _cfg(ENABLED=True, CLIP_TYPE="full_model", CLIP_VALUE=1.0, NORM_TYPE=2.0)
    cfg.SOLVER.OPTIMIZER = "AdamW"
    assert isinstance(build_optimizer(cfg, _two_parameters()), torch.optim.AdamW)


def test_an_unknown_optimizer_is_named_with_the_known_ones():
    cfg = _cfg()
    cfg.SOLVER.OPTIMIZER = "Lion"
    with pytest.raises(ValueError, match=r"'Lion'.*AdamW.*SGD"):
        build_optimizer(cfg, _two_parameters())


def schedule(**changes):
    settings = {
        "max_iter": 1200,
        "epochs": 120,
        "step_epochs": (40, 70),
        "gamma": 0.1,
        "warmup_epochs": 10,
        "warmup_factor": 0.01,
    }
    return WarmupStepsByEpoch(**{**settings, **changes})


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (1, 0.01 * 0.9 + 0.1),  # f (1 - 1/10) + 1/10: the published code's first epoch
        (5, 0.01 * 0.5 + 0.5),
        (9, 0.01 * 0.1 + 0.9),
        (10, 1.0),
        (39, 1.0),
        (40, 0.1),
        (69, 0.1),
        (70, 0.01),
        (120, 0.01),
    ],
)
def test_the_rate_of_bag_of_tricks_in_each_epoch(epoch, expected):
    multiplier = schedule()
    for iteration in ((epoch - 1) * 10, (epoch - 1) * 10 + 9):
        assert multiplier(iteration / 1200) == pytest.approx(expected)


@pytest.mark.parametrize("length", [7, 183, 997])
def test_the_rate_changes_only_between_epochs(length):
    """The share of training is a float; dividing and multiplying must not slip an iteration."""
    multiplier = schedule(max_iter=120 * length)
    for epoch in range(120):
        start = multiplier(epoch * length / (120 * length))
        end = multiplier((epoch * length + length - 1) / (120 * length))
        assert start == end
        assert start == schedule()(epoch / 120)


def test_no_warm_up_starts_at_the_full_rate():
    assert schedule(warmup_epochs=0)(0.0) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"step_epochs": (70, 40)}, "STEP_EPOCHS"), ({"max_iter": 1201}, "1201 iterations")],
)
def test_a_schedule_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        schedule(**changes)


def _epoch_cfg(**values):
    cfg = get_cfg()
    add_crop_reid_config(cfg)
    for key, value in values.items():
        cfg.SOLVER.REID[key] = value
    return cfg


def test_epochs_fill_in_detectron2s_keys():
    cfg = _epoch_cfg(EPOCHS=12, STEP_EPOCHS=(4, 7), CHECKPOINT_EPOCHS=3, EVAL_EPOCHS=4)
    set_epochs(cfg, 5)
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD, cfg.TEST.EVAL_PERIOD) == (60, 15, 20)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=2.0)
    scheduler = build_lr_scheduler(cfg, optimizer)
    assert isinstance(scheduler._multiplier, WarmupStepsByEpoch)


def test_without_epochs_detectron2s_schedule_holds():
    cfg = _epoch_cfg(EPOCHS=0)
    before = cfg.clone()
    set_epochs(cfg, 5)
    assert cfg == before
    scheduler = build_lr_scheduler(cfg, torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0))
    assert not isinstance(scheduler._multiplier, WarmupStepsByEpoch)
