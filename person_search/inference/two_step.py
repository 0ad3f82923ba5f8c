"""Search in two steps: a detector finds people, a crop net embeds what is cut out.

Letters: H, W height and width in original pixels, N people of one image, D embedding size.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from person_search.inference.crop_nets.crop_net import CropNet
from person_search.inference.detectors.detector import Detector
from person_search.inference.model_card import ModelCard
from person_search.inference.network import InputSettings, one_caller
from person_search.inference.sight import Sight
from person_search.people import People


@dataclass(frozen=True)
class TwoStepSettings(InputSettings):
    """Pictures are taken as they are: detector and crop net resize by themselves."""

    min_size: int = 0
    max_size: int = 0
    image_format: str = "RGB"
    # A crop net sees the person alone, whatever stands around.
    crops_need_room: bool = False
    detector_sight: Sight | None = None
    """How large the detector sees people."""

    @property
    def sight(self) -> Sight | None:
        """How large the detector sees people; None where it sees pictures as they are."""
        return self.detector_sight


class TwoStepNetwork:
    """A detector and a crop net; a `person_search.inference.network.Network`.

    Attributes:
        threshold: similarity, -1..1, from which on a match is probably right; None: not known.
    """

    def __init__(
        self,
        detector: Detector,
        crop_net: CropNet,
        *,
        threshold: float | None = None,
        max_callers: int = 1,
    ):
        """Join two models.

        Args:
            detector: finds people.
            crop_net: embeds them.
            threshold: see the attribute.
            max_callers: how many threads may call `run` or `find_boxes` at once, and with them both
                models.
        """
        self.detector = detector
        self.crop_net = crop_net
        self.threshold = threshold
        parts = f"two steps 1\n{detector.fingerprint}\n{crop_net.fingerprint}\n"
        self.fingerprint = hashlib.sha256(parts.encode()).hexdigest()
        self.embedding_dim = crop_net.embedding_dim
        self.settings: InputSettings = TwoStepSettings(detector_sight=detector.sight)
        self.min_score = detector.min_score
        self.max_callers = max_callers
        self.card: ModelCard | None = None

    def run(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None
    ) -> list[People]:
        """Find people, or embed given boxes; see `Network.run`.

        People found are clipped to the image, and those outside it left out, so that the crop that
        is embedded is that of the box returned.
        """
        if boxes is None:
            found = [self.find_boxes(image) for image in images]
        else:
            known = [np.asarray(x, np.float32).reshape(-1, 4) for x in boxes]
            found = [(x, np.ones(len(x), np.float32)) for x in known]
        crops = [
            cut_out(image, box)
            for image, (kept, _) in zip(images, found, strict=True)
            for box in kept
        ]
        # The crops of all images together fill the crop net's batches.
        rows = self.crop_net.embed(crops)
        ends = np.cumsum([len(kept) for kept, _ in found])[:-1]
        return [
            People(kept, scores, embeddings)
            for (kept, scores), embeddings in zip(found, np.split(rows, ends), strict=True)
        ]

    def find_boxes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find people without embedding them.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Boxes (N, 4) float32 inside the image, and scores (N,) float32.
        """
        height, width = image.shape[:2]
        boxes, scores = self.detector.detect(image)
        boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
        inside = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        return boxes[inside].astype(np.float32), scores[inside].astype(np.float32)


def cut_out(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Cut a box out of an image, at the nearest whole pixels, at least one.

    Args:
        image: (H, W, 3).
        box: (4,), some of it inside the image; what lies outside is left out.

    Returns:
        A view, (h, w, 3).
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (max(round(float(v)), 0) for v in box)
    left, top = min(x1, width - 1), min(y1, height - 1)
    return image[top : max(y2, top + 1), left : max(x2, left + 1)]


def load_two_step(
    detector: str | Path,
    crop_net: str | Path,
    *,
    min_score: float | None = None,
    threshold: float | None = None,
    device: str | None = None,
    threads: int | None = None,
    max_callers: int = 1,
) -> TwoStepNetwork:
    """Load a model of two steps from two ONNX files, or a detector of PyTorch's zoos by its name.

    Args:
        detector: an ONNX file (`person_search.inference.detectors.onnx_detector`), one that
            ``person-search export`` wrote, of which the detector is used; or
            ``detectron2:CONFIG`` or ``torchvision:NAME``, which need PyTorch
            (`person_search.inference.detectors.torch_detectors`).
        crop_net: an ONNX file (`person_search.inference.crop_nets.onnx_crop_net`).
        min_score: least score, 0..1, of people; None: the detector's card's.
        threshold: similarity, -1..1, from which on a match is probably right, where known.
        device: see `person_search.inference.onnx_network.OnnxNetwork`.
        threads: likewise.
        max_callers: likewise; with a detector of PyTorch's zoos it stays 1, and the log says so.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without a package that is needed.
        ValueError: if a file or name is not understood.
    """
    # Slow to import, and not needed by networks that are there already.
    from person_search.inference.crop_nets.onnx_crop_net import OnnxCropNet
    from person_search.inference.detectors.load import is_of_zoo, load_detector

    if is_of_zoo(detector):
        max_callers = one_caller(str(detector), max_callers)
    return TwoStepNetwork(
        load_detector(detector, min_score=min_score, device=device, threads=threads),
        OnnxCropNet(crop_net, device=device, threads=threads),
        threshold=threshold,
        max_callers=max_callers,
    )
