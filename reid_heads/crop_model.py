"""A trained crop net, ready to embed crops: this project's own, or a public one as it is.

Letters: H, W height and width of a crop in its own pixels, h, w in resized pixels, N crops, D
embedding size.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from torch import Tensor

from reid_heads.config import add_crop_reid_config, load_config
from reid_heads.config_readers import flat_items
from reid_heads.crop_reid import CropReID
from reid_heads.data.augmentation import build_test_augmentations
from reid_heads.heads import REID_HEADS_REGISTRY
from reid_heads.importers.checkpoint_file import read_checkpoint
from reid_heads.importers.crop_networks import FAMILIES, convert, recognise
from reid_heads.importers.imported import ImportedModel, misfits
from reid_heads.losses import ReIDLosses
from reid_heads.training.checkpoint import WeightCopyCheckpointer
from reid_heads.training.launch import use_available_device
from reid_heads.unit_norm import is_unit_norm

MOST_CROPS = 32
"""That are computed together."""

# Raised when the same config and weights come to mean other embeddings.
_VERSION = "1"
_INPUT = ("INPUT.FORMAT", "INPUT.REID.SIZE", "INPUT.REID.INTERPOLATION")
# Below MODEL: where it runs, how it came about, and augmentation in training.
_ELSEWHERE = ("MODEL.DEVICE", "MODEL.WEIGHTS", "MODEL.CROP_REID.STYLE_JITTER.")
_HEAD = "MODEL.REID_HEAD."


class CropModel:
    """A crop net with how its crops are prepared.

    Attributes:
        cfg: of the net.
        model: in evaluation mode.
        size: (h, w) that crops are resized to.
        embedding_dim: D.
        fingerprint: SHA-256 (hex) of the weights and of what decides embeddings beside them; the
            same on every device.
    """

    def __init__(self, cfg: CfgNode, model: CropReID):
        """Take over a net that ``cfg`` describes, with its weights."""
        self.cfg = cfg
        self.model = model.eval()
        self.size: tuple[int, int] = tuple(cfg.INPUT.REID.SIZE)
        self.embedding_dim = int(model.embedding_dim)
        self.fingerprint = fingerprint_of(cfg, model)
        self._resize = T.AugmentationList(build_test_augmentations(cfg))

    @torch.inference_mode()
    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embed crops, each of one person.

        Args:
            crops: none or more, (H, W, 3) uint8 RGB, sizes may differ.

        Returns:
            (N, D) float32 of unit norm.

        Raises:
            ValueError: for a crop of another form, or if the net gives NaN or zeros.
        """
        rows = [np.zeros((0, self.embedding_dim), np.float32)]
        for start in range(0, len(crops), MOST_CROPS):
            batch = [{"image": self.prepare(crop)} for crop in crops[start : start + MOST_CROPS]]
            rows.append(self.model.embed(self.model.preprocess(batch)).cpu().numpy())
        embeddings = np.concatenate(rows)
        norms = np.linalg.norm(embeddings, axis=1)
        if not is_unit_norm(norms).all():
            raise ValueError(
                f"the net gives embeddings of norm {norms.min():.4g} to {norms.max():.4g}; "
                "expected 1: are its weights whole?"
            )
        return embeddings

    def prepare(self, crop: np.ndarray) -> Tensor:
        """Resize a crop (H, W, 3) uint8 RGB; returns (3, h, w) uint8 in the net's channel order.

        Raises:
            ValueError: for a crop of another form.
        """
        if crop.ndim != 3 or crop.shape[2] != 3 or 0 in crop.shape or crop.dtype != np.uint8:
            raise ValueError(
                f"got a crop of shape {crop.shape} and type {crop.dtype}; expected (H, W, 3) uint8 "
                "RGB"
            )
        # The mapper's way: the channels of pictures are swapped before they are resized.
        image = crop[:, :, ::-1] if self.cfg.INPUT.FORMAT == "BGR" else crop
        augmented = T.AugInput(np.ascontiguousarray(image))
        self._resize(augmented)
        return torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))


