"""Config keys of the losses, below ``MODEL.REID_HEAD``."""

from detectron2.config import CfgNode

import reid_heads.losses.builtin  # noqa: F401  (registers the losses of this package)
from reid_heads.config_readers import Reader
from reid_heads.losses.pair_kinds import INTRA_CLASS_READERS, add_intra_class_keys
from reid_heads.losses.registry import LOSS_KINDS


def add_loss_keys(head: CfgNode) -> None:
    """Add the losses and their settings to ``MODEL.REID_HEAD``."""
    # Weight of each loss by name; weight 0 is not computed.
    head.LOSSES = CfgNode({name: kind.weight for name, kind in LOSS_KINDS.items()})
    for kind in LOSS_KINDS.values():
        kind.add_keys(head)
    add_intra_class_keys(head)
    # Long tail: tau >= 0 times the logarithm of each identity's share of the training boxes,
    # relative to an even share, is added to its logit in OIM and in every softmax loss, in training
    # (Menon et al., ICLR 2021); 0: none. A sampler that evens identities out does the same work:
    # not both.
    head.LOGIT_ADJUSTMENT = 0.0


def loss_readers() -> list[Reader]:
    """Return who reads the keys of the losses."""
    kinds = [reader for kind in LOSS_KINDS.values() for reader in kind.readers()]
    return [*kinds, *INTRA_CLASS_READERS]
