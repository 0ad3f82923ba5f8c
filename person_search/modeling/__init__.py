"""Models of person search; importing this registers them with detectron2."""

from person_search.modeling.anchor_generator import RoundedAnchorGenerator
from person_search.modeling.backbone import build_slim_resnet_fpn_backbone
from person_search.modeling.box_head import Res5BoxHead
from person_search.modeling.meta_arch import PersonSearchRCNN
from person_search.modeling.norm_aware_roi_heads import NormAwareROIHeads, NormScoredROIHeads
from person_search.modeling.roi_heads import PersonSearchROIHeads
from person_search.modeling.sequential_roi_heads import SequentialROIHeads

__all__ = [
    "NormAwareROIHeads",
    "NormScoredROIHeads",
    "PersonSearchRCNN",
    "PersonSearchROIHeads",
    "Res5BoxHead",
    "RoundedAnchorGenerator",
    "SequentialROIHeads",
    "build_slim_resnet_fpn_backbone",
]
