"""Faster R-CNN that finds people and embeds them, and embeds queries from the same pass."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import move_device_like
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.meta_arch import GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import ImageList, Instances
from torch import Tensor

from reid_heads.config_readers import reads_config


@META_ARCH_REGISTRY.register()
@reads_config("MODEL.PERSON_SEARCH.SIZE_DIVISIBILITY")
class PersonSearchRCNN(GeneralizedRCNN):
    """Detection and re-identification in one pass per frame.

    Training inputs are detectron2's, with ``gt_pids`` among the instances. At test an input may
    carry ``queries``, an ``Instances`` with ``pred_boxes`` in resized pixels and ``query_ids``:
    they are embedded from the feature maps of the frame's detections, so a frame never runs twice.
    It may also carry ``given_boxes``, an ``Instances`` with ``pred_boxes``, ``pred_classes`` and
    ``scores``, which then stand in for the detector's.
    """

    @configurable
    def __init__(self, *, size_divisibility: int = 0, **kwargs: Any):
        """Extend ``GeneralizedRCNN``.

        Args:
            size_divisibility: images are padded to a multiple of so many pixels; 0: of what the
                backbone needs.
            **kwargs: of ``GeneralizedRCNN``.

        Raises:
            ValueError: if that is no multiple of what the backbone needs.
        """
        super().__init__(**kwargs)
        needed = self.backbone.size_divisibility
        if size_divisibility < 0 or (size_divisibility and needed and size_divisibility % needed):
            raise ValueError(
                f"MODEL.PERSON_SEARCH.SIZE_DIVISIBILITY is {size_divisibility}; expected 0 or a "
                f"multiple of {max(needed, 1)}"
            )
        self.size_divisibility = size_divisibility or needed

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Translate the config."""
        return {
            **super().from_config(cfg),
            "size_divisibility": cfg.MODEL.PERSON_SEARCH.SIZE_DIVISIBILITY,
        }

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise, pad and batch the images."""
        images = [move_device_like(x["image"], self.pixel_mean) for x in batched_inputs]
        batch = ImageList.from_tensors(
            [(x - self.pixel_mean) / self.pixel_std for x in images],
            self.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )
        # Convolutions keep this layout: a training step of a small net on a CPU takes 15 % less.
        batch.tensor = batch.tensor.contiguous(memory_format=torch.channels_last)
        return batch

    def inference(
        self,
        batched_inputs: list[dict],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list:
        """Find people and embed them.

        Args:
            batched_inputs: per image ``image`` (C, H, W), and optionally ``height``, ``width``
                (original pixels), ``queries`` and ``given_boxes``.
            detected_instances: known boxes in resized pixels instead of detections; ``given_boxes``
                where None.
            do_postprocess: whether to return boxes in original pixels.

        Returns:
            With post-processing, per image ``{"instances": Instances}`` with ``pred_boxes``,
            ``scores``, ``pred_classes``, ``embeddings`` (M, D), and ``"queries": Instances`` with
            ``pred_boxes``, ``query_ids``, ``embeddings`` where the input had queries, and then, of
            ROI heads that tell, ``"context"``: by query id, the Instances of the people beside it;
            boxes in original pixels. Without it, detectron2's raw list of Instances in resized
            pixels.
        """
        assert not self.training
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        if detected_instances is None and "given_boxes" in batched_inputs[0]:
            detected_instances = [x["given_boxes"] for x in batched_inputs]
        asked = _queries_of(batched_inputs, self.device)
        beside: dict[str, list] = {}
        if detected_instances is None:
            proposals, _ = self.proposal_generator(images, features, None)
            detections, beside = self.roi_heads(images, features, proposals, asked)
        else:
            known = [_with_own_boxes(x.to(self.device)) for x in detected_instances]
            detections = self.roi_heads.forward_with_given_boxes(features, known)
        if not do_postprocess:
            return detections
        # Boxes are scaled in place below, so queries are embedded first.
        queries = self._embed_queries(features, asked)
        outputs = []
        for i, (people, x, resized) in enumerate(
            zip(detections, batched_inputs, images.image_sizes, strict=True)
        ):
            size = x.get("height", resized[0]), x.get("width", resized[1])
            output = {"instances": detector_postprocess(people, *size)}
            if queries is not None and (embedded := queries[i]) is not None:
                ids = embedded.query_ids.tolist()
                output["queries"] = detector_postprocess(embedded, *size)
                if "context" in beside:
                    context = [detector_postprocess(p, *size) for p in beside["context"][i]]
                    output["context"] = dict(zip(ids, context, strict=True))
            outputs.append(output)
        return outputs

    def _embed_queries(
        self, features: dict[str, Tensor], queries: list[Instances | None] | None
    ) -> list[Instances | None] | None:
        """Return each image's queries with ``embeddings``; they have boxes of their own."""
        if queries is None:
            return None
        asked = [i for i, q in enumerate(queries) if q is not None]
        chosen = {name: feature[asked] for name, feature in features.items()}
        embeddings = self.roi_heads.embed(chosen, [queries[i].pred_boxes for i in asked])
        for i, rows in zip(asked, embeddings, strict=True):
            queries[i] = _with_own_boxes(queries[i])
            queries[i].embeddings = rows
        return queries


def _queries_of(batched_inputs: list[dict], device: torch.device) -> list[Instances | None] | None:
    """Return each image's queries, or None for it; None where no image has any."""
    if not any("queries" in x for x in batched_inputs):
        return None
    return [x["queries"].to(device) if "queries" in x else None for x in batched_inputs]


def _with_own_boxes(instances: Instances) -> Instances:
    """Return a copy with its own ``pred_boxes``.

    Post-processing scales them in place, and the caller's must stay as they are.
    """
    fields = {**instances.get_fields(), "pred_boxes": instances.pred_boxes.clone()}
    return Instances(instances.image_size, **fields)
