"""Norm-aware person search: the length of an embedding scores its detection.

Letters: R boxes over the batch, D embedding size.
"""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor

from person_search.modeling.box_refiner import BoxRefiner
from person_search.modeling.refining_roi_heads import RefiningROIHeads
from person_search.modeling.roi_heads import PersonSearchROIHeads
from reid_heads.config_readers import reads_config

SCORES = ("norm", "detector")


@ROI_HEADS_REGISTRY.register()
@reads_config("MODEL.PERSON_SEARCH.NORM_AWARE.SCORE")
class NormAwareROIHeads(PersonSearchROIHeads):
    """NAE (Chen et al., CVPR 2020): one vector for detection and identity, by norm and direction.

    Differs from the authors' released code, where the norm is the only classifier and one res5
    serves boxes and embeddings (``NormScoredROIHeads``): here detectron2's classifier is trained as
    well. It chooses the detections, by its threshold and its NMS, so that only those need to be
    embedded at test and not every proposal; the norm then scores and orders them. And the identity
    branch has its own layers, and embeds a detection's regressed box rather than its proposal.
    """

    @configurable
    def __init__(self, *, score: str = "norm", **kwargs: Any):
        """Extend ``PersonSearchROIHeads``.

        Args:
            score: of a detection: "norm", the probability that its embedding's norm gives, or
                "detector", the classifier's.
            **kwargs: of ``PersonSearchROIHeads``.

        Raises:
            ValueError: for another score, or a ReID head without a person score.
        """
        super().__init__(**kwargs)
        if score not in SCORES:
            raise ValueError(
                f"MODEL.PERSON_SEARCH.NORM_AWARE.SCORE is {score!r}; expected one of {list(SCORES)}"
            )
        _check_scores_people(self)
        self.score = score

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        """Translate the config."""
        settings = super().from_config(cfg, input_shape)
        return {**settings, "score": cfg.MODEL.PERSON_SEARCH.NORM_AWARE.SCORE}

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Run as ``PersonSearchROIHeads`` does; at test, score and order detections as configured.

        Given boxes keep their scores; see ``forward_with_given_boxes``.
        """
        if self.training or self.score == "detector":
            return super().forward(images, features, proposals, targets)
        detections = self._forward_box(features, proposals)
        embedded = self.identity_branch(features, [x.pred_boxes for x in detections])
        counts = [len(x) for x in detections]
        scores = embedded.person_logits.float().sigmoid().split(counts)
        embeddings = embedded.unit_embeddings.split(counts)
        for x, row_scores, rows in zip(detections, scores, embeddings, strict=True):
            x.scores = row_scores
            x.embeddings = rows
        return [x[x.scores.argsort(descending=True, stable=True)] for x in detections], {}


@ROI_HEADS_REGISTRY.register()
class NormScoredROIHeads(RefiningROIHeads):
    """NAE (Chen et al., CVPR 2020) with the layers of its released code.

    One pooling and one res5, the identity branch's, serve boxes and identities: every proposal is
    embedded, scored by the norm of its embedding and corrected. There is no detection branch beside
    it, which ``NormAwareROIHeads`` has, and which spares embedding what is no person. A detection's
    embedding is of its proposal, a given box's or query's of that box.
    """

    @configurable
    def __init__(
        self, *, score_thresh: float, nms_thresh: float, detections_per_image: int, **kwargs: Any
    ):
        """Extend ``RefiningROIHeads``.

        Args:
            score_thresh: detections have a score, 0..1, above this.
            nms_thresh: largest IoU of two detections.
            detections_per_image: at most so many, the best.
            **kwargs: of ``RefiningROIHeads``.

        Raises:
            ValueError: for a ReID head without a person score.
        """
        super().__init__(**kwargs)
        _check_scores_people(self)
        self.score_thresh = score_thresh
        self.nms_thresh = nms_thresh
        self.detections_per_image = detections_per_image

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        """Translate the config."""
        settings = super().from_config(cfg, input_shape)
        channels, box_head = settings["identity_branch"].out_channels, cfg.MODEL.ROI_BOX_HEAD
        return {
            **settings,
            "box_refiner": BoxRefiner.from_config(cfg, channels, box_head.BBOX_REG_LOSS_WEIGHT),
            "score_thresh": cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST,
            "nms_thresh": cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST,
            "detections_per_image": cfg.TEST.DETECTIONS_PER_IMAGE,
        }

    @classmethod
    def _init_box_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        """Make no detection branch."""
        return {
            "box_in_features": cfg.MODEL.ROI_HEADS.IN_FEATURES,
            "box_pooler": None,
            "box_head": None,
            "box_predictor": None,
        }

    def _forward_box(self, features: dict[str, Tensor], proposals: list[Instances]) -> dict:
        """Return no losses: the identity branch has them all."""
        return {}

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Embed, score and correct proposals.

        Args and returns are those of ``PersonSearchROIHeads``.
        """
        if self.training:
            return super().forward(images, features, proposals, targets)
        return self._search(features, proposals), {}

    def _forward_identity(
        self, features: dict[str, Tensor], proposals: list[Instances], targets: list[Instances]
    ) -> dict[str, Tensor]:
        """Return the losses of all; ``proposals`` are sampled ones."""
        return self._refining_losses(features, proposals, targets)

    def _search(self, features: dict[str, Tensor], proposals: list[Instances]) -> list[Instances]:
        boxes = [x.proposal_boxes for x in proposals]
        counts = [len(b) for b in boxes]
        pooled, refined = self.identity_branch.maps(features, boxes)
        described = self.identity_branch.describe(pooled, refined)
        scores = described.person_logits.float().sigmoid()
        found, kept = fast_rcnn_inference(
            list(self.box_refiner.refine(refined, Boxes.cat(boxes)).split(counts)),
            # detectron2's last column is background, which it does not look at.
            list(torch.stack([scores, 1 - scores], dim=1).split(counts)),
            [x.image_size for x in proposals],
            self.score_thresh,
            self.nms_thresh,
            self.detections_per_image,
        )
        embeddings = described.unit_embeddings.split(counts)
        for x, rows, indices in zip(found, embeddings, kept, strict=True):
            x.embeddings = rows[indices]
        return found


def _check_scores_people(heads: PersonSearchROIHeads) -> None:
    if not heads.scores_people:
        raise ValueError(
            f"MODEL.ROI_HEADS.NAME is {type(heads).__name__!r}, but MODEL.REID_HEAD.NAME is "
            f"{type(heads.identity_branch.head).__name__!r}, which does not say whether a box "
            "shows a person; use 'NormAwareHead'"
        )
