"""Losses chosen by name and weight from the config, each on the features meant for it.

Letters: R people, D embedding size, P identities, A attribute groups.
"""

from collections.abc import Collection
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

import reid_heads.losses.builtin  # noqa: F401  (registers the losses of this package)
from reid_heads.former_keys import FORMER_MARGIN_LOSSES
from reid_heads.heads.features import HeadFeatures
from reid_heads.losses.logit_adjustment import LogitAdjustment
from reid_heads.losses.registry import (
    BATCH_EXTRAS,
    LOSS_KINDS,
    Batch,
    HeadSizes,
    active_losses,
    check_names,
    check_needs,
)


class ReIDLosses(nn.Module):
    """A weighted set of losses on what a head gives, as ``MODEL.REID_HEAD.LOSSES`` says.

    OIM sees the unit embeddings; SOFTMAX and COSINE_SOFTMAX the features to classify; TRIPLET and
    CENTER the metric features, the mean over them; ATTRIBUTES the first metric feature;
    DOMAIN_SOFTMAX and DOMAIN_TRIPLET what SOFTMAX and TRIPLET see.
    CONTRASTIVE, HARDEST_NEGATIVE_TRIPLET and MULTI_SIMILARITY see the metric features too;
    ENSEMBLE is several of these as one.
    HETERO_CENTER_TRIPLET, MMD_ID and MMD compare the modalities of the metric features. Unlabelled
    people are ignored by all but OIM, where they are negatives. Logit adjustment, where it is on,
    is for the losses of the first two groups.
    """

    def __init__(
        self,
        losses: dict[str, nn.Module],
        weights: dict[str, float],
        logit_adjustment: LogitAdjustment | None = None,
    ):
        """Keep the losses with a weight other than 0, in the order given.

        Args:
            losses: by their name in ``MODEL.REID_HEAD.LOSSES``.
            weights: at least those of ``losses``.
            logit_adjustment: applied in training; None for none.

        Raises:
            ValueError: for an unknown loss name.
        """
        super().__init__()
        check_names(losses)
        self.losses = nn.ModuleDict({name: losses[name] for name in losses if weights[name] != 0})
        self.weights = dict(weights)
        self.logit_adjustment = logit_adjustment
        self.register_load_state_dict_pre_hook(_rename_former_margin_loss)  # type: ignore[no-untyped-call]

    @classmethod
    def from_config(
        cls, cfg: CfgNode, head: HeadSizes, batch_has: Collection[str] = BATCH_EXTRAS
    ) -> "ReIDLosses":
        """Build the losses of a config for the features of a head.

        Args:
            cfg: of the model.
            head: whose features the losses see.
            batch_has: of ``BATCH_EXTRAS``, what the model's batches may have.

        Raises:
            ValueError: for an unknown loss name, a loss that needs what the batches never have, or
                a setting out of range.
        """
        weights = dict(cfg.MODEL.REID_HEAD.LOSSES)
        # In the config's order: every process must hold the losses in the same one.
        active = [name for name, weight in weights.items() if weight != 0]
        check_names(active)
        check_needs(active_losses(cfg), batch_has)
        settings = cfg.MODEL.REID_HEAD
        adjustment = None
        if settings.LOGIT_ADJUSTMENT != 0:
            adjustment = LogitAdjustment(settings.LOGIT_ADJUSTMENT, settings.NUM_IDENTITIES)
        return cls(
            {name: LOSS_KINDS[name].build(settings, head) for name in active}, weights, adjustment
        )

    def set_identity_counts(self, counts: Tensor) -> None:
        """Tell logit adjustment how often each identity is seen; without adjustment do nothing.

        Args:
            counts: (P,) int64, the training boxes of each identity, at least 1.

        Raises:
            ValueError: for another shape or type, or an identity without a box.
        """
        if self.logit_adjustment is not None:
            self.logit_adjustment.set_identity_counts(counts)

    def forward(
        self,
        features: HeadFeatures,
        pids: Tensor,
        attributes: Tensor | None = None,
        modalities: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return ``{"loss_reid_<name>": weighted loss}``.

        Args:
            features: of R people; R may be 0.
            pids: (R,) int64, 0..P-1 or ``UNLABELED_PID``.
            attributes: (R, A) int64 class numbers, -1 for unknown; only ATTRIBUTES needs them.
            modalities: (R,) int64, ``VISIBLE`` or ``THERMAL``; only the cross-modal losses need
                them.

        Raises:
            ValueError: for an id that is not below ``MODEL.REID_HEAD.NUM_IDENTITIES``, or without
                the attributes or modalities that a loss needs.
            FloatingPointError: for features that are not finite, before any memory takes them up.
            RuntimeError: in training with logit adjustment, if ``set_identity_counts`` was not
                called.
        """
        _check_finite(features)
        offsets = None
        if self.logit_adjustment is not None and self.training:
            offsets = self.logit_adjustment()
        batch = Batch(features, pids, attributes, offsets, modalities)
        return {
            f"loss_reid_{name.lower()}": self.weights[name] * LOSS_KINDS[name].apply(loss, batch)
            for name, loss in self.losses.items()
        }


def _rename_former_margin_loss(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Take the weights of ARCFACE and the like, of checkpoints of earlier versions."""
    assert isinstance(module, ReIDLosses)
    now = f"{prefix}losses.COSINE_SOFTMAX."
    olds = [f"{prefix}losses.{name}." for name in FORMER_MARGIN_LOSSES]
    found = [old for old in olds if any(key.startswith(old) for key in state_dict)]
    if "COSINE_SOFTMAX" not in module.losses or len(found) != 1:
        return
    own = module.losses["COSINE_SOFTMAX"].state_dict()
    for key in [key for key in state_dict if key.startswith(found[0])]:
        name = key.removeprefix(found[0])
        # As everywhere in the checkpointer, weights of another shape are left alone.
        if name not in own or own[name].shape == state_dict[key].shape:
            state_dict.setdefault(now + name, state_dict.pop(key))


def _check_finite(features: HeadFeatures) -> None:
    # Heads give one tensor several times.
    tensors = {id(x): x for x in (features.embeddings, *features.metric, *features.classified)}
    if not torch.stack([x.isfinite().all() for x in tensors.values()]).all():
        raise FloatingPointError(
            "the features of people hold NaN or infinity: the training has diverged; lower "
            "SOLVER.BASE_LR, set SOLVER.CLIP_GRADIENTS.ENABLED to True or warm up for longer"
        )
