"""What stands between `PersonFinder` and the program that runs the model.

A back end gets pictures as the model sees them and gives boxes in those pixels; reading, resizing,
scaling back and checking are the finder's. So back ends differ in nothing but who computes.

Letters: H, W height and width in original pixels, h, w in resized pixels, N people, D embedding
size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image

from person_search.inference.sight import Sight
from person_search.people import People

SMALLEST_PERSON = 1 / 27
"""Height of the smallest people that a model of one step finds, relative to ``min_size``: 33 of 900
pixels, 10 of the drawn world's 270. In the data sets' frames people are hardly smaller."""

PROPOSALS_SHARE = 1 / 4
"""Share of its proposals that become people in a picture, from which on they may be too few."""


@dataclass(frozen=True)
class InputSettings:
    """How a picture is brought into the form the model was evaluated in."""

    min_size: int
    """Length of the shorter side in resized pixels; 0 does not resize."""

    max_size: int
    """The longer side is at most so long."""

    image_format: str
    """Order of the channels: ``RGB`` or ``BGR``."""

    crops_need_room: bool = True
    """Whether the person in a crop looks to the model as in a panorama only with room around; see
    `person_search.inference.crops`. Not where each person is cut out and embedded alone."""

    @property
    def sight(self) -> Sight | None:
        """How large the model sees people; None where it sees pictures as they are."""
        if self.min_size == 0:
            return None
        return Sight(self.min_size, self.max_size, SMALLEST_PERSON * self.min_size, turns=True)

    def __post_init__(self) -> None:
        if self.image_format not in ("RGB", "BGR"):
            raise ValueError(
                f"INPUT.FORMAT is {self.image_format!r}; searching pictures needs 'RGB' or 'BGR'"
            )

    def resized_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return (h, w): those of detectron2's ``ResizeShortestEdge``, rounding included."""
        if self.min_size == 0:
            return height, width
        scale = self.min_size / min(height, width)
        new_height, new_width = (
            (float(self.min_size), scale * width)
            if height < width
            else (scale * height, float(self.min_size))
        )
        if max(new_height, new_width) > self.max_size:
            scale = self.max_size / max(new_height, new_width)
            new_height, new_width = new_height * scale, new_width * scale
        # A sliver of a picture keeps a pixel, where detectron2 would fail.
        return max(int(new_height + 0.5), 1), max(int(new_width + 0.5), 1)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Resize a picture as the test pipeline does and order its channels.

        Args:
            image: (H, W, 3) uint8, RGB.

        Returns:
            (h, w, 3) uint8, contiguous, in ``image_format``; maybe ``image`` itself.
        """
        height, width = self.resized_shape(*image.shape[:2])
        # Resizing works on each channel alone, so their order may be changed after it.
        if (height, width) != image.shape[:2]:
            resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            image = np.asarray(resized)
        return np.ascontiguousarray(image[:, :, ::-1] if self.image_format == "BGR" else image)


@dataclass(frozen=True)
class Limits:
    """How many people a model of one step can find in a picture at once."""

    proposals: int
    """``MODEL.RPN.POST_NMS_TOPK_TEST``: boxes that are looked at closely."""

    detections: int
    """``TEST.DETECTIONS_PER_IMAGE``: people that are returned at most."""

    def reached_by(self, count: int) -> str | None:
        """Say which limit may have cut off people of a picture; None: neither.

        A person takes several proposals: of 100, a drawn crowd of 200 people filled 38.

        Args:
            count: of the people found, those below the least score left out.
        """
        if count >= self.detections:
            return f"{count} people, as many as TEST.DETECTIONS_PER_IMAGE {self.detections} allows"
        if count >= PROPOSALS_SHARE * self.proposals:
            return (
                f"{count} people, about as many as MODEL.RPN.POST_NMS_TOPK_TEST {self.proposals} "
                "lets the model find"
            )
        return None


class Network(Protocol):
    """A model that finds and embeds people, in whatever program it runs.

    One that can find so many people only has ``limits``, see `Limits`, too.
    """

    fingerprint: str
    """SHA-256 (hex) of what decides embeddings; see `person_search.inference.fingerprint`."""

    embedding_dim: int
    """D."""

    settings: InputSettings
    """How its pictures are prepared."""

    min_score: float
    """Least score, 0..1, of a person worth searching: what the benchmark's protocols use."""

    def run(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None
    ) -> list[People]:
        """Find people, or embed given boxes; called by one thread at a time.

        Args:
            images: one or more, prepared by ``settings``; (h, w, 3) uint8, sizes may differ.
            boxes: for each image (N, 4) float32 in resized pixels, all with an area inside it, to
                be embedded instead of the detector's; in that case nothing is left out or moved.

        Returns:
            For each image its people: boxes in resized pixels (not yet clipped), embeddings
            (N, D). Detections are those of the model's own score threshold, given boxes have the
            score 1.
        """
        ...


@runtime_checkable
class FindsBoxes(Protocol):
    """A network that can find people without embedding them: one of two steps.

    It takes pictures as they are, and embeds each person alone: ``settings`` do not resize, and a
    box has the same embedding in every part of a picture.
    """

    def find_boxes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find people; called by one thread at a time.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Boxes (N, 4) float32 inside the image, in its pixels, and scores (N,) float32.
        """
        ...
