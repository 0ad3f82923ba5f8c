"""What stands between `PersonFinder` and the program that runs the model.

A back end gets pictures as the model sees them and gives boxes in those pixels; reading, resizing,
scaling back and checking are the finder's. So back ends differ in nothing but who computes.

Letters: H, W height and width in original pixels, h, w in resized pixels, N people, D embedding
size.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from person_search.inference.sight import Sight
from person_search.people import People
from person_search.resizing import DEFAULT_RULE, ResizeRule, check_rule, resize, resized_shape

logger = logging.getLogger(__name__)

SMALLEST_PERSON = 1 / 27
"""Height of the smallest people that a model of one step finds, relative to ``min_size``: 33 of 900
pixels, 10 of the drawn world's 270. In the data sets' frames people are hardly smaller."""

PROPOSALS_SHARE = 1 / 4
"""Share of its proposals that become people in a picture, from which on they may be too few."""

CROWD_FACTOR = 3
"""How much higher the limits of a model are for a crowd. With ten times, 207 instead of 202 of 230
drawn people were found in a panorama and 182 instead of 181 of 215 in a picture of 16:9, with 4 and
31 more false boxes."""


@dataclass(frozen=True)
class InputSettings:
    """How a picture is brought into the form the model was evaluated in."""

    min_size: int
    """Length of the shorter side in resized pixels; 0 does not resize."""

    max_size: int
    """The longer side is at most so long."""

    image_format: str
    """Order of the channels: ``RGB`` or ``BGR``."""

    resize: ResizeRule = DEFAULT_RULE
    """Whose rule of rounding sizes and interpolating pixels: ``INPUT.RESIZE``."""

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
        check_rule(self.resize)

    def resized_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return (h, w), rounding included."""
        return resized_shape(height, width, self.min_size, self.max_size, self.resize)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Resize a picture as the test pipeline does and order its channels.

        Args:
            image: (H, W, 3) uint8, RGB.

        Returns:
            (h, w, 3), contiguous, in ``image_format``; uint8, or by torchvision's rule float32 in
            0..255; maybe ``image`` itself.
        """
        # Resizing works on each channel alone, so their order may be changed after it.
        image = resize(image, self.resized_shape(*image.shape[:2]), self.resize)
        return np.ascontiguousarray(image[:, :, ::-1] if self.image_format == "BGR" else image)


@dataclass(frozen=True)
class Limits:
    """How many people a model of one step can find in a picture at once."""

    proposals: int
    """``MODEL.RPN.POST_NMS_TOPK_TEST``: boxes that are looked at closely."""

    detections: int
    """``TEST.DETECTIONS_PER_IMAGE``: people that are returned at most."""

    def raised(self) -> "Limits":
        """Return the limits with which a crowd is looked at again."""
        return Limits(CROWD_FACTOR * self.proposals, CROWD_FACTOR * self.detections)

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

    One that can find so many people only has ``limits``, see `Limits`, too, and may find more when
    it is asked to, see `FindsCrowds`.
    """

    fingerprint: str
    """SHA-256 (hex) of what decides embeddings; see `person_search.inference.fingerprint`."""

    embedding_dim: int
    """D."""

    settings: InputSettings
    """How its pictures are prepared."""

    min_score: float
    """Least score, 0..1, of a person worth searching: what the benchmark's protocols use."""

    max_callers: int
    """How many threads may be inside it at once; the finder lets the others wait."""

    def run(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None
    ) -> list[People]:
        """Find people, or embed given boxes.

        Args:
            images: one or more, prepared by ``settings``: (h, w, 3), sizes may differ.
            boxes: for each image (N, 4) float32 in resized pixels, all with an area inside it, to
                be embedded instead of the detector's; in that case nothing is left out or moved.

        Returns:
            For each image its people: boxes in resized pixels (not yet clipped), embeddings
            (N, D). Detections are those of the model's own score threshold, given boxes have the
            score 1.
        """
        ...


@runtime_checkable
class FindsCrowds(Protocol):
    """A network whose limits can be raised: one of one step."""

    limits: Limits | None
    """How many people it finds at once, where known."""

    def run_crowd(self, images: Sequence[np.ndarray]) -> list[People]:
        """Find people with `Limits.raised`.

        Args:
            images: as for `Network.run`.

        Returns:
            As `Network.run` does; the same as it where the model's file does not let its limits be
            raised.
        """
        ...


@runtime_checkable
class FindsBoxes(Protocol):
    """A network that can find people without embedding them: one of two steps.

    It takes pictures as they are, and embeds each person alone: ``settings`` do not resize, and a
    box has the same embedding in every part of a picture.
    """

    def find_boxes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find people; called by as many threads at once as ``max_callers`` says.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Boxes (N, 4) float32 inside the image, in its pixels, and scores (N,) float32.
        """
        ...


def one_caller(model: str, max_callers: int) -> int:
    """Return 1, and log where more callers were asked for: what PyTorch runs takes one at a time.

    Args:
        model: name or file, for the log.
        max_callers: that were asked for.
    """
    if max_callers > 1:
        logger.warning("%s runs in PyTorch, for one caller at a time, not %d", model, max_callers)
    return 1
