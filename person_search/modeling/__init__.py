"""Models of person search; importing this registers them with detectron2."""

from person_search.modeling.backbone import build_slim_resnet_fpn_backbone
from person_search.modeling.box_head import Res5BoxHead
from person_search.modeling.meta_arch import PersonSearchRCNN
from person_search.modeling.roi_heads import PersonSearchROIHeads

__all__ = [
    "PersonSearchRCNN",
    "PersonSearchROIHeads",
    "Res5BoxHead",
    "build_slim_resnet_fpn_backbone",
]
