"""From dataset dicts of person crops to model inputs."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T

from reid_heads.data.augmentation import build_test_augmentations, build_train_augmentations
from reid_heads.data.cutting import BoxCutter
from reid_heads.data.samplers import DRAW_KEY
from reid_heads.data.seeding import seeded
from reid_heads.pictures import ImageError, read_image

# Passed on as they are where a dataset dict has them.
_LABELS = ("person_id", "cam_id", "image_id", "split", "domain", "modality")


class CropMapper:
    """Read a crop, or cut it out of a frame, augment it, and pass its labels on.

    Augmentations are seeded by the sample's draw number (see ``samplers.py``), so that a sample
    looks the same whichever worker maps it and whether or not training was interrupted before it.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: list[T.Augmentation],
        cutter: BoxCutter,
        image_format: str,
        seed: int,
    ):
        """Set the mapper up.

        Args:
            is_train: whether attributes are passed on.
            augmentations: in the order of their use.
            cutter: cuts the crops that are boxes of frames.
            image_format: "RGB" or "BGR".
            seed: of the augmentations.

        Raises:
            ValueError: for another image format.
        """
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f"INPUT.FORMAT is {image_format!r}; expected 'RGB' or 'BGR'")
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.cutter = cutter
        self.image_format = image_format
        self.seed = seed

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Translate the config."""
        build = build_train_augmentations if is_train else build_test_augmentations
        return {
            "is_train": is_train,
            "augmentations": build(cfg),
            "cutter": BoxCutter(cfg, is_train),
            "image_format": cfg.INPUT.FORMAT,
            "seed": max(cfg.SEED, 0),
        }

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Read and transform one crop.

        Args:
            dataset_dict: ``file_name``, ``person_id``, ``cam_id``, ``image_id``, and optionally
                ``split``, ``domain``, ``modality``, ``attributes``: one class number per group,
                (A,). With ``bbox``, (x1, y1, x2, y2) in original pixels, the file is a frame that
                the crop is cut from.

        Returns:
            ``image``, (3, H, W) uint8 in the configured channel order, the labels, and at training
            ``attributes``, (A,) int64. Images of every kind become three channels of 8 bits, as
            `reid_heads.pictures` says.

        Raises:
            OSError: if the image is missing or broken; the message names it.
            ValueError: if ``bbox`` has no area inside the frame; the message names both.
        """
        with seeded(self.seed, dataset_dict.get(DRAW_KEY)):
            augmented = T.AugInput(self._read(dataset_dict))
            self.augmentations(augmented)
        mapped = {label: dataset_dict[label] for label in _LABELS if label in dataset_dict}
        mapped["image"] = torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        if self.is_train and "attributes" in dataset_dict:
            mapped["attributes"] = torch.tensor(dataset_dict["attributes"], dtype=torch.int64)
        return mapped

    def _read(self, dataset_dict: dict[str, Any]) -> np.ndarray:
        file_name = dataset_dict["file_name"]
        with naming_unreadable(file_name):
            if "bbox" in dataset_dict:
                crop = self.cutter(file_name, dataset_dict["bbox"])
            else:
                crop = read_image(file_name)
        return crop[:, :, ::-1] if self.image_format == "BGR" else crop


@contextlib.contextmanager
def naming_unreadable(file_name: str) -> Iterator[None]:
    """Turn every error of reading an image into an ``OSError`` that names the file."""
    try:
        yield
    except ImageError as error:
        raise OSError(f"cannot read the image {error}") from error
    except OSError as error:
        raise OSError(
            f"cannot read the image {file_name}: {error}; the file is missing or broken, copy it "
            "again from the data set"
        ) from error
