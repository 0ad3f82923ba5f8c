"""A backbone whose first stages exist once for each modality, as in MMD-ReID.

Letters: B images, C channels, H and W pixels or feature cells.
"""

import copy

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.backbone.resnet import ResNet
from torch import Tensor, nn

from reid_heads.config_readers import reads_config
from reid_heads.labels import THERMAL, VISIBLE


@BACKBONE_REGISTRY.register()
@reads_config("MODEL.TWO_STREAM")
def build_two_stream_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> "TwoStreamBackbone":
    """Build the ResNet that ``MODEL.TWO_STREAM.BACKBONE`` names, and split it.

    Raises:
        ValueError: if the named backbone is no ResNet with one output map, its last stage, or
            there is nothing to share or to split.
    """
    node = cfg.MODEL.TWO_STREAM
    return TwoStreamBackbone(
        BACKBONE_REGISTRY.get(node.BACKBONE)(cfg, input_shape), node.SHARED_STAGES
    )


def built_backbones(cfg: CfgNode) -> list[str]:
    """Return the names of the registered backbones that a config builds, one within another."""
    name = cfg.MODEL.BACKBONE.NAME
    is_two_stream = name == build_two_stream_backbone.__name__ and "TWO_STREAM" in cfg.MODEL
    return [name, cfg.MODEL.TWO_STREAM.BACKBONE] if is_two_stream else [name]


class TwoStreamBackbone(Backbone):
    """A ResNet with a stem and first stages of each modality's own, and shared last stages.

    Jambigi, Rawal and Chakraborty, MMD-ReID, BMVC 2021: the shallow layers of the two modalities
    differ, the deep ones are shared, so that their BatchNorms see both modalities in one batch.
    Both streams start with the same weights, of ImageNet or drawn once.
    """

    weight_copies = ("thermal.",)
    """For ``WeightCopyCheckpointer``: the thermal stream takes the same weights as the other."""

    def __init__(self, resnet: ResNet, shared_stages: int):
        """Split a ResNet.

        Args:
            resnet: one output map, that of its last stage; its modules are taken over.
            shared_stages: how many of its last stages both modalities share, at least 1; with all
                of them shared, the stem alone is doubled.

        Raises:
            ValueError: for another kind of backbone, or a number out of range.
        """
        super().__init__()
        if not isinstance(resnet, ResNet) or len(resnet.output_shape()) != 1:
            raise ValueError(
                f"MODEL.TWO_STREAM.BACKBONE built {type(resnet).__name__} with the maps "
                f"{sorted(resnet.output_shape())}; expected a ResNet with one "
                "(MODEL.RESNETS.OUT_FEATURES)"
            )
        names = resnet.stage_names
        if not 1 <= shared_stages <= len(names):
            raise ValueError(
                f"MODEL.TWO_STREAM.SHARED_STAGES is {shared_stages}; expected 1 to {len(names)}, "
                f"the stages of the backbone ({', '.join(names)})"
            )
        (self.out_feature,) = resnet.output_shape()
        if self.out_feature != names[-1]:
            raise ValueError(
                f"MODEL.RESNETS.OUT_FEATURES is [{self.out_feature!r}]; expected the last stage, "
                f"[{names[-1]!r}]"
            )
        self._shape = resnet.output_shape()[self.out_feature]
        first_shared = len(names) - shared_stages
        own = {"stem": resnet.stem}
        own |= dict(zip(names[:first_shared], resnet.stages[:first_shared], strict=True))
        shared = dict(zip(names[first_shared:], resnet.stages[first_shared:], strict=True))
        self.visible = nn.ModuleDict(own)
        self.thermal = nn.ModuleDict(copy.deepcopy(own))
        self.shared = nn.ModuleDict(shared)

    def forward(self, images: Tensor, modalities: Tensor) -> dict[str, Tensor]:
        """Map images to the last stage's features, each through its modality's own first stages.

        Args:
            images: (B, 3, H, W), normalised.
            modalities: (B,) int64, ``VISIBLE`` or ``THERMAL``; at test one alone will do.

        Returns:
            ``{"res5": (B, C, H', W')}``, in the order of the images.

        Raises:
            ValueError: in training, if the batch lacks a modality: a stream that took no part would
                not learn, and its running statistics would be of another time.
        """
        parts, rows = [], []
        for modality, stream in ((VISIBLE, self.visible), (THERMAL, self.thermal)):
            own = (modalities == modality).nonzero().flatten()
            if len(own):
                parts.append(_run(stream, images[own]))
                rows.append(own)
        if sum(len(x) for x in rows) != len(images) or (self.training and len(parts) < 2):
            raise ValueError(
                f"got the modalities {sorted(set(modalities.tolist()))} in a batch; a two-stream "
                f"backbone trains on {VISIBLE} (visible) and {THERMAL} (thermal) images at once: "
                "set DATALOADER.REID.SAMPLER to 'cross_modality'"
            )
        joined = torch.cat(parts)[torch.cat(rows).argsort()]
        return {self.out_feature: _run(self.shared, joined)}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of the map."""
        return {self.out_feature: self._shape}


def _run(modules: nn.ModuleDict, features: Tensor) -> Tensor:
    for module in modules.values():
        features = module(features)
    return features
