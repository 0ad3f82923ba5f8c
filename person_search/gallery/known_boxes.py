"""People whose boxes are known already, so that a model only embeds them.

Letters: N people of one picture.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from person_search.footage.files import BrokenFile
from person_search.footage.frames import split_frame_name
from person_search.footage.read_ahead import Loaded
from person_search.people import People

if TYPE_CHECKING:
    from person_search.inference.finder import PersonFinder

NAMES_SHOWN = 3


class KnownBoxes(Protocol):
    """Boxes of people in frames."""

    name: str
    """Where they come from, for messages."""

    def covers(self, file: Path) -> bool:
        """Say whether something is known of a picture, or of frames of a video."""

    def of(self, frame: str, width: int, height: int) -> "GivenBoxes | None":
        """Return the boxes of a frame by its name; None if nothing is known of it.

        Args:
            frame: see `Frame.name`.
            width: of the picture, pixels.
            height: likewise.

        Raises:
            ValueError: They are of a picture of another size.
        """


@dataclass(frozen=True)
class GivenBoxes:
    """The boxes of a frame."""

    boxes: np.ndarray
    """(N, 4) float32, (x1, y1, x2, y2) in original pixels, inside the picture."""

    scores: np.ndarray
    """(N,) float32, 0..1."""

    outside: int = 0
    """How many more there were of which less than a pixel is inside the picture."""


class Embedding:
    """Embeds the people of known boxes, and remembers what has to be left out."""

    def __init__(self, finder: "PersonFinder", boxes: KnownBoxes, broken: list[BrokenFile]) -> None:
        """Embed with a model; ``broken`` gets the frames that the boxes do not fit."""
        self._finder, self._boxes, self._broken = finder, boxes, broken
        self._uncovered: list[str] = []
        # How many, by name.
        self._unknown: Counter[str] = Counter()
        self._outside: Counter[str] = Counter()

    def choose(self, files: Sequence[Path]) -> list[Path]:
        """Return the files of which something is known."""
        chosen = [file for file in files if self._boxes.covers(file)]
        kept = set(chosen)
        self._uncovered += [str(file) for file in files if file not in kept]
        return chosen

    def embed(self, batch: Sequence[Loaded]) -> list[People | None]:
        """Return the people of each picture; None for one that is left out."""
        return [self._embed(frame.name, pixels) for frame, pixels in batch]

    def _embed(self, name: str, pixels: np.ndarray) -> People | None:
        height, width = pixels.shape[:2]
        try:
            given = self._boxes.of(name, width, height)
        except ValueError as error:
            self._broken.append(BrokenFile(name, str(error)))
            return None
        if given is None:
            self._unknown[split_frame_name(name)[0]] += 1
            return None
        if given.outside:
            self._outside[name] = given.outside
        embeddings = np.zeros((0, self._finder.embedding_dim), np.float32)
        if len(given.boxes):
            embeddings = self._finder.embed(pixels, given.boxes)
        return People(given.boxes, given.scores, embeddings)

    def left_out(self) -> list[BrokenFile]:
        """Say what was left out, and why."""
        found = [
            BrokenFile(file, f"sampled frames that are not in {self._boxes.name}: {count}")
            for file, count in self._unknown.items()
        ]
        for names, count, what in (
            (self._uncovered, len(self._uncovered), "files that it does not name"),
            (list(self._outside), self._outside.total(), "boxes outside their pictures"),
        ):
            if names:
                found.append(BrokenFile(self._boxes.name, f"{what}: {count} ({name_some(names)})"))
        return found


def name_some(names: Sequence[str]) -> str:
    """Write the first of some names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
