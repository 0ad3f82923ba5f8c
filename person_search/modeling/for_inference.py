"""Make a trained model faster on a CPU, with the same results but for rounding."""

import copy

import torch
from detectron2.layers import ROIAlign
from torch import Tensor, nn

from person_search.modeling.fusion_pooling import MultiLevelRoIFusionPooling
from person_search.modeling.meta_arch import PersonSearchRCNN
from person_search.modeling.pooled_stage import BOXES_AT_ONCE, PooledStage, can_be_pooled_stage
from person_search.modeling.separable_pooling import SeparableRoIAlign, pool_boxes
from reid_heads.backbones.folded import fold_convolutions


class InParts(nn.Module):
    """Runs a module on a few rows at a time, so that its maps stay in the cache."""

    def __init__(self, module: nn.Module):
        """Wrap a module that treats rows one by one."""
        super().__init__()
        self.module = module

    def forward(self, rows: Tensor) -> Tensor:
        """Map (R, C, H, W) as the module does."""
        return torch.cat([self.module(part) for part in rows.split(BOXES_AT_ONCE)])


def copy_for_inference(model: PersonSearchRCNN) -> PersonSearchRCNN:
    """Return a copy of a model with faster layers; see `reid_heads.backbones.folded`.

    Convolutions take their BatchNorm in and those of 3x3 kernels and many channels multiply less;
    boxes are pooled by matrix products; the first layers of ResNet's last stage run once a frame
    and not once a proposal; boxes go through the stages a few at a time.

    Args:
        model: in evaluation mode, in float32 on the CPU. It stays as it is, and shares with the
            copy the tensors of the layers that were not exchanged.

    Raises:
        ValueError: if the model is in training mode.
    """
    tensors = [*model.parameters(), *model.buffers()]
    fast = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    fold_convolutions(fast)
    _exchange_pooling(fast)
    heads = fast.roi_heads
    if can_be_pooled_stage(heads.box_pooler, heads.box_head):
        heads.pooled_stage = PooledStage(heads.box_pooler, heads.box_head)
    heads.identity_branch.body = InParts(heads.identity_branch.body)
    return fast


def _exchange_pooling(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, ROIAlign):
            setattr(module, name, SeparableRoIAlign(child))
        else:
            if isinstance(child, MultiLevelRoIFusionPooling):
                child.roi_align = pool_boxes
            _exchange_pooling(child)
