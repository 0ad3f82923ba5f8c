"""Detectors of PyTorch's zoos by their names: detectron2's model zoo and torchvision's.

Letters: H, W height and width in original pixels, N boxes.
"""

import dataclasses
import hashlib
import json
import warnings
from typing import Any

import numpy as np
import torch
import torchvision  # type: ignore[import-untyped]
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from person_search.inference.detectors.detector import Detections, Detector
from person_search.inference.network import InputSettings
from person_search.inference.sight import Sight
from person_search.inference.torch_network import choose_device
from reid_heads.training.checkpoint_files import FileCheckpointer

MIN_SCORE = 0.5
"""Least score of a person where the caller names none."""
SMALLEST_PERSON = 24
"""Height in resized pixels; see `person_search.inference.detectors.card.DetectorCard`."""
TORCHVISION_PERSON = 1
"""In torchvision's numbers of COCO's classes, of which 0 is the background."""
DETECTRON2_PERSON = 0
"""In detectron2's numbers of COCO's classes."""


def load_from_zoo(
    zoo: str,
    name: str,
    *,
    weights: str | None = "DEFAULT",
    min_score: float | None = None,
    device: str | None = None,
) -> Detector:
    """Load a detector that was trained on COCO.

    Args:
        zoo: ``detectron2`` or ``torchvision``.
        name: of a config in detectron2's model zoo, such as
            ``COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml``, or of a detection model of torchvision,
            such as ``fasterrcnn_resnet50_fpn_v2``.
        weights: "DEFAULT" are the trained ones, which each library fetches into its own cache;
            None leaves random numbers, for trials.
        min_score: least score, 0..1, of people; None: `MIN_SCORE`.
        device: see `person_search.inference.torch_network.TorchNetwork`.

    Raises:
        ValueError: if there is no such detector, or the device is not there.
        OSError: if the weights cannot be fetched.
    """
    score = MIN_SCORE if min_score is None else min_score
    if not 0 <= score <= 1:
        raise ValueError(f"min_score is {score}; expected 0..1")
    if zoo == "torchvision":
        return TorchvisionDetector(_load_torchvision(name, weights), name, score, device)
    cfg = _read_detectron2(name)
    if weights is None:
        cfg.MODEL.WEIGHTS = ""
    return Detectron2Detector(cfg, score, device)


class TorchvisionDetector:
    """A detection model of torchvision; a `Detector`."""

    def __init__(self, model: Any, name: str, min_score: float, device: str | None = None):
        """Take a model over.

        Args:
            model: takes (3, H, W), 0..1, RGB, resizes by its ``transform``, and gives ``boxes``,
                ``labels``, ``scores``.
            name: of it, for the fingerprint.
            min_score: least score, 0..1, of people.
            device: see `load_from_zoo`.
        """
        self.device = choose_device(device)
        self.model = model.eval().to(self.device)
        self.min_score = min_score
        resizing = model.transform
        sizes = getattr(resizing, "fixed_size", None) or (resizing.min_size[-1], resizing.max_size)
        turns = getattr(resizing, "fixed_size", None) is None
        # A fixed size is width and height.
        height, width = (sizes[0], sizes[1]) if turns else (sizes[1], sizes[0])
        self.sight: Sight | None = Sight(int(height), int(width), SMALLEST_PERSON, turns)
        self.fingerprint = _fingerprint(f"torchvision {name}", model)

    def detect(self, image: np.ndarray) -> Detections:
        """Find people; see `Detector.detect`."""
        pixels = torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))
        with torch.inference_mode():
            (found,) = self.model([pixels.to(self.device).float() / 255])
        return _people(
            found["boxes"], found["scores"], found["labels"] == TORCHVISION_PERSON, self.min_score
        )


class Detectron2Detector:
    """A model of detectron2 that finds boxes; a `Detector`."""

    def __init__(self, cfg: CfgNode, min_score: float, device: str | None = None):
        """Build a model and load its weights.

        Args:
            cfg: of it, with ``MODEL.WEIGHTS``; "" leaves random numbers.
            min_score: least score, 0..1, of people; the model's own
                ``MODEL.ROI_HEADS.SCORE_THRESH_TEST`` counts, too.
            device: see `load_from_zoo`.
        """
        cfg = cfg.clone()
        self.device = choose_device(device)
        cfg.MODEL.DEVICE = str(self.device)
        self.model = build_model(cfg).eval()
        if cfg.MODEL.WEIGHTS:
            FileCheckpointer(self.model).load(cfg.MODEL.WEIGHTS)
        self.min_score = min_score
        prepared = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, cfg.INPUT.FORMAT
        self.settings = InputSettings(*prepared)
        self.sight = self.settings.sight
        if self.sight is not None:
            self.sight = dataclasses.replace(self.sight, smallest_person=SMALLEST_PERSON)
        decides = json.dumps(json.loads(json.dumps(_as_dict(cfg.MODEL))), sort_keys=True)
        self.fingerprint = _fingerprint(f"detectron2 {decides} {prepared}", self.model)

    def detect(self, image: np.ndarray) -> Detections:
        """Find people; see `Detector.detect`."""
        prepared = self.settings.prepare(image)
        pixels = torch.as_tensor(np.ascontiguousarray(prepared.transpose(2, 0, 1)))
        height, width = image.shape[:2]
        # Detectors of one stage have no other way in than this.
        with torch.inference_mode():
            (output,) = self.model([{"image": pixels, "height": height, "width": width}])
        found = output["instances"]
        is_person = found.pred_classes == DETECTRON2_PERSON
        return _people(found.pred_boxes.tensor, found.scores, is_person, self.min_score)


def _load_torchvision(name: str, weights: str | None) -> Any:
    names = torchvision.models.list_models(module=torchvision.models.detection)
    # Those find key points or outlines as well, which nobody needs here, but boxes, too.
    if name not in names:
        raise ValueError(f"torchvision has no detector {name!r}; it has {', '.join(names)}")
    # Without weights its backbone would be fetched.
    backbone = {} if weights else {"weights_backbone": None}
    return torchvision.models.get_model(name, weights=weights, **backbone)


def _read_detectron2(name: str) -> CfgNode:
    with warnings.catch_warnings():
        # It reads its configs through a package that setuptools has deprecated.
        warnings.simplefilter("ignore", UserWarning)
        from detectron2 import model_zoo
    try:
        cfg = model_zoo.get_config(name, trained=True)
    except RuntimeError as error:
        raise ValueError(
            f"detectron2's model zoo has no trained config {name!r} ({error}); expected one such "
            "as COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"
        ) from error
    return cfg


def _people(
    boxes: torch.Tensor, scores: torch.Tensor, is_person: torch.Tensor, min_score: float
) -> Detections:
    keep = is_person & (scores >= min_score)
    order = torch.argsort(scores[keep], descending=True, stable=True)
    kept, values = boxes[keep][order], scores[keep][order]
    return kept.float().cpu().numpy(), values.float().cpu().numpy()


def _as_dict(node: CfgNode) -> dict[str, Any]:
    return {
        key: _as_dict(value) if isinstance(value, CfgNode) else value
        for key, value in node.items()
        if key not in ("DEVICE", "WEIGHTS")
    }


def _fingerprint(what: str, model: Any) -> str:
    digest = hashlib.sha256(f"detector 1 {what}\n".encode())
    for name, values in sorted(model.state_dict().items()):
        array = values.detach().cpu().contiguous().numpy()
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
