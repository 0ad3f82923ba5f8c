"""What boxes of other people's files have in common, whatever the format.

Letters: N people of one frame.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from person_search.data.box_checks import look_like_corners
from person_search.footage.files import BrokenFile
from person_search.footage.frames import split_frame_name
from person_search.gallery.known_boxes import GivenBoxes, name_some


@dataclass(frozen=True)
class FrameBoxes:
    """What a file says of one frame."""

    boxes: np.ndarray
    """(N, 4) float64, (x1, y1, x2, y2) in pixels, as they stand in the file."""

    scores: np.ndarray
    """(N,) float64, 0..1."""

    size: tuple[int, int] | None
    """Width and height of the picture, where the file says so."""


class Place(NamedTuple):
    """What of a box file stands for a file of the footage; no two files may have the same."""

    name: str
    """Of an image or a sequence, as messages call it."""

    number: int | None = None
    """Of the frame that a picture of a sequence is."""


NOBODY = FrameBoxes(np.zeros((0, 4)), np.zeros(0), None)


class BoxFile(ABC):
    """Boxes of one file or folder, matched with footage by name; see `boxes.open_boxes`."""

    def __init__(self, path: Path, min_score: float = 0.0) -> None:
        """Use `boxes.open_boxes`."""
        self.name = str(path)
        self._min_score = min_score
        # What was left out while reading, and how many.
        self._dropped: Counter[str] = Counter()
        self._unused: list[str] = []
        # (left, top, width, height) of boxes as they stand in the file, and their picture's sizes.
        self._seen: list[tuple[np.ndarray, tuple[int, int]]] = []

    @abstractmethod
    def _locate(self, file: Path) -> Place | None:
        """Return what stands for a picture, or a video; None if nothing does."""

    @abstractmethod
    def _find(self, file: Path, number: int | None) -> FrameBoxes | None:
        """Return what the file says of a frame; None if it says nothing."""

    @abstractmethod
    def _names(self) -> list[str]:
        """Return the names of all images or sequences, as `_locate` gives them."""

    def covers(self, file: Path) -> bool:
        """Say whether the file says something of a picture, or of frames of a video."""
        return self._locate(file) is not None

    def of(self, frame: str, width: int, height: int) -> GivenBoxes | None:
        """Return the boxes of a frame, cut at the picture's border; see `KnownBoxes`."""
        file, number = split_frame_name(frame)
        found = self._find(Path(file), number)
        if found is None:
            return None
        if found.size is not None and found.size != (width, height):
            said = "{} x {} pixels".format(*found.size)
            is_swapped = found.size == (height, width)
            turned = "; it is turned by its EXIF note, or they are swapped" if is_swapped else ""
            raise ValueError(
                f"{self.name} is of a picture of {said}, this one has {width} x {height}{turned}: "
                "give boxes in its pixels"
            )
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        if len(sides):
            self._seen.append((np.hstack([found.boxes[:, :2], sides]), (width, height)))
        wanted = found.scores >= self._min_score
        boxes = found.boxes[wanted].clip(0, [width, height] * 2).astype(np.float32)
        inside = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        scores = found.scores[wanted][inside].astype(np.float32)
        return GivenBoxes(boxes[inside], scores, int((~inside).sum()))

    def match(self, files: Sequence[Path]) -> None:
        """Look which of the footage is meant.

        Args:
            files: all of it, as `list_footage` gives them.

        Raises:
            ValueError: Nothing of it is, or two files are meant by one name.
        """
        names = self._names()
        meant: dict[Place, Path] = {}
        for file in files:
            place = self._locate(file)
            if place is None:
                continue
            if place in meant:
                raise ValueError(
                    f"{self.name}: {place.name} may be {meant[place]} or {file}; give only one of "
                    "them, or names with folders"
                )
            meant[place] = file
        if not meant:
            raise ValueError(
                f"{self.name} says nothing of the footage given: it knows "
                f"{name_some(names) or 'no picture'}, and the footage is "
                f"{name_some([str(file) for file in files])}"
            )
        used = {place.name for place in meant}
        self._unused = [name for name in names if name not in used]

    def left_out(self) -> list[BrokenFile]:
        """Say what of the file is not used, and why."""
        found = [BrokenFile(self.name, f"{what}: {n}") for what, n in self._dropped.items()]
        if self._unused:
            said = f"pictures or sequences that are not in the footage: {len(self._unused)}"
            found.append(BrokenFile(self.name, f"{said} ({name_some(self._unused)})"))
        boxes = np.concatenate([np.zeros((0, 4)), *(boxes for boxes, _ in self._seen)])
        sizes = [size for boxes, size in self._seen for _ in boxes]
        if look_like_corners(boxes, np.array(sizes).reshape(-1, 2)):
            said = "its boxes stick out of their pictures as left, top, width and height, and all "
            said += f"lie inside as x1, y1, x2, y2, such as {boxes[0].tolist()}; was it written so?"
            found.append(BrokenFile(self.name, said))
        return found
