"""MTCNN as a face detector with five points: proposals, refined twice.

The steps and numbers are those of facenet-pytorch's MTCNN, whose weights it runs. Boxes count
pixels from 1 where a network's square is cut out, as the authors' code in MATLAB did.

Letters: H, W height and width in original pixels, N boxes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms

from reid_heads.faces.detectors import DetectedFace, drop_unalignable
from reid_heads.faces.mtcnn_networks import (
    State,
    normalise,
    read_mtcnn,
    run_onet,
    run_pnet,
    run_rnet,
)

SMALLEST_FACE = 20
"""Original pixels a side."""
MIN_SCORES = (0.6, 0.7, 0.7)
"""Of the three networks, 0..1."""

_CELL, _STEP = 12, 2
_PYRAMID = 0.709
_SQUARES = 512


class MtcnnFaces:
    """A detector of faces with five points; a `reid_heads.faces.detectors.Detector`."""

    def __init__(
        self,
        source: str | Path | None = None,
        min_score: float | None = None,
        device: str | None = None,
    ) -> None:
        """Read the three networks.

        Args:
            source: facenet-pytorch's wheel; None: the package as installed.
            min_score: Least score of a face, 0..1; None: 0.7.
            device: "cpu" or "cuda"; None: a GPU where there is one.

        Raises:
            FileNotFoundError: If there is no such wheel.
            ModuleNotFoundError: If the package is not installed.
            ValueError: If the weights are not those of MTCNN.
        """
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = device
        self.min_score = MIN_SCORES[2] if min_score is None else min_score
        self._networks: dict[str, State] = {
            network: {name: value.to(device) for name, value in state.items()}
            for network, state in read_mtcnn(source).items()
        }

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> list[DetectedFace]:
        """Return the faces of a picture (H, W, 3) uint8 RGB by falling score.

        Faces whose points cannot be aligned are left out, with a warning. A picture with a side
        below 20 pixels has none.
        """
        # A copy: arrays of Pillow cannot be written, which PyTorch warns of.
        pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())
        picture = pixels[None].to(self.device, torch.float32)
        boxes = self._refine(picture, self._propose(picture))
        boxes, squares = cut_squares(picture, boxes, 48)
        if not len(boxes):
            return []
        scores, offsets, points = run_onet(self._networks["onet"], squares)
        kept = scores > self.min_score
        boxes, scores, offsets, points = (x[kept] for x in (boxes, scores, offsets, points))
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        points = points * sides[:, None] + boxes[:, None, :2] - 1
        boxes = move(boxes, offsets, 1)
        chosen = suppress_inside(boxes, scores, 0.7)
        found = [x[chosen].double().cpu().numpy() for x in (boxes, scores, points)]
        return drop_unalignable(
            [
                DetectedFace(tuple(box.tolist()), own, float(score))
                for box, score, own in zip(*found, strict=True)
            ]
        )

    def _propose(self, picture: Tensor) -> Tensor:
        """Return squares (N, 4), original pixels, where P sees a face at any scale."""
        found = [propose(self._networks["pnet"], picture, s) for s in pyramid(picture.shape[-2:])]
        boxes = torch.cat([boxes for boxes, _, _ in found]) if found else picture.new_zeros(0, 4)
        if not len(boxes):
            return boxes
        scores, offsets = (torch.cat([x[i] for x in found]) for i in (1, 2))
        kept = nms(boxes, scores, 0.7)
        return to_square(move(boxes[kept], offsets[kept], 0))

    def _refine(self, picture: Tensor, boxes: Tensor) -> Tensor:
        """Return what R leaves of squares (N, 4), moved and square again."""
        boxes, squares = cut_squares(picture, boxes, 24)
        if not len(boxes):
            return boxes
        parts = [run_rnet(self._networks["rnet"], part) for part in torch.split(squares, _SQUARES)]
        scores, offsets = (torch.cat(column) for column in zip(*parts, strict=True))
        kept = scores > MIN_SCORES[1]
        boxes, scores, offsets = boxes[kept], scores[kept], offsets[kept]
        kept = nms(boxes, scores, 0.7)
        return to_square(move(boxes[kept], offsets[kept], 1))


def pyramid(size: Sequence[int]) -> list[float]:
    """Return by what factors a picture of (H, W) is shrunk: its faces are then 12 pixels large."""
    scale = _CELL / SMALLEST_FACE
    shorter = min(size) * scale
    scales = []
    while shorter >= _CELL:
        scales.append(scale)
        scale, shorter = scale * _PYRAMID, shorter * _PYRAMID
    return scales


def propose(state: State, picture: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Find faces of one size.

    Args:
        state: Of "pnet".
        picture: (1, 3, H, W) RGB, 0..255.
        scale: By which it is shrunk.

    Returns:
        Boxes (N, 4) in original pixels, scores (N,), and offsets (N, 4) in shares of the boxes.
    """
    height, width = (int(side * scale + 1) for side in picture.shape[-2:])
    shrunk = F.interpolate(picture, size=(height, width), mode="area")
    scores, offsets = run_pnet(state, normalise(shrunk))
    rows, columns = torch.nonzero(scores >= MIN_SCORES[0], as_tuple=True)
    corners = _STEP * torch.stack([columns, rows], dim=1).float()
    boxes = torch.cat([(corners + 1) / scale, (corners + _CELL) / scale], dim=1).floor()
    chosen = scores[rows, columns]
    kept = nms(boxes, chosen, 0.5)
    return boxes[kept], chosen[kept], offsets[rows, columns][kept]


