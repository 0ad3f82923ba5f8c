"""The networks of the command: the one that embeds faces, and one that may find them.

Letters: D embedding size.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultPredictor
from torch import nn

from reid_heads.config import add_crop_reid_config, load_config
from reid_heads.config_file import read_config
from reid_heads.crop_model import load_crop_model
from reid_heads.crop_reid import CropReID
from reid_heads.faces.detectors import Detector, Detectron2Faces
from reid_heads.faces.mtcnn import MtcnnFaces
from reid_heads.faces.onnx_detector import OnnxFaces
from reid_heads.faces.onnx_embedder import OnnxEmbedder
from reid_heads.faces.pipeline import CropEmbedder, Embedder
from reid_heads.inversion.targets import Network
from reid_heads.training.checkpoint import WeightCopyCheckpointer
from reid_heads.training.launch import use_available_device

ONE_STAGE = ("RetinaNet", "FCOS")
"""Meta-architectures that count their classes in ``MODEL.RETINANET.NUM_CLASSES``."""


MTCNN = "mtcnn"
"""What ``--detector`` calls the MTCNN of the package facenet-pytorch."""


@dataclass(frozen=True)
class FaceModel:
    """A trained net that embeds faces."""

    embed: Embedder
    embedding_dim: int
    """D."""
    digest: str
    """See `digest_model` and `reid_heads.faces.onnx_embedder.OnnxEmbedder`."""
    is_flip_tested: bool
    """Whether its evaluation embeds mirror images too, as this command always does."""


def load_face_model(config_file: str | None, weights: str, device: str | None = None) -> FaceModel:
    """Load a face net: an ONNX file, or the crop net of a config with its trained weights.

    Args:
        config_file: That it was trained with; None for an ONNX file or a public checkpoint that
            an importer knows, such as insightface's IResNets.
        weights: Its checkpoint, or a file whose name ends in ".onnx", see `OnnxEmbedder`.
        device: "cpu" or "cuda"; None: as the config says, the CPU where there is no GPU.

    Raises:
        FileNotFoundError: If a file is missing.
        KeyError: If the config has an unknown key.
        ModuleNotFoundError: For an ONNX file without the package ``onnxruntime``.
        ValueError: If the weights are of another model, or the config is not of a crop net.
    """
    _check_weights(weights, "--weights")
    if is_onnx(weights):
        return _load_onnx_model(config_file, weights, device)
    if config_file is None:
        return _load_public_model(weights, device)
    cfg = load_config(config_file)
    _choose_device(cfg, device)
    with _building(config_file):
        network = Network(cfg, weights)
    return _describe(network.model, cfg)


def _describe(model: CropReID, cfg: CfgNode) -> FaceModel:
    size = tuple(cfg.INPUT.REID.SIZE)
    settings = [size, cfg.INPUT.FORMAT, cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD]
    return FaceModel(
        embed=CropEmbedder(model, size, cfg.INPUT.FORMAT),
        embedding_dim=model.embedding_dim,
        digest=digest_model(model, json.dumps(settings)),
        is_flip_tested=cfg.MODEL.CROP_REID.FLIP_TEST,
    )


def _load_public_model(weights: str, device: str | None) -> FaceModel:
    _check_device(device)
    try:
        model = load_crop_model(weights, device=device)
    except ValueError as error:
        raise ValueError(
            f"without --config-file --weights takes an ONNX file, NAME.onnx, or a public "
            f"checkpoint such as insightface's backbone.pth: {error}"
        ) from error
    return _describe(model.model, model.cfg)


def is_onnx(path: str) -> bool:
    """Say whether a file's name is that of an ONNX model."""
    return Path(path).suffix.lower() == ".onnx"


def _load_onnx_model(config_file: str | None, weights: str, device: str | None) -> FaceModel:
    if config_file is not None:
        raise ValueError(
            f"--config-file belongs to a checkpoint, but {weights} is an ONNX file, which needs "
            "none; leave it out"
        )
    embed = OnnxEmbedder(weights, device)
    # As of one whose evaluation embeds mirror images: there is no other evaluation of it here.
    return FaceModel(embed, embed.embedding_dim, embed.digest, is_flip_tested=True)


