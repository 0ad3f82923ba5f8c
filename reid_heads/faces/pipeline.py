"""From pictures to names: detect, align, embed, verify or identify, each part exchangeable.

The order is that of the survey arXiv 2212.13038, section 3: the same alignment as in training, the
sum of the features of a face and of its mirror image, cosine similarity; verification accepts from
a threshold on, identification takes the nearest enrolled person and rejects below the threshold.

Letters: N faces, M faces of a picture, D embedding size, P enrolled persons.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from reid_heads.faces.detectors import DetectedFace, Detector, choose_main_face, cut_face
from reid_heads.unit_norm import is_unit_norm

EMBED_BATCH = 64


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

    def with_detector(self, detect: Detector) -> "FacePipeline":
        """Return the pipeline with another detector; whoever is enrolled in one is in both."""
        other = copy.copy(self)
        other.detect = detect
        return other

    @property
    def enrolled(self) -> dict[str, np.ndarray]:
        """Embedding (D,), float32 of unit norm, of each enrolled person by name, in order."""
        return dict(self._enrolled)

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
        face = choose_main_face(self.detect(image))
        return face, self.embed(cut_face(image, face)[None])[0]

    def verify(self, first: np.ndarray, second: np.ndarray) -> Verification:
        """Compare the main faces of two pictures.

        Raises:
            ValueError: If a picture shows no face.
        """
        return self.compare(self.embed_main_face(first), self.embed_main_face(second))

    def compare(
        self, first: tuple[DetectedFace, np.ndarray], second: tuple[DetectedFace, np.ndarray]
    ) -> Verification:
        """Compare two faces with their embeddings (D,), as `embed_main_face` returns them."""
        (one, a), (other, b) = first, second
        similarity = float(a @ b)
        return Verification(similarity >= self.threshold, similarity, (one, other))

    def enroll(self, name: str, images: Iterable[np.ndarray]) -> None:
        """Remember a person by the mean of the embeddings of some pictures' main faces.

        Raises:
            ValueError: If the name is taken, there are no pictures, or one shows no face.
        """
        self._check_new(name)
        # Only the aligned faces are kept in memory.
        faces = [cut_face(image, choose_main_face(self.detect(image))) for image in images]
        self.enroll_faces(name, faces)

    def enroll_faces(self, name: str, faces: Sequence[np.ndarray]) -> None:
        """Remember a person by the mean of the embeddings of aligned faces.

        Args:
            name: Of the person.
            faces: Each (112, 112, 3) uint8 RGB.

        Raises:
            ValueError: If the name is taken, or there are no faces.
        """
        self._check_new(name)
        if not len(faces):
            raise ValueError(f"got no picture of {name!r}, expected one at least")
        mean = self.embed(np.stack(faces)).mean(axis=0)
        norm = float(np.linalg.norm(mean))
        if norm == 0:
            raise ValueError(f"the faces of {name!r} cancel out; are they one person's?")
        self.enroll_embedding(name, mean / norm)

    def enroll_embedding(self, name: str, embedding: np.ndarray) -> None:
        """Remember a person by an embedding (D,) of unit norm, such as a saved mean.

        Raises:
            ValueError: If the name is taken, the embedding is not of unit norm, or of another
                length than those of the persons enrolled before.
        """
        self._check_new(name)
        others = next(iter(self._enrolled.values()), embedding)
        norm = np.linalg.norm(embedding)
        if embedding.ndim != 1 or embedding.shape != others.shape or not is_unit_norm(norm):
            raise ValueError(
                f"embedding of {name!r}: got shape {embedding.shape} and norm {norm:g}, expected "
                f"({others.shape[-1]},) and 1"
            )
        self._enrolled[name] = embedding

    def _check_new(self, name: str) -> None:
        if name in self._enrolled:
            raise ValueError(f"{name!r} is already enrolled; choose another name")

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


def check_embeddings(embeddings: np.ndarray) -> None:
    """Raise ValueError unless embeddings (N, D) are of unit norm; says how many are not."""
    is_unit = is_unit_norm(np.linalg.norm(embeddings, axis=1))
    if not is_unit.all():
        raise ValueError(
            f"embeddings: NaN, infinity or all zeros, {np.count_nonzero(~is_unit)} of "
            f"{len(embeddings)} faces, the first in place {int(is_unit.argmin())}; are these the "
            "weights of a training that went well?"
        )


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
        """Return (N, D) float32 of unit norm for (N, H, W, 3) uint8 RGB.

        Raises:
            ValueError: If an embedding is not finite, or all zeros.
        """
        rows = []
        for start in range(0, len(faces), EMBED_BATCH):
            inputs = [{"image": self._tensor(face)} for face in faces[start : start + EMBED_BATCH]]
            images = self.model.preprocess(inputs)
            both = self.model.features(torch.cat([images, images.flip(-1)])).embeddings.float()
            rows.append(F.normalize(both[: len(images)] + both[len(images) :]).cpu().numpy())
        embeddings = np.concatenate(rows)
        check_embeddings(embeddings)
        return embeddings

    def _tensor(self, face: np.ndarray) -> torch.Tensor:
        if face.shape[:2] != (self.height, self.width):
            # As in training and evaluation, where thresholds come from.
            size = (self.width, self.height)
            face = np.asarray(Image.fromarray(face).resize(size, Image.Resampling.BILINEAR))
        if self.image_format == "BGR":
            face = face[:, :, ::-1]
        return torch.from_numpy(np.ascontiguousarray(face.transpose(2, 0, 1)))