def move(boxes: Tensor, offsets: Tensor, more: int) -> Tensor:
    """Move corners of boxes (N, 4) by offsets (N, 4), in shares of the sides plus ``more``."""
    sides = boxes[:, 2:] - boxes[:, :2] + more
    return boxes + offsets * sides.repeat(1, 2)


def to_square(boxes: Tensor) -> Tensor:
    """Return squares of the same middles, as large as the longer side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    corners = boxes[:, :2] + sides / 2 - sides.amax(1, keepdim=True) / 2
    return torch.cat([corners, corners + sides.amax(1, keepdim=True)], dim=1)


def cut_squares(picture: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cut boxes out of a picture, resized; of a box that sticks out, the part that is inside.

    Args:
        picture: (1, 3, H, W) RGB, 0..255.
        boxes: (N, 4), original pixels.
        size: Height and width of the results.

    Returns:
        Those of the boxes that have an area in the picture, and their pixels (N, 3, size, size),
        normalised.
    """
    height, width = picture.shape[-2:]
    kept, squares = [], []
    for number, (x1, y1, x2, y2) in enumerate(boxes.trunc().int().tolist()):
        part = picture[:, :, max(y1, 1) - 1 : min(y2, height), max(x1, 1) - 1 : min(x2, width)]
        if min(x2, y2) > 0 and part.numel():
            kept.append(number)
            squares.append(F.interpolate(part, size=(size, size), mode="area"))
    if not kept:
        return boxes[:0], picture.new_zeros(0, 3, size, size)
    return boxes[kept], normalise(torch.cat(squares))


def suppress_inside(boxes: Tensor, scores: Tensor, limit: float) -> Tensor:
    """Choose boxes greedily by falling score.

    Args:
        boxes: (N, 4).
        scores: (N,).
        limit: A box goes whose intersection with a chosen one is more than this share of the
            smaller of the two, so that none lies inside another.

    Returns:
        Rows of those chosen, by falling score; int64.
    """
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1)
    waiting = scores.argsort(descending=True, stable=True)
    chosen = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        chosen.append(best)
        low = torch.maximum(boxes[best, :2], boxes[waiting, :2])
        high = torch.minimum(boxes[best, 2:], boxes[waiting, 2:])
        inside = (high - low + 1).clamp(min=0).prod(1)
        waiting = waiting[inside <= limit * torch.minimum(areas[best], areas[waiting])]
    return torch.stack(chosen) if chosen else waiting
