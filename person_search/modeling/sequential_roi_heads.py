"""Sequential refinement: identities are learned on boxes that the detector's head has corrected.

Letters: R boxes over the batch.
"""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, batched_nms
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor

from person_search.modeling.box_refiner import BoxRefiner
from person_search.modeling.refining_roi_heads import RefiningROIHeads
from reid_heads.config_readers import reads_config


@ROI_HEADS_REGISTRY.register()
@reads_config("MODEL.PERSON_SEARCH.SEQUENTIAL")
class SequentialROIHeads(RefiningROIHeads):
    """SeqNet (Li and Miao, AAAI 2021): a detection head, then a search head on its boxes.

    At training the first head's boxes are matched with the ground truth and sampled a second time;
    the identity branch embeds those, and corrects them once more. No gradient flows through the
    boxes. At test the branch does so with the first head's detections, which keep that head's score
    ("first classification score"); given boxes and queries are embedded as they are.

    The second head is SeqNet's with ``NormAwareHead``, whose person score is then a training signal
    alone; other heads learn from people only. It pools from and refines with the identity branch,
    which may have other levels and layers than SeqNet's res4 and res5.
    """

    @configurable
    def __init__(self, *, refined_nms_thresh: float = 0.5, **kwargs: Any):
        """Extend ``RefiningROIHeads``.

        Args:
            refined_nms_thresh: largest IoU of two corrected detections.
            **kwargs: of ``RefiningROIHeads``.
        """
        # The first head then leaves its corrected boxes in the proposals, after its own losses.
        super().__init__(**{**kwargs, "train_on_pred_boxes": True})
        self.refined_nms_thresh = refined_nms_thresh

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        """Translate the config."""
        settings = super().from_config(cfg, input_shape)
        channels = settings["identity_branch"].out_channels
        return {
            **settings,
            "box_refiner": BoxRefiner.from_config(
                cfg, channels, cfg.MODEL.PERSON_SEARCH.SEQUENTIAL.BBOX_REG_LOSS_WEIGHT
            ),
            "refined_nms_thresh": cfg.MODEL.PERSON_SEARCH.SEQUENTIAL.NMS_THRESH_TEST,
        }

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Run the first head, then the second on its boxes.

        Args and returns are those of ``PersonSearchROIHeads``; at test a detection's embedding is
        of its box before the second correction, as in SeqNet, which needs one pooling for both.
        ``targets`` are then each image's queries, or None where it has none, with ``pred_boxes`` in
        resized pixels; who stands beside them is returned as ``context``, a list for each image
        with an Instances for each query.
        """
        if self.training:
            return super().forward(images, features, proposals, targets)
        candidates = self._search(features, self._forward_box(features, proposals))
        detections = [self._suppress(x) for x in candidates]
        if targets is None:
            return detections, {}
        context = [
            [] if asked is None else [self._beside(x, box) for box in asked.pred_boxes.tensor]
            for x, asked in zip(candidates, targets, strict=True)
        ]
        return detections, {"context": context}

    def _forward_identity(
        self, features: dict[str, Tensor], proposals: list[Instances], targets: list[Instances]
    ) -> dict[str, Tensor]:
        """Return the losses of the second head; ``proposals`` hold the first head's boxes."""
        with get_event_storage().name_scope("second_head"):
            sampled = self.label_and_sample_proposals(
                [_as_proposals(x) for x in proposals], targets
            )
        return self._refining_losses(features, sampled, targets)

    def _search(self, features: dict[str, Tensor], detections: list[Instances]) -> list[Instances]:
        """Embed the first head's detections and correct their boxes; both from one pooling.

        The corrected boxes may overlap.
        """
        boxes = [x.pred_boxes for x in detections]
        counts = [len(b) for b in boxes]
        pooled, refined = self.identity_branch.maps(features, boxes)
        embeddings = self.identity_branch.describe(pooled, refined).unit_embeddings.split(counts)
        corrected = self.box_refiner.refine(refined, Boxes.cat(boxes)).split(counts)
        for x, rows, moved in zip(detections, embeddings, corrected, strict=True):
            x.pred_boxes = Boxes(moved)
            x.pred_boxes.clip(x.image_size)
            x.embeddings = rows
        return detections

    def _suppress(self, detections: Instances) -> Instances:
        """Drop those that overlap a better one; the first head's score decides."""
        keep = batched_nms(
            detections.pred_boxes.tensor,
            detections.scores,
            detections.pred_classes,
            self.refined_nms_thresh,
        )
        return detections[keep]

    def _beside(self, candidates: Instances, query: Tensor) -> Instances:
        """Return the people beside a query, by falling score.

        As in SeqNet's code, the query's box (4,) takes part in the suppression with score 1: whom
        it suppresses suppresses nobody else.
        """
        boxes, scores = candidates.pred_boxes.tensor, candidates.scores
        keep = batched_nms(
            torch.cat([query[None].to(boxes), boxes]),
            # Above 1, that a detection of score 1 does not come before it.
            torch.cat([scores.new_full((1,), 2.0), scores]),
            torch.cat([candidates.pred_classes.new_zeros(1), candidates.pred_classes]),
            self.refined_nms_thresh,
        )
        # The query is one of so many.
        return candidates[keep[1 : self.box_predictor.test_topk_per_image] - 1]


def _as_proposals(labelled: Instances) -> Instances:
    """Return the boxes of ``labelled`` alone, clipped to the image, without those that are none."""
    boxes = Boxes(labelled.proposal_boxes.tensor.detach())
    # Where training diverges, the losses say so; clipping would stop before them.
    boxes = boxes[torch.isfinite(boxes.tensor).all(dim=1)]
    boxes.clip(labelled.image_size)
    boxes = boxes[boxes.nonempty()]
    # The sampler wants this field of proposals; it does not look at its values.
    unknown = boxes.tensor.new_zeros(len(boxes))
    return Instances(labelled.image_size, proposal_boxes=boxes, objectness_logits=unknown)
