"""Align a face by five points: eyes, nose, corners of the mouth.

Letters: K points.
"""

from dataclasses import dataclass

import cv2
import numpy as np

ALIGNED_SIZE = 112
"""Width and height of an aligned face, pixels."""

TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""(5, 2): where the points go, (x, y) of an aligned face: the eye on the left side of the picture,
the one on the right, tip of the nose, left and right corner of the mouth. They are those of the
ArcFace authors' published code (insightface), which nearly every released face model expects."""

_MIN_SPREAD = 1e-3
"""Relative to the points' size; below it they lie on one spot or, twice, on one line."""


@dataclass(frozen=True)
class Similarity:
    """A similarity transform: turn, scale, shift; no mirroring."""

    matrix: np.ndarray
    """(2, 3) float64: (x, y, 1) of the image to (x, y) of the aligned face."""

    @property
    def scale(self) -> float:
        """Pixels of the aligned face for a pixel of the image."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Map points (K, 2)."""
        mapped: np.ndarray = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return mapped


def estimate_similarity(points: np.ndarray, target: np.ndarray = TEMPLATE) -> Similarity:
    """Return the similarity that brings points nearest to their targets, in least squares.

    It is Umeyama's (TPAMI 1991) without mirroring. In the plane, where points are complex numbers,
    it is one division: with the means taken out, scale and turn are sum(conj(p) t) / sum(|p|^2).

    Args:
        points: (K, 2) (x, y), at least two different ones.
        target: (K, 2).

    Raises:
        ValueError: If shapes differ, a coordinate is not finite, the points are degenerate (all on
            one spot, or five on one line), or they are mirrored, as with left and right exchanged.
    """
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    if points.ndim != 2 or points.shape != target.shape or points.shape[1] != 2 or len(points) < 2:
        raise ValueError(
            f"points: got shape {points.shape}, expected {target.shape}: (x, y) of left eye, right "
            "eye, nose, left and right corner of the mouth, as seen in the picture"
        )
    if not np.isfinite(points).all():
        raise ValueError(f"points: got {points.tolist()}, expected finite coordinates")
    _check_spread(points, target)
    p, t = _centred(points), _centred(target)
    power = float((p.real**2 + p.imag**2).sum())
    # Turn and scale without mirroring, and how well mirrored points would do.
    factor = complex((np.conj(p) * t).sum()) / power
    mirrored = complex((p * t).sum()) / power
    if abs(factor) <= abs(mirrored):
        raise ValueError(
            f"points: {points.tolist()} fit the face better as their mirror image; are left and "
            "right exchanged? They are meant as seen in the picture"
        )
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    shift = target.mean(axis=0) - linear @ points.mean(axis=0)
    return Similarity(np.column_stack([linear, shift]))


def align_face(image: np.ndarray, points: np.ndarray, size: int = ALIGNED_SIZE) -> np.ndarray:
    """Cut a face out of an image, aligned.

    Args:
        image: (H, W, 3) uint8; unchanged. What lies outside of it is black.
        points: (5, 2) in its pixels, in the order of ``TEMPLATE``.
        size: Width and height of the result; the template is scaled with it.

    Returns:
        (size, size, 3) uint8, interpolated linearly; of faces much larger than the result, after
        the image was shrunk, so that nothing aliases.

    Raises:
        ValueError: If the image is no such array, or as `estimate_similarity`.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        got = getattr(image, "shape", type(image).__name__)
        raise ValueError(f"image: got {got}, expected an array (H, W, 3) of uint8")
    if size < 1:
        raise ValueError(f"size: got {size}, expected at least 1")
    target = TEMPLATE * (size / ALIGNED_SIZE)
    matrix = estimate_similarity(points, target).matrix
    factor = int(1 / float(np.hypot(matrix[0, 0], matrix[1, 0])))
    if factor > 1:
        height, width = (-(-side // factor) for side in image.shape[:2])
        padded = cv2.copyMakeBorder(
            image, 0, height * factor - image.shape[0], 0, width * factor - image.shape[1],
            cv2.BORDER_REPLICATE,
        )  # fmt: skip
        image = cv2.resize(padded, (width, height), interpolation=cv2.INTER_AREA)
        # Pixel i is now the mean of the pixels from factor * i on.
        linear = matrix[:, :2] * factor
        matrix = np.column_stack([linear, matrix[:, 2] + matrix[:, :2].sum(1) * (factor - 1) / 2])
    aligned: np.ndarray = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return aligned


def _centred(points: np.ndarray) -> np.ndarray:
    centred: np.ndarray = points - points.mean(axis=0)
    numbers: np.ndarray = centred[:, 0] + 1j * centred[:, 1]
    return numbers


def _check_spread(points: np.ndarray, target: np.ndarray) -> None:
    """Raise ValueError where points lie on one spot, or on one line though their targets do not."""
    # The standard deviations along the long and the short axis.
    long, short = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    size = max(1.0, float(np.abs(points).max()))
    if long <= _MIN_SPREAD * 1e-3 * size:
        raise ValueError(f"points: {points.tolist()} lie on one spot; nothing can be aligned")
    wide, narrow = np.linalg.svd(target - target.mean(axis=0), compute_uv=False)
    if narrow > _MIN_SPREAD * wide and short <= _MIN_SPREAD * long:
        raise ValueError(
            f"points: {points.tolist()} lie on one line; eyes, nose and mouth of a face do not"
        )