def digest_model(model: nn.Module, settings: str) -> str:
    """Return the SHA-256, in hexadecimal digits, of weights as loaded and of an input format.

    It is the same on every device, and for every file that holds these weights.
    """
    digest = hashlib.sha256(f"faces 1\n{settings}\n".encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_detector(
    config_file: str,
    weights: str,
    class_number: int | None = None,
    min_score: float = 0.5,
    device: str | None = None,
) -> Detectron2Faces:
    """Build any detectron2 model of boxes and load its trained weights.

    Args:
        config_file: That it was trained with.
        weights: Its checkpoint.
        class_number: Of faces, from 0; needed where the model has several classes.
        min_score: Faces below are passed over, 0..1.
        device: As for `load_face_model`.

    Raises:
        FileNotFoundError: If a file is missing.
        KeyError: If the config has an unknown key.
        ValueError: If the weights are of another model, or a number is out of range.
    """
    _check_min_score(min_score)
    if not Path(config_file).is_file():
        raise FileNotFoundError(f"there is no config file {config_file}; check --detector-config")
    _check_weights(weights, "--detector-weights")
    # Its keys leave detectron2's alone, and a face detector may have a backbone of this project.
    cfg = read_config(config_file, None, add_crop_reid_config)
    _choose_device(cfg, device)
    _check_class(cfg, class_number)
    # Loaded below, so that a checkpoint of another model is an error and not a warning.
    cfg.MODEL.WEIGHTS = ""
    with _building(config_file):
        predictor = DefaultPredictor(cfg)
    WeightCopyCheckpointer(predictor.model).load_whole_model(weights)
    return Detectron2Faces(predictor, min_score, class_number=class_number)


def load_point_detector(
    source: str, min_score: float | None = None, device: str | None = None
) -> Detector:
    """Load a public face detector that gives five points.

    Args:
        source: An ONNX file, see `OnnxFaces`; facenet-pytorch's wheel, or "mtcnn" for that package
            as installed, see `MtcnnFaces`.
        min_score: Faces below are passed over, 0..1; None: the detector's own.
        device: As for `load_face_model`.

    Raises:
        FileNotFoundError: If a file is missing.
        ModuleNotFoundError: Without a package that it needs.
        ValueError: If it is of no known detector, or a number is out of range.
    """
    _check_min_score(min_score)
    _check_device(device)
    if is_onnx(source):
        return OnnxFaces(source, min_score, device)
    if source == MTCNN or Path(source).suffix == ".whl":
        return MtcnnFaces(None if source == MTCNN else source, min_score, device)
    raise ValueError(
        f"--detector is {source}; expected the ONNX file of SCRFD or YuNet, NAME.onnx, "
        f"facenet-pytorch's wheel, NAME.whl, or {MTCNN} for that package as installed"
    )


def _check_min_score(min_score: float | None) -> None:
    if min_score is not None and not 0 <= min_score <= 1:
        raise ValueError(f"--min-score is {min_score}; expected a score within 0..1")


@contextlib.contextmanager
def _building(config_file: str) -> Iterator[None]:
    """Turn detectron2's assertions on a config into a ValueError that names the file."""
    try:
        yield
    except AssertionError as error:
        raise ValueError(f"no model can be built from {config_file}: {error}") from error


def _check_weights(weights: str, option: str) -> None:
    if not Path(weights).is_file():
        raise FileNotFoundError(f"there is no checkpoint {weights}; check {option}")


def _check_device(device: str | None) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is cuda, but there is no GPU that PyTorch can use; use cpu")


def _choose_device(cfg: CfgNode, device: str | None) -> None:
    _check_device(device)
    if device is not None:
        cfg.MODEL.DEVICE = device
    use_available_device(cfg, is_training=False)


def _check_class(cfg: CfgNode, class_number: int | None) -> None:
    is_one_stage = cfg.MODEL.META_ARCHITECTURE in ONE_STAGE
    node = cfg.MODEL.RETINANET if is_one_stage else cfg.MODEL.ROI_HEADS
    count = node.NUM_CLASSES
    if class_number is None and count > 1:
        raise ValueError(
            f"the detector tells {count} classes apart; say by --detector-class which of them, "
            f"0..{count - 1}, is the face"
        )
    if class_number is not None and not 0 <= class_number < count:
        raise ValueError(
            f"--detector-class is {class_number}; the detector has classes 0..{count - 1}"
        )
