"""Norm-aware person search: the length of an embedding scores its detection."""

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.structures import ImageList, Instances
from torch import Tensor

from person_search.modeling.roi_heads import PersonSearchROIHeads
from reid_heads.config_readers import reads_config

SCORES = ("norm", "detector")


@ROI_HEADS_REGISTRY.register()
@reads_config("MODEL.PERSON_SEARCH.NORM_AWARE.SCORE")
class NormAwareROIHeads(PersonSearchROIHeads):
    """NAE (Chen et al., CVPR 2020): one vector for detection and identity, by norm and direction.

    Differs from the authors' released code, where the norm is the only classifier and one res5
    serves boxes and embeddings: here detectron2's classifier is trained as well. It chooses the
    detections, by its threshold and its NMS, so that only those need to be embedded at test and not
    every proposal; the norm then scores and orders them. And the identity branch has its own
    layers, and embeds a detection's regressed box rather than its proposal.
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
        if not self.scores_people:
            raise ValueError(
                "MODEL.ROI_HEADS.NAME is 'NormAwareROIHeads', but MODEL.REID_HEAD.NAME is "
                f"{type(self.identity_branch.head).__name__!r}, which does not say whether a box "
                "shows a person; use 'NormAwareHead'"
            )
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