def load_crop_model(
    weights: str | Path,
    config_file: str | Path = "",
    overrides: Sequence[str] = (),
    device: str | None = None,
) -> CropModel:
    """Build a crop net and load its trained weights.

    Args:
        weights: a checkpoint of this project, or a public one that an importer knows.
        config_file: that it was trained with; "" for a public one is the config of its network.
        overrides: keys and values, alternating, on top of the config (of a public one's too).
        device: "cpu" or "cuda"; None: a GPU where there is one.

    Raises:
        FileNotFoundError: if a file is missing.
        KeyError: if the config or ``overrides`` name an unknown key.
        ValueError: if the weights are of another network, or the config is not of a crop net.
    """
    if config_file:
        model, cfg = _build(str(config_file), list(overrides), device)
        WeightCopyCheckpointer(model).load_whole_model(str(weights))
        return CropModel(cfg, model)
    imported = _import(str(weights))
    words = [*imported.overrides, *overrides]
    model, cfg = _build(imported.config_file, words, device)
    own = {name: v for name, v in imported.state.items() if not name.startswith("losses.")}
    if problems := misfits(own, model.state_dict()):
        raise ValueError(
            f"{' '.join(overrides)} make another network of the {imported.family} in {weights}: "
            f"{problems}"
        )
    model.load_state_dict(own)
    return CropModel(cfg, model)


def _build(config_file: str, words: list[str], device: str | None) -> tuple[CropReID, CfgNode]:
    """Build the crop net of a config without its losses."""
    cfg = load_config(config_file, words)
    cfg.MODEL.DEVICE = cfg.MODEL.DEVICE if device is None else device
    use_available_device(cfg, is_training=False)
    model = build_model(cfg)
    if not isinstance(model, CropReID):
        raise ValueError(
            f"{config_file} describes a {cfg.MODEL.META_ARCHITECTURE}; expected a crop net, "
            "CropReID"
        )
    # Classifiers and the like are of no use here, and public weights may lack them.
    model.losses = ReIDLosses({}, {})
    return model, cfg


def _import(weights: str) -> ImportedModel:
    file = read_checkpoint(weights)
    if recognise(file.state) is None:
        raise ValueError(
            f"{weights} is no public checkpoint that is known; give the config that it was trained "
            f"with, or a checkpoint of {FAMILIES}"
        )
    return convert(file)


def fingerprint_of(cfg: CfgNode, model: CropReID) -> str:
    """Return the SHA-256, 64 hexadecimal digits, of what decides a crop net's embeddings.

    It covers the weights of backbone and head, byte by byte, and the settings that differ from the
    defaults: those of ``MODEL`` but what training alone reads, the size, the way of resizing and
    the channel order of crops.

    Args:
        cfg: of the model.
        model: in full precision.
    """
    digest = hashlib.sha256(f"crop model {_VERSION}\n".encode())
    digest.update(json.dumps(_deciding_settings(cfg), sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        if name.startswith("losses.") or name.endswith("num_batches_tracked"):
            continue
        array = value.detach().cpu().contiguous().numpy()
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _deciding_settings(cfg: CfgNode) -> dict[str, Any]:
    """Return the settings that differ from the defaults and decide embeddings, by full name."""
    defaults = get_cfg()
    add_crop_reid_config(defaults)
    usual = dict(flat_items(defaults))
    return {
        name: json.loads(json.dumps(value))
        for name, value in flat_items(cfg)
        if decides_embeddings(cfg, name) and (name not in usual or usual[name] != value)
    }


def decides_embeddings(cfg: CfgNode, name: str) -> bool:
    """Say whether a crop net reads a key where it embeds, not only in training.

    Args:
        cfg: of the net, whose head it names.
        name: of the key, in full.
    """
    head = REID_HEADS_REGISTRY.get(cfg.MODEL.REID_HEAD.NAME)
    # Most of what lies beside these are losses.
    of_head = (*head.config_keys, f"{_HEAD}NAME", f"{_HEAD}GEM_POWER", f"{_HEAD}GEM_LEARNED")
    return (
        (name in _INPUT or name.startswith("MODEL."))
        and not name.startswith(_ELSEWHERE)
        and (not name.startswith(_HEAD) or f"{name}.".startswith(tuple(f"{k}." for k in of_head)))
    )
