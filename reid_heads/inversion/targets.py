"""What an inversion is made from: a network with its input format, and targets with real crops.

Letters: N images, D embedding size, H and W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from torch import Tensor

from reid_heads.crop_reid import CropReID
from reid_heads.data.augmentation import build_test_augmentations
from reid_heads.data.loaders import TEST_BATCH_SIZE, load_train_crops
from reid_heads.data.mapper import CropMapper
from reid_heads.inversion.batch_statistics import BatchStatistics
from reid_heads.inversion.report import Pixels
from reid_heads.training.checkpoint import WeightCopyCheckpointer
from reid_heads.training.launch import use_available_device

REAL_CROPS = 16
"""Real crops of each identity that count, spread over all that it has."""


class Network:
    """A trained crop net with the pictures in its own format around it."""

    def __init__(self, cfg: CfgNode, weights: str):
        """Build it and load its weights.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            ValueError: if it is of another model, or the config is not of a crop net.
        """
        use_available_device(cfg, is_training=False)
        # Not MODEL.WEIGHTS: those were for the start of its training.
        model = build_model(cfg)
        if not isinstance(model, CropReID):
            raise ValueError(
                f"MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE}; expected CropReID, a "
                "crop net"
            )
        WeightCopyCheckpointer(model).load_whole_model(weights)
        self.model = model.eval()
        self.size: tuple[int, int] = tuple(cfg.INPUT.REID.SIZE)
        self._is_bgr = cfg.INPUT.FORMAT == "BGR"
        self._mapper = CropMapper(cfg, False)
        self._resize = T.AugmentationList(build_test_augmentations(cfg))

    def read(self, crop: dict[str, Any]) -> Tensor:
        """Return a data set's crop as (3, H, W) uint8, as the network sees it."""
        image: Tensor = self._mapper(crop)["image"]
        return image

    def picture(self, image: Tensor) -> Pixels:
        """Return an image of the network, (3, H, W) uint8, as (H, W, 3) uint8 RGB."""
        pixels = image.cpu().numpy().transpose(1, 2, 0)
        return np.ascontiguousarray(pixels[..., ::-1] if self._is_bgr else pixels)

    def image(self, picture: Pixels) -> Tensor:
        """Return a picture (H', W', 3) uint8 RGB as an image of this network."""
        augmented = T.AugInput(picture[..., ::-1] if self._is_bgr else picture)
        self._resize(augmented)
        return torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))

    @torch.no_grad()
    def embed(self, images: Sequence[Tensor]) -> np.ndarray:
        """Embed N images as at test; returns (N, D) float32 of unit norm."""
        rows = []
        for start in range(0, len(images), TEST_BATCH_SIZE):
            batch = [{"image": image} for image in images[start : start + TEST_BATCH_SIZE]]
            rows.append(self.model.embed(self.model.preprocess(batch)).cpu().numpy())
        return np.concatenate(rows)

    @torch.no_grad()
    def statistics(self, images: Sequence[Tensor]) -> float:
        """Return the distance of the BatchNorm statistics of one batch of images."""
        with BatchStatistics(self.model) as watch:
            self.model.features(self.model.preprocess([{"image": image} for image in images]))
            return watch.take().item()


@dataclass(frozen=True)
class Targets:
    """What to invert, and the real crops to compare with."""

    names: list[str]
    identities: list[int]
    """Of each target; open set: its number."""
    crops: list[dict[str, Any]]
    """Real crops; ``person_id`` is the identity. Empty where the training set is not at hand."""
    is_open: bool


def identity_targets(cfg: CfgNode, identities: Sequence[int]) -> Targets:
    """Take up identities of the training set; its crops too, where it is at hand."""
    try:
        crops = choose_crops(load_train_crops(cfg)) if cfg.DATASETS.TRAIN else []
    except (FileNotFoundError, KeyError):
        crops = []
    names = [f"identity {pid}" for pid in identities]
    return Targets(names, list(identities), crops, is_open=False)


def embedding_targets(files: Sequence[str]) -> Targets:
    """Take up crops whose embeddings are the targets.

    Raises:
        FileNotFoundError: if one is missing.
    """
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise FileNotFoundError(f"there is no crop {missing[0]}; check --embedding")
    crops = [{"file_name": str(file), "person_id": k} for k, file in enumerate(files)]
    return Targets([Path(f).name for f in files], list(range(len(files))), crops, is_open=True)


def choose_crops(crops: Sequence[dict[str, Any]], most: int = REAL_CROPS) -> list[dict[str, Any]]:
    """Return at most so many crops of each identity, evenly spread over its own, by identity."""
    by_person: dict[int, list[dict[str, Any]]] = {}
    for crop in crops:
        by_person.setdefault(crop["person_id"], []).append(crop)
    chosen = []
    for _, own in sorted(by_person.items()):
        places = np.linspace(0, len(own) - 1, min(most, len(own))).round().astype(int)
        chosen += [own[place] for place in places]
    return chosen
