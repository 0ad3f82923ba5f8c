"""Re-identification of cropped people: backbone, head, losses.

Letters: B crops, C channels, D embedding size, A attribute groups.
"""

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.modeling.backbone import Backbone
from torch import Tensor, nn

import reid_heads.backbones.iresnet
import reid_heads.backbones.mobilenet_v2
import reid_heads.backbones.osnet
import reid_heads.backbones.resnet
import reid_heads.backbones.slim_resnet  # noqa: F401  (all register backbones)
from reid_heads.augmentation.style_jitter import add_style_jitter
from reid_heads.backbones.two_stream import TwoStreamBackbone
from reid_heads.config_readers import reads_config
from reid_heads.heads import build_reid_head
from reid_heads.heads.features import HeadFeatures
from reid_heads.labels import VISIBLE
from reid_heads.losses import ReIDLosses


@META_ARCH_REGISTRY.register()
@reads_config("MODEL.CROP_REID.FLIP_TEST", "MODEL.CROP_REID.STYLE_JITTER.PLACES")
class CropReID(nn.Module):
    """Embed crops of people; trained on batches of P identities with K crops each.

    What makes a method (Bag of Tricks, MGN, the joint loss of arXiv 2212.14107) is its head and its
    losses, both named in ``MODEL.REID_HEAD``.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        in_feature: str,
        head: nn.Module,
        losses: nn.Module,
        pixel_mean: list[float],
        pixel_std: list[float],
        flip_test: bool = False,
    ):
        """Assemble the model.

        Args:
            backbone: maps (B, 3, H, W) to feature maps by name.
            in_feature: name of the map that the head reads.
            head: a registered ReID head.
            losses: maps (head features, person ids, attributes) to named losses.
            pixel_mean: of each channel, 0..255, in the order of ``INPUT.FORMAT``.
            pixel_std: of each channel.
            flip_test: whether a test embedding is the mean of the crop's and its mirror image's.
        """
        super().__init__()
        self.backbone = backbone
        self.in_feature = in_feature
        self.head = head
        self.losses = losses
        self.flip_test = flip_test
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Translate the config.

        Raises:
            ValueError: if the backbone has several outputs, or for a setting of style jitter that
                is out of range or not of this backbone.
        """
        backbone = build_backbone(cfg)
        shapes = backbone.output_shape()
        if len(shapes) != 1:
            raise ValueError(
                f"MODEL.RESNETS.OUT_FEATURES is {sorted(shapes)}; a crop net reads exactly one map"
            )
        ((in_feature, shape),) = shapes.items()
        jitter = cfg.MODEL.CROP_REID.STYLE_JITTER
        add_style_jitter(
            backbone,
            jitter.PLACES,
            mix_range=jitter.MIX_RANGE,
            stripes=jitter.STRIPES,
            probability=jitter.PROBABILITY,
            has_style_gradient=jitter.STYLE_GRADIENT,
        )
        head = build_reid_head(cfg, shape)
        return {
            "backbone": backbone,
            "in_feature": in_feature,
            "head": head,
            "losses": ReIDLosses.from_config(cfg, head),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "flip_test": cfg.MODEL.CROP_REID.FLIP_TEST,
        }

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.pixel_mean.device

    @property
    def embedding_dim(self) -> int:
        """D, the length of an embedding."""
        return self.head.embedding_dim

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Compute the losses of a batch, or the embeddings of crops.

        Args:
            batched_inputs: B dicts with ``image`` (3, H, W), values 0..255, all of one size; for
                training also ``person_id`` and, where the config has an attribute loss,
                ``attributes`` (A,) int64. ``modality`` is ``VISIBLE`` where it is missing.

        Returns:
            In training named losses, else B dicts with ``embedding`` (D,) float32 of unit norm.

        Raises:
            ValueError: if the crops differ in size.
        """
        images = self.preprocess(batched_inputs)
        modalities = torch.tensor(
            [d.get("modality", VISIBLE) for d in batched_inputs], device=self.device
        )
        if not self.training:
            return [{"embedding": row} for row in self.embed(images, modalities)]
        pids = torch.tensor([d["person_id"] for d in batched_inputs], device=self.device)
        attributes = None
        if all("attributes" in d for d in batched_inputs):
            attributes = torch.stack([d["attributes"] for d in batched_inputs]).to(self.device)
        return self.losses(self.features(images, modalities), pids, attributes, modalities)

    def preprocess(self, batched_inputs: list[dict]) -> Tensor:
        """Stack and normalise the images; returns (B, 3, H, W)."""
        sizes = {tuple(d["image"].shape) for d in batched_inputs}
        if len(sizes) > 1:
            raise ValueError(
                f"got crops of sizes {sorted(sizes)} in one batch; resize them to INPUT.REID.SIZE"
            )
        images = torch.stack([d["image"] for d in batched_inputs]).to(self.device)
        images = (images.float() - self.pixel_mean) / self.pixel_std
        # Convolutions keep this layout: a training step of a small ResNet on a CPU takes 15 % less.
        return images.contiguous(memory_format=torch.channels_last)

    def batch_features(self, batched_inputs: list[dict]) -> HeadFeatures:
        """Return the head's features of B crops as ``forward`` takes them, in either mode."""
        modalities = [d.get("modality", VISIBLE) for d in batched_inputs]
        images = self.preprocess(batched_inputs)
        return self.features(images, torch.tensor(modalities, device=self.device))

    def features(self, images: Tensor, modalities: Tensor | None = None) -> HeadFeatures:
        """Return the head's features of normalised images (B, 3, H, W).

        ``modalities`` (B,) are for a two-stream backbone; None: all visible.
        """
        if isinstance(self.backbone, TwoStreamBackbone):
            if modalities is None:
                modalities = torch.full((len(images),), VISIBLE, device=images.device)
            maps = self.backbone(images, modalities)
        else:
            maps = self.backbone(images)
        return self.head(maps[self.in_feature])

    def embed(self, images: Tensor, modalities: Tensor | None = None) -> Tensor:
        """Embed normalised images (B, 3, H, W); returns (B, D) float32 of unit norm."""
        if not self.flip_test:
            return self.features(images, modalities).unit_embeddings
        # As MGN (Wang et al., ACM MM 2018) does: the features are added as they are.
        twice = None if modalities is None else modalities.repeat(2)
        both = self.features(torch.cat([images, images.flip(-1)]), twice).embeddings.float()
        return F.normalize(both[: len(images)] + both[len(images) :])
