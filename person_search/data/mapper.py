"""From dataset dicts to model inputs."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetMapper
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from detectron2.structures import Boxes, Instances

from person_search.resizing import DEFAULT_RULE, check_rule, resize, resized_shape
from reid_heads.data.mapper import naming_unreadable
from reid_heads.data.samplers import DRAW_KEY
from reid_heads.data.seeding import seeded
from reid_heads.pictures import read_image


class PersonSearchMapper(DatasetMapper):
    """detectron2's mapper, with identities, queries and, on request, ground-truth boxes at test.

    Augmentations are seeded by the sample's draw number (see ``reid_heads/data/samplers.py``), so
    that a sample looks the same whichever worker maps it and whether or not training was
    interrupted before it.
    """

    @configurable
    def __init__(self, is_train: bool, *, seed: int, use_gt_boxes: bool = False, **kwargs: Any):
        """Extend ``DatasetMapper``.

        Args:
            is_train: whether annotations become training targets.
            seed: of the augmentations.
            use_gt_boxes: at test, give the annotated boxes to the model instead of letting it
                detect.
            **kwargs: of ``DatasetMapper``.

        Raises:
            ValueError: for another image format than "RGB" and "BGR".
        """
        super().__init__(is_train, **kwargs)
        if self.image_format not in ("RGB", "BGR"):
            raise ValueError(f"INPUT.FORMAT is {self.image_format!r}; expected 'RGB' or 'BGR'")
        self.seed = seed
        self.use_gt_boxes = use_gt_boxes

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict:
        """Translate the config."""
        translated = super().from_config(cfg, is_train)
        if check_rule(cfg.INPUT.RESIZE) != DEFAULT_RULE:
            translated["augmentations"] = [
                GeneralizedRCNNResize(step.short_edge_length, step.max_size, step.sample_style)
                if isinstance(step, T.ResizeShortestEdge)
                else step
                for step in translated["augmentations"]
            ]
        if is_train and cfg.INPUT.COLOR_JITTER > 0:
            translated["augmentations"] += _color_jitter(cfg.INPUT.COLOR_JITTER)
        return {
            **translated,
            "seed": max(cfg.SEED, 0),
            "use_gt_boxes": cfg.TEST.SEARCH.USE_GT_BOXES,
        }

    def __call__(self, dataset_dict: dict) -> dict:
        """Read and transform one frame.

        Args:
            dataset_dict: as in the data contract: ``file_name``, ``height``, ``width``,
                ``annotations`` with ``person_id``, and ``queries`` for a test frame; all boxes in
                original pixels.

        Returns:
            The dict with ``image`` (C, H, W) and, at training, ``instances`` with ``gt_pids``; at
            test ``queries`` and ``given_boxes`` as ``PersonSearchRCNN`` takes them, in resized
            pixels.

        Raises:
            OSError: if the image is missing or broken; the message names it.
        """
        dataset_dict = copy.copy(dataset_dict)
        draw = dataset_dict.pop(DRAW_KEY, None)
        queries = dataset_dict.pop("queries", None)
        annotations = dataset_dict.get("annotations", [])
        with seeded(self.seed, draw):
            mapped = self._map(copy.deepcopy(dataset_dict))
        if self.is_train:
            return mapped
        if queries:
            mapped["queries"] = _boxes_at_test(queries, mapped)
            mapped["queries"].query_ids = torch.tensor([q["query_id"] for q in queries])
        if self.use_gt_boxes:
            given = _boxes_at_test(annotations, mapped)
            given.scores = torch.ones(len(given))
            given.pred_classes = torch.zeros(len(given), dtype=torch.int64)
            mapped["given_boxes"] = given
        return mapped

    def _map(self, mapped: dict) -> dict:
        """Do what ``DatasetMapper.__call__`` does, which reads pictures in a way of its own."""
        with naming_unreadable(mapped["file_name"]):
            image = read_image(mapped["file_name"])
        utils.check_image_size(mapped, image)
        augmented = T.AugInput(image[:, :, ::-1] if self.image_format == "BGR" else image)
        transforms = self.augmentations(augmented)
        height, width = augmented.image.shape[:2]
        mapped["image"] = torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        if not self.is_train:
            mapped.pop("annotations", None)
        elif "annotations" in mapped:
            self._transform_annotations(mapped, transforms, (height, width))
        return mapped

    def _transform_annotations(self, dataset_dict: dict, transforms, image_shape) -> None:
        pids = [a["person_id"] for a in dataset_dict["annotations"] if not a.get("iscrowd", 0)]
        annotations = [
            utils.transform_instance_annotations(a, transforms, image_shape)
            for a in dataset_dict.pop("annotations")
            if not a.get("iscrowd", 0)
        ]
        instances = utils.annotations_to_instances(annotations, image_shape)
        instances.gt_pids = torch.tensor(pids, dtype=torch.int64)
        dataset_dict["instances"] = utils.filter_empty_instances(instances)


class GeneralizedRCNNResize(T.Augmentation):
    """Resize by the rule of torchvision's detectors; see `person_search.resizing`."""

    def __init__(self, short_edge_length: Sequence[int], max_size: int, sample_style: str):
        """Keep the settings; they are those of detectron2's ``ResizeShortestEdge``.

        Args:
            short_edge_length: sizes to draw from, or the first and last with style "range".
            max_size: the longer side is at most so long.
            sample_style: "choice" or "range".
        """
        super().__init__()
        self.sizes = list(short_edge_length)
        if sample_style == "range":
            self.sizes = list(range(self.sizes[0], self.sizes[-1] + 1))
        self.max_size = max_size

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Draw a size for an image (H, W, C)."""
        shape, size = image.shape[:2], int(np.random.choice(self.sizes))
        if size == 0:
            return T.NoOpTransform()
        rule = "GeneralizedRCNNTransform"
        return _FloatResize(*shape, *resized_shape(*shape, size, self.max_size, rule))


class _FloatResize(T.ResizeTransform):
    """Boxes as detectron2 resizes them, pixels as torchvision."""

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """Resize (H, W, C) uint8 to float32 in 0..255."""
        return resize(img, (self.new_h, self.new_w), "GeneralizedRCNNTransform")


def _color_jitter(strength: float) -> list[T.Augmentation]:
    """Return detectron2's changes of brightness, contrast and saturation, each by 1 ± strength."""
    low, high = 1 - strength, 1 + strength
    return [
        T.RandomBrightness(low, high),
        T.RandomContrast(low, high),
        T.RandomSaturation(low, high),
    ]


def _boxes_at_test(items: list[dict], mapped: dict) -> Instances:
    """Scale ``bbox`` (original pixels) of each item to the resized image.

    Test frames are resized and nothing else.
    """
    height, width = mapped["image"].shape[-2:]
    boxes = torch.tensor([item["bbox"] for item in items], dtype=torch.float32).reshape(-1, 4)
    scale_x, scale_y = width / mapped["width"], height / mapped["height"]
    boxes = boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])
    return Instances((height, width), pred_boxes=Boxes(boxes))
