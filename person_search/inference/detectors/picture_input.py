"""Bring a picture into the form that a detector takes, and its boxes back.

Letters: H, W height and width in original pixels, h, w in resized pixels, N boxes.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from person_search.inference.detectors.card import DetectorCard


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in a detector's input."""

    scale_x: float
    """Resized pixels of an original one."""
    scale_y: float
    left: int
    """Of the picture's corner, resized pixels."""
    top: int

    def to_original(self, boxes: np.ndarray) -> np.ndarray:
        """Turn boxes (N, 4) from resized pixels, padding included, into original ones; float32."""
        corner = np.array([self.left, self.top] * 2)
        scale = np.array([self.scale_x, self.scale_y] * 2)
        return np.asarray((boxes - corner) / scale).astype(np.float32)


def place(image: np.ndarray, card: DetectorCard) -> tuple[np.ndarray, Placement]:
    """Resize a picture, pad it, and order its channels.

    Resizing is OpenCV's bilinear one, without antialiasing, as in the detectors' own programs.

    Args:
        image: (H, W, 3) uint8 RGB.
        card: of the detector.

    Returns:
        (h, w, 3) uint8, in the order of the card's ``color``, and where the picture lies in it.
    """
    height, width = image.shape[:2]
    if card.color == "BGR":
        image = image[:, :, ::-1]
    if card.resizing == "none":
        return image, Placement(1.0, 1.0, 0, 0)
    inner = card.height, card.width
    if card.resizing != "squeeze":
        scale = min(card.height / height, card.width / width)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
    if inner != (height, width):
        size = inner[1], inner[0]
        image = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_LINEAR)
    left = top = 0
    if inner != (card.height, card.width):
        padded = np.full((card.height, card.width, 3), card.padding, np.uint8)
        if card.resizing == "letterbox_center":
            top, left = (card.height - inner[0]) // 2, (card.width - inner[1]) // 2
        padded[top : top + inner[0], left : left + inner[1]] = image
        image = padded
    return image, Placement(inner[1] / width, inner[0] / height, left, top)


def as_tensor(image: np.ndarray, card: DetectorCard) -> np.ndarray:
    """Normalise pixels (h, w, 3) and put channels first: (3, h, w) float32."""
    mean, std = np.array(card.mean, np.float32), np.array(card.std, np.float32)
    return np.ascontiguousarray(((image.astype(np.float32) - mean) / std).transpose(2, 0, 1))
