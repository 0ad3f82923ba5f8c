"""ROI heads with an identity branch beside the detection branch."""

from typing import Any

import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from person_search.modeling.identity_branch import IdentityBranch
from person_search.modeling.person_boxes import TrainingBoxes, training_boxes
from person_search.modeling.pooled_stage import PooledStage
from reid_heads.config_readers import Reader, reads_config
from reid_heads.heads import REID_HEADS_REGISTRY
from reid_heads.heads.features import HeadFeatures
from reid_heads.losses import ReIDLosses


@ROI_HEADS_REGISTRY.register()
@reads_config("MODEL.PERSON_SEARCH.IDENTITY_BRANCH")
class PersonSearchROIHeads(StandardROIHeads):
    """Detect people and embed them from the same feature maps.

    Identity features are computed for people only: ground-truth boxes and sampled foreground
    proposals at training, final detections and query boxes at test. Background proposals never
    reach an identity loss, although detectron2's sampler copies some person's id to them too. They
    are embedded only for a head that also says whether a box shows a person (``scores_people``),
    which learns that from them.
    """

    @configurable
    def __init__(
        self,
        *,
        identity_branch: IdentityBranch,
        identity_losses: ReIDLosses,
        boxes_per_person: int = 0,
        person_loss_weight: float = 1.0,
        **kwargs: Any,
    ):
        """Add the identity branch to ``StandardROIHeads``.

        Args:
            identity_branch: embeds boxes.
            identity_losses: on what the branch gives.
            boxes_per_person: embedded at training; see ``person_boxes``.
            person_loss_weight: of the person score's binary cross-entropy, for heads that have one.
            **kwargs: of ``StandardROIHeads``.
        """
        super().__init__(**kwargs)
        if boxes_per_person < 0:
            raise ValueError(
                "MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BOXES_PER_PERSON is "
                f"{boxes_per_person}; expected 0 (all) or more"
            )
        self.boxes_per_person = boxes_per_person
        self.identity_branch = identity_branch
        self.identity_losses = identity_losses
        self.person_loss_weight = person_loss_weight
        self.scores_people = getattr(identity_branch.head, "scores_people", False)
        self.pooled_stage: PooledStage | None = None

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        """Translate the config."""
        settings = super().from_config(cfg, input_shape)
        branch = IdentityBranch(cfg, input_shape)
        # Frames come from one data set, and their people have nothing but an id.
        losses = ReIDLosses.from_config(cfg, branch.head, batch_has=())
        return {
            **settings,
            "identity_branch": branch,
            "identity_losses": losses,
            "boxes_per_person": cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BOXES_PER_PERSON,
            "person_loss_weight": cfg.MODEL.PERSON_SEARCH.NORM_AWARE.LOSS_WEIGHT,
        }

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Run detection, then identities.

        Args:
            images: the batch.
            features: feature maps (B, C, H, W) by name.
            proposals: per image, ``proposal_boxes`` in resized pixels and ``objectness_logits``.
            targets: at training, per image ``gt_boxes`` in resized pixels, ``gt_classes`` and
                ``gt_pids``.

        Returns:
            At training the sampled proposals and all losses; at test the detections with
            ``embeddings``, and {}.
        """
        instances, losses = super().forward(images, features, proposals, targets)
        if self.training:
            losses.update(self._forward_identity(features, instances, targets))
        return instances, losses

    def forward_with_given_boxes(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> list[Instances]:
        """Add ``embeddings`` (M, D) for the ``pred_boxes`` (resized pixels) of each image."""
        instances = super().forward_with_given_boxes(features, instances)
        embeddings = self.embed(features, [x.pred_boxes for x in instances])
        for x, rows in zip(instances, embeddings, strict=True):
            x.embeddings = rows
        return instances

    def embed(self, features: dict[str, Tensor], boxes: list[Boxes]) -> list[Tensor]:
        """Embed boxes in resized pixels; return (M, D) of unit norm for each image."""
        embeddings = self.identity_branch(features, boxes).unit_embeddings
        return list(embeddings.split([len(b) for b in boxes]))

    def _forward_box(
        self, features: dict[str, Tensor], proposals: list[Instances]
    ) -> dict[str, Tensor] | list[Instances]:
        """Return the detector's losses at training, its detections at test."""
        if self.pooled_stage is None or self.training:
            return super()._forward_box(features, proposals)
        (level,) = self.box_in_features
        found = self.pooled_stage(features[level], [x.proposal_boxes for x in proposals])
        return self.box_predictor.inference(self.box_predictor(found), proposals)[0]

    def _forward_identity(
        self, features: dict[str, Tensor], proposals: list[Instances], targets: list[Instances]
    ) -> dict[str, Tensor]:
        rows = self._boxes_to_embed(proposals, targets)
        if len(rows.is_person) == 0:
            return self._losses_of_nobody(rows.pids)
        return self._losses_on(self.identity_branch(features, rows.boxes), rows)

    def _boxes_to_embed(
        self, proposals: list[Instances], targets: list[Instances]
    ) -> TrainingBoxes:
        """Return the boxes to embed: of people, and of background for a head that scores them."""
        return training_boxes(
            proposals, targets, self.num_classes, self.boxes_per_person, self.scores_people
        )

    def _losses_on(self, embedded: HeadFeatures, rows: TrainingBoxes) -> dict[str, Tensor]:
        """Return the identity losses on the people of ``rows``, and the person score's on all."""
        if not self.scores_people:
            return self.identity_losses(embedded, rows.pids)
        losses = self.identity_losses(embedded.select(rows.is_person), rows.pids)
        losses["loss_reid_person"] = self.person_loss_weight * F.binary_cross_entropy_with_logits(
            embedded.person_logits, rows.is_person.to(embedded.person_logits.dtype)
        )
        return losses

    def _losses_of_nobody(self, pids: Tensor) -> dict[str, Tensor]:
        """Return the losses of a batch without a box to embed; ``pids`` is empty.

        Every parameter still takes part in the loss, as DDP wants, and the losses are still called,
        as their gathering over processes wants.
        """
        zero = zero_of(self.identity_branch)
        nobody = _features_of_nobody(self.identity_branch.head, zero)
        losses = {name: x + zero for name, x in self.identity_losses(nobody, pids).items()}
        if self.scores_people:
            losses["loss_reid_person"] = zero
        return losses


def _head_scores_people(cfg: CfgNode) -> bool:
    return getattr(REID_HEADS_REGISTRY.get(cfg.MODEL.REID_HEAD.NAME), "scores_people", False)


CONFIG_READERS = (
    Reader(
        "a MODEL.REID_HEAD.NAME that says whether a box shows a person, NormAwareHead",
        ("MODEL.PERSON_SEARCH.NORM_AWARE.LOSS_WEIGHT",),
        _head_scores_people,
    ),
)


def zero_of(module: nn.Module) -> Tensor:
    """Return 0, computed from every parameter of a module."""
    return sum(p.float().sum() for p in module.parameters()) * 0.0


def _features_of_nobody(head: nn.Module, zero: Tensor) -> HeadFeatures:
    """Return what ``head`` would give for no people, in the type and on the device of ``zero``."""
    return HeadFeatures(
        embeddings=zero.new_zeros((0, head.embedding_dim)),
        metric=tuple(zero.new_zeros((0, dim)) for dim in head.metric_dims),
        classified=tuple(zero.new_zeros((0, dim)) for dim in head.classified_dims),
    )
