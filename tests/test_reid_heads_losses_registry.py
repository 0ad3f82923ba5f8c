"""A loss written in one place: its name, keys, module and needs, known to configs and models."""

from types import SimpleNamespace

import pytest
import torch
from detectron2.config import CfgNode
from torch import nn

from reid_heads.config import add_reid_head_config
from reid_heads.heads.features import HeadFeatures
from reid_heads.losses import ReIDLosses
from reid_heads.losses.registry import LOSS_KINDS, LossKind, apply_to_metric, register_loss

HEAD = SimpleNamespace(embedding_dim=4, metric_dims=(4,), classified_dims=(4,))


class LengthLoss(nn.Module):
    """The mean distance of the features' lengths from a wanted one: a loss of no use."""

    def __init__(self, wanted):
        super().__init__()
        self.wanted = wanted

    def forward(self, features, pids):
        return torch.stack([(x.norm(dim=1) - self.wanted).abs().mean() for x in features]).mean()


def add_length_keys(head):
    head.LENGTH = CfgNode({"WANTED": 2.0})


LENGTH = LossKind(
    "LENGTH", lambda cfg, head: LengthLoss(cfg.LENGTH.WANTED), apply_to_metric, add_length_keys
)


@pytest.fixture
def with_toy_loss():
    register_loss(LENGTH)
    yield
    del LOSS_KINDS["LENGTH"]


def make_cfg():
    cfg = CfgNode({"MODEL": CfgNode()})
    add_reid_head_config(cfg)
    return cfg


def test_a_registered_loss_has_keys_a_weight_and_a_place_in_the_sum(with_toy_loss):
    cfg = make_cfg()
    assert cfg.MODEL.REID_HEAD.LOSSES.LENGTH == 0.0
    head = cfg.MODEL.REID_HEAD
    head.LOSSES.OIM, head.LOSSES.LENGTH, head.LENGTH.WANTED = 0.0, 0.5, 3.0
    rows = torch.tensor([[4.0, 0, 0, 0], [0, 5.0, 0, 0]])
    got = ReIDLosses.from_config(cfg, HEAD)(
        HeadFeatures(rows, (rows,), (rows,)), torch.tensor([0, 1])
    )
    # 0.5 * (|4 - 3| + |5 - 3|) / 2.
    assert {name: value.item() for name, value in got.items()} == {"loss_reid_length": 0.75}


def test_it_may_be_a_member_of_an_ensemble(with_toy_loss):
    cfg = make_cfg()
    head = cfg.MODEL.REID_HEAD
    head.LOSSES.OIM, head.LOSSES.ENSEMBLE = 0.0, 1.0
    head.ENSEMBLE.MEMBERS = ("LENGTH", "TRIPLET")
    losses = ReIDLosses.from_config(cfg, HEAD)
    assert isinstance(losses.losses["ENSEMBLE"].members["LENGTH"], LengthLoss)


def test_its_readers_are_its_own_node_and_what_it_says():
    (reader,) = LENGTH.readers()
    assert reader.keys == ("MODEL.REID_HEAD.LENGTH",)
    (reader,) = LOSS_KINDS["DOMAIN_TRIPLET"].readers()
    assert reader.keys == ("MODEL.REID_HEAD.DOMAIN_IDENTITIES", "MODEL.REID_HEAD.TRIPLET")


def test_a_taken_name_and_an_unknown_need_are_refused():
    with pytest.raises(ValueError, match="there is a loss TRIPLET already"):
        register_loss(LOSS_KINDS["TRIPLET"])
    with pytest.raises(ValueError, match=r"needs \('poses',\); expected some of"):
        register_loss(LossKind("POSE", LENGTH.build, LENGTH.apply, needs=("poses",)))
    assert "POSE" not in LOSS_KINDS
