import pytest
import torch
from detectron2.config import CfgNode
from torch import nn

from person_search.modeling.losses import IdentityLosses
from reid_heads.losses import OIMLoss


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, embeddings, pids):
        return embeddings.sum() * 0 + self.value


def test_each_loss_has_its_weight_and_name():
    losses = IdentityLosses({"OIM": Constant(3.0), "B": Constant(5.0)}, {"OIM": 2.0, "B": 0.5})
    got = losses(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64))
    # 2 * 3 and 0.5 * 5.
    assert {name: value.item() for name, value in got.items()} == {
        "loss_reid_oim": 6.0,
        "loss_reid_b": 2.5,
    }


def test_weight_zero_is_left_out():
    losses = IdentityLosses({"OIM": Constant(3.0), "B": Constant(5.0)}, {"OIM": 1.0, "B": 0})
    assert list(losses(torch.zeros(2, 4), torch.zeros(2))) == ["loss_reid_oim"]


def test_oim_takes_the_settings_of_the_config(tiny_cfg):
    cfg = tiny_cfg(
        MODEL__REID_HEAD__OIM__SCALE=12.0,
        MODEL__REID_HEAD__OIM__MOMENTUM=0.25,
        MODEL__REID_HEAD__NUM_IDENTITIES=7,
    )
    oim = IdentityLosses.from_config(cfg).losses["OIM"]
    assert isinstance(oim, OIMLoss)
    assert (oim.scale, oim.momentum) == (12.0, 0.25)
    assert oim.table.shape == (7, 16)
    assert oim.queue.shape == (8, 16)


def test_unknown_loss_is_refused(tiny_cfg):
    cfg = tiny_cfg()
    cfg.MODEL.REID_HEAD.LOSSES = CfgNode({"OIM": 1.0, "TRIPLETT": 1.0})
    with pytest.raises(ValueError, match=r"names \['TRIPLETT'\]; known losses are \['OIM'\]"):
        IdentityLosses.from_config(cfg)


def test_unset_number_of_identities_is_refused(tiny_cfg):
    """The default is 0: the message must lead to the key."""
    with pytest.raises(ValueError, match="num_identities=0"):
        IdentityLosses.from_config(tiny_cfg(MODEL__REID_HEAD__NUM_IDENTITIES=0))
