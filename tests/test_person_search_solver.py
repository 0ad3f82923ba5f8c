import pytest
import torch
from detectron2.config import get_cfg
from torch import nn

from person_search.config import add_person_search_config
from person_search.solver import build_optimizer


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
    cfg.SOLVER.OPTIMIZER = "Adam"
    with pytest.raises(ValueError, match=r"'Adam'.*AdamW.*SGD"):
        build_optimizer(cfg, _two_parameters())
