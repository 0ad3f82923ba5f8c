"""From pictures to names: detect, align, embed, verify or identify, each part exchangeable.

The order is that of the survey arXiv 2212.13038, section 3: the same alignment as in training, the
sum of the features of a face and of its mirror image, cosine similarity; verification accepts from
a threshold on, identification takes the nearest enrolled person and rejects below the threshold.

Letters: N faces, M faces of a picture, D embedding size, P enrolled persons.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from reid_heads.faces.alignment import ALIGNED_SIZE, align_face

EMBED_BATCH = 64


@dataclass(frozen=True)
class DetectedFace:
    """A face in a picture, original pixels."""

    box_xyxy: tuple[float, float, float, float]
    points: np.ndarray | None = None
    """(5, 2) as in ``alignment.TEMPLATE``; None: the box is cut out as it is."""
    score: float = 1.0


@dataclass(frozen=True)
class Verification:
    """Whether two pictures show one person."""

    is_same: bool
    similarity: float
    """Cosine, -1..1."""
    faces: tuple[DetectedFace, DetectedFace]


@dataclass(frozen=True)
class Identification:
    """Who a face is."""

    face: DetectedFace
    name: str | None
    """None: nobody of the enrolled."""
    similarity: float
    """Cosine to the nearest enrolled person, whether accepted or not."""


Detector = Callable[[np.ndarray], Sequence[DetectedFace]]
"""Takes (H, W, 3) uint8 RGB."""

Embedder = Callable[[np.ndarray], np.ndarray]
"""Takes (N, 112, 112, 3) uint8 RGB, returns (N, D) float32 of unit norm."""


class FacePipeline:
    """Verify and identify the faces of pictures; set up once, ask many times."""

    def __init__(self, detect: Detector, embed: Embedder, threshold: float) -> None:
        """Put the parts together, nobody enrolled.

        Args:
            detect: Finds the faces of a picture.
            embed: Embeds aligned faces.
            threshold: Cosine from which two faces are one person's; see ``threshold`` and
                ``TAR@FAR`` of ``reid_heads.evaluate --protocol verification``.

        Raises:
            ValueError: If the threshold is not within -1..1.
        """
        if not -1.0 <= threshold <= 1.0:
            raise ValueError(f"threshold: got {threshold}, expected a cosine within -1..1")
        self.detect, self.embed, self.threshold = detect, embed, threshold
        self._enrolled: dict[str, np.ndarray] = {}

    def embed_faces(self, image: np.ndarray) -> tuple[list[DetectedFace], np.ndarray]:
        """Find and embed all faces of a picture.

        Returns:
            M faces and (M, D) embeddings; without faces [] and (0, 0).

        Raises:
            ValueError: If a detected face cannot be aligned or cut out.
        """
        faces = list(self.detect(image))
        if not faces:
            return [], np.zeros((0, 0), np.float32)
        return faces, self.embed(np.stack([cut_face(image, face) for face in faces]))

    def embed_main_face(self, image: np.ndarray) -> tuple[DetectedFace, np.ndarray]:
        """Embed the face of the highest score, of equal ones the largest; (D,).

        Raises:
            ValueError: If there is no face, or it cannot be aligned.
        """
        faces = list(self.detect(image))
        if not faces:
            raise ValueError("there is no face in the picture; expected one at least")
        face = max(faces, key=lambda face: (face.score, _area(face)))
        return face, self.embed(cut_face(image, face)[None])[0]

    def verify(self, first: np.ndarray, second: np.ndarray) -> Verification:
        """Compare the main faces of two pictures.

        Raises:
            ValueError: If a picture shows no face.
        """
        (one, a), (other, b) = self.embed_main_face(first), self.embed_main_face(second)
        similarity = float(a @ b)
        return Verification(similarity >= self.threshold, similarity, (one, other))

    def enroll(self, name: str, images: Sequence[np.ndarray]) -> None:
        """Remember a person by the mean of the embeddings of some pictures' main faces.

        Raises:
            ValueError: If the name is taken, there are no pictures, or one shows no face.
        """
        if name in self._enrolled:
            raise ValueError(f"{name!r} is already enrolled; choose another name")
        if not len(images):
            raise ValueError(f"got no picture of {name!r}, expected one at least")
        mean = np.mean([self.embed_main_face(image)[1] for image in images], axis=0)
        norm = float(np.linalg.norm(mean))
        if norm == 0:
            raise ValueError(f"the faces of {name!r} cancel out; are they one person's?")
        self._enrolled[name] = mean / norm

    def identify(self, image: np.ndarray) -> list[Identification]:
        """Name every face of a picture, or nobody; of equally similar persons the first enrolled.

        Raises:
            ValueError: If nobody is enrolled, or a face cannot be aligned.
        """
        if not self._enrolled:
            raise ValueError("nobody is enrolled; call enroll first")
        faces, embeddings = self.embed_faces(image)
        if not faces:
            return []
        names = list(self._enrolled)
        similarities = embeddings @ np.stack(list(self._enrolled.values())).T
        found = []
        for face, row in zip(faces, similarities, strict=True):
            best = int(row.argmax())
            name = names[best] if row[best] >= self.threshold else None
            found.append(Identification(face, name, float(row[best])))
        return found


def _area(face: DetectedFace) -> float:
    x1, y1, x2, y2 = face.box_xyxy
    return (x2 - x1) * (y2 - y1)


def cut_face(image: np.ndarray, face: DetectedFace) -> np.ndarray:
    """Return an aligned face (112, 112, 3), or its box resized where it has no points.

    Raises:
        ValueError: If the points are degenerate, or the box has no area in the picture.
    """
    if face.points is not None:
        return align_face(image, face.points)
    height, width = image.shape[:2]
    x1, y1 = (max(0, int(np.floor(v))) for v in face.box_xyxy[:2])
    x2, y2 = int(np.ceil(face.box_xyxy[2])), int(np.ceil(face.box_xyxy[3]))
    crop = image[y1 : min(y2, height), x1 : min(x2, width)] if min(x2, y2) > 0 else image[:0]
    if not crop.size:
        raise ValueError(
            f"box_xyxy: {face.box_xyxy} has no area in the picture of {width} x {height} pixels"
        )
    size = (ALIGNED_SIZE, ALIGNED_SIZE)
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA))


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
        """Return the faces."""
        return self.faces


class Detectron2Faces:
    """Any detectron2 predictor as a detector; with a keypoint head of five points, of these too."""

    def __init__(
        self,
        predictor: Callable[[np.ndarray], Mapping[str, Any]],
        min_score: float = 0.5,
        find_points: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """Wrap a predictor.

        Args:
            predictor: Such as detectron2's ``DefaultPredictor``: takes (H, W, 3) uint8 BGR, returns
                ``{"instances": Instances}`` with ``pred_boxes`` and ``scores``.
            min_score: Faces below are passed over.
            find_points: Finds the points (5, 2) of a face, given the picture (RGB) and a box (4,);
                None: those of ``pred_keypoints``, where there are five, else none.
        """
        self.predictor, self.min_score, self.find_points = predictor, min_score, find_points

    def __call__(self, image: np.ndarray) -> list[DetectedFace]:
        """Return the faces by falling score."""
        found = self.predictor(np.ascontiguousarray(image[:, :, ::-1]))["instances"].to("cpu")
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


class CropEmbedder:
    """Embed aligned faces by a ``CropReID`` model, each with its mirror image."""

    def __init__(self, model: Any, size: Sequence[int], image_format: str = "RGB") -> None:
        """Take a trained model, which is put into evaluation mode.

        Args:
            model: A ``CropReID``.
            size: ``cfg.INPUT.REID.SIZE``, height and width of its input.
            image_format: ``cfg.INPUT.FORMAT``.

        Raises:
            ValueError: If the format is neither RGB nor BGR.
        """
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f"image_format: got {image_format!r}; expected 'RGB' or 'BGR'")
        self.model, self.image_format = model.eval(), image_format
        self.height, self.width = size

    @torch.no_grad()
    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """Return (N, D) float32 of unit norm for (N, H, W, 3) uint8 RGB."""
        rows = []
        for start in range(0, len(faces), EMBED_BATCH):
            inputs = [{"image": self._tensor(face)} for face in faces[start : start + EMBED_BATCH]]
            images = self.model.preprocess(inputs)
            both = self.model.features(torch.cat([images, images.flip(-1)])).embeddings.float()
            rows.append(F.normalize(both[: len(images)] + both[len(images) :]).cpu().numpy())
        return np.concatenate(rows)

    def _tensor(self, face: np.ndarray) -> torch.Tensor:
        if face.shape[:2] != (self.height, self.width):
            size = (self.width, self.height)
            face = np.asarray(cv2.resize(face, size, interpolation=cv2.INTER_AREA))
        if self.image_format == "BGR":
            face = face[:, :, ::-1]
        return torch.from_numpy(np.ascontiguousarray(face.transpose(2, 0, 1)))
