"""Where the faces of a picture are: it is one, they are given, or a detector finds them.

Letters: M faces of a picture.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from reid_heads.faces.alignment import ALIGNED_SIZE, align_face, estimate_similarity

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectedFace:
    """A face in a picture, original pixels."""

    box_xyxy: tuple[float, float, float, float]
    points: np.ndarray | None = None
    """(5, 2) as in ``alignment.TEMPLATE``; None: the box is cut out as it is."""
    score: float = 1.0


Detector = Callable[[np.ndarray], Sequence[DetectedFace]]
"""Takes (H, W, 3) uint8 RGB."""


def choose_main_face(faces: Sequence[DetectedFace]) -> DetectedFace:
    """Return the face of the highest score, of equal ones the largest.

    Raises:
        ValueError: If there is no face.
    """
    if not len(faces):
        raise ValueError("there is no face in the picture; expected one at least")
    return max(faces, key=lambda face: (face.score, _area(face)))


def _area(face: DetectedFace) -> float:
    x1, y1, x2, y2 = face.box_xyxy
    return (x2 - x1) * (y2 - y1)


def drop_unalignable(faces: Sequence[DetectedFace]) -> list[DetectedFace]:
    """Return the faces whose points can be aligned; warn of the others.

    A network's points of what is hardly a face, or seen from the side, may lie on one line or be
    mirrored. One such face must not keep a picture's others from being named.
    """
    kept = []
    for face in faces:
        try:
            if face.points is not None:
                estimate_similarity(face.points)
        except ValueError as error:
            box = " ".join(f"{value:.0f}" for value in face.box_xyxy)
            logger.warning("the face at %s is left out: %s", box, error)
        else:
            kept.append(face)
    return kept


def cut_face(image: np.ndarray, face: DetectedFace) -> np.ndarray:
    """Return an aligned face (112, 112, 3), or its box resized where it has no points.

    Raises:
        ValueError: If the points are degenerate, or the box has no area in the picture.
    """
    if face.points is not None:
        return align_face(image, face.points)
    size = (ALIGNED_SIZE, ALIGNED_SIZE)
    return np.asarray(cv2.resize(_cut_box(image, face), size, interpolation=cv2.INTER_AREA))


def _cut_box(image: np.ndarray, face: DetectedFace) -> np.ndarray:
    """Return the part of the picture in a box; raise ValueError if there is none."""
    height, width = image.shape[:2]
    x1, y1 = (max(0, int(np.floor(v))) for v in face.box_xyxy[:2])
    x2, y2 = int(np.ceil(face.box_xyxy[2])), int(np.ceil(face.box_xyxy[3]))
    crop = image[y1 : min(y2, height), x1 : min(x2, width)] if min(x2, y2) > 0 else image[:0]
    if not crop.size:
        raise ValueError(
            f"box_xyxy: {face.box_xyxy} has no area in the picture of {width} x {height} pixels"
        )
    return crop


def whole_picture(image: np.ndarray) -> list[DetectedFace]:
    """Take a picture for one face that is aligned already: the detector of aligned folders."""
    height, width = image.shape[:2]
    return [DetectedFace((0.0, 0.0, float(width), float(height)))]


class GivenFaces:
    """The detector that knows the faces of one picture already."""

    def __init__(self, boxes_xyxy: np.ndarray, points: np.ndarray | None = None) -> None:
        """Keep boxes (M, 4) and, if there are any, points (M, 5, 2), original pixels.

        Raises:
            ValueError: If the shapes do not fit.
        """
        boxes = np.asarray(boxes_xyxy, np.float64)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes_xyxy: got shape {boxes.shape}, expected (M, 4)")
        if points is not None and np.shape(points) != (len(boxes), 5, 2):
            raise ValueError(f"points: got shape {np.shape(points)}, expected ({len(boxes)}, 5, 2)")
        self.faces = [
            DetectedFace(tuple(box.tolist()), None if points is None else np.asarray(points[i]))
            for i, box in enumerate(boxes)
        ]

    def __call__(self, image: np.ndarray) -> list[DetectedFace]:
        """Return the faces.

        Raises:
            ValueError: If a box, or all points of a face, lie outside of the picture: they belong
                to another one, or to another size of it.
        """
        height, width = image.shape[:2]
        for face in self.faces:
            _cut_box(image, face)
            points = face.points
            if points is not None and not ((points >= 0) & (points < (width, height))).all(1).any():
                raise ValueError(
                    f"points: {points.tolist()} lie outside of the picture of {width} x {height} "
                    "pixels"
                )
        return self.faces


class Detectron2Faces:
    """Any detectron2 predictor as a detector; with a keypoint head of five points, of these too."""

    def __init__(
        self,
        predictor: Callable[[np.ndarray], Mapping[str, Any]],
        min_score: float = 0.5,
        find_points: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        class_number: int | None = None,
    ) -> None:
        """Wrap a predictor.

        Args:
            predictor: Such as detectron2's ``DefaultPredictor``: takes (H, W, 3) uint8 BGR, returns
                ``{"instances": Instances}`` with ``pred_boxes`` and ``scores``.
            min_score: Faces below are passed over.
            find_points: Finds the points (5, 2) of a face, given the picture (RGB) and a box (4,);
                None: those of ``pred_keypoints``, where there are five, else none.
            class_number: Of faces, counted from 0; what is of other ``pred_classes`` is passed
                over. None: all that is found is a face.
        """
        self.predictor, self.min_score, self.find_points = predictor, min_score, find_points
        self.class_number = class_number

    def __call__(self, image: np.ndarray) -> list[DetectedFace]:
        """Return the faces by falling score.

        Raises:
            ValueError: If the predictor finds no instances but something else.
        """
        output = self.predictor(np.ascontiguousarray(image[:, :, ::-1]))
        if "instances" not in output:
            raise ValueError(
                f"the detector gives {', '.join(output)}; expected instances, as of a model that "
                "finds boxes"
            )
        found = output["instances"].to("cpu")
        if self.class_number is not None:
            found = found[found.pred_classes == self.class_number]
        boxes, scores = found.pred_boxes.tensor.numpy(), found.scores.numpy()
        keypoints = found.pred_keypoints.numpy() if found.has("pred_keypoints") else None
        if keypoints is not None and keypoints.shape[1] != 5:
            keypoints = None
        faces = []
        for i in np.argsort(-scores, kind="stable"):
            if scores[i] < self.min_score:
                continue
            points = None if keypoints is None else keypoints[i, :, :2]
            if self.find_points is not None:
                points = self.find_points(image, boxes[i])
            faces.append(DetectedFace(tuple(boxes[i].tolist()), points, float(scores[i])))
        return faces
