"""What an exported file says about itself: all that a program needs to use it."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from person_search.inference.model_card import ModelCard
from person_search.inference.network import InputSettings, Limits
from person_search.resizing import DEFAULT_RULE, RULES, ResizeRule

VERSION = 1
"""Raised when an older reader would misunderstand a file."""

_VERSION_WITH_RULE = 2
"""Of a file whose pictures are resized by another rule than ``DEFAULT_RULE``, the one that readers
of version 1 know."""

KEY = "person_search"
"""Where the JSON text is: an ONNX file's metadata property, a TorchScript file's extra file."""

INPUT = "{} (3, height, width), resized, channels in image_format order, not normalised"
BOXES = "(x1, y1, x2, y2) in pixels of the resized image, given boxes inside it"


@dataclass(frozen=True)
class ExportInfo:
    """The description inside an exported file."""

    fingerprint: str
    """SHA-256 (hex) of the model that was exported: the same people have the same embeddings."""

    embedding_dim: int
    """D."""

    image_format: str
    """Order of the channels, ``RGB`` or ``BGR``."""

    min_size: int
    """The image is resized by the rule of ``resize`` to a shorter side of this many pixels; 0: it
    is not."""

    max_size: int
    """If the longer side were longer than this many pixels, it gets this length instead."""

    min_score: float
    """Least score, 0..1, of a person worth searching; the model also gives some below it."""

    threshold: float | None = None
    """Cosine similarity, -1..1, from which on a match is probably right, where calibrated."""

    card: ModelCard | None = None
    """What the model is, where it has a card."""

    proposals: int | None = None
    """`Limits.proposals`, as built into the graph; None in files of earlier versions."""

    detections: int | None = None
    """`Limits.detections`, likewise."""

    resize: ResizeRule = DEFAULT_RULE
    """Whose rule of rounding sizes and interpolating pixels; files that do not say have the
    default."""

    boxes: str = BOXES
    """What boxes are, given ones and those found."""

    @property
    def version(self) -> int:
        """Of the description."""
        return VERSION if self.resize == DEFAULT_RULE else _VERSION_WITH_RULE

    @property
    def input(self) -> str:
        """What the model takes: its normalisation is inside the graph."""
        return INPUT.format("uint8" if self.resize == DEFAULT_RULE else "float32 in 0..255")

    @property
    def settings(self) -> InputSettings:
        """How pictures are prepared."""
        return InputSettings(self.min_size, self.max_size, self.image_format, self.resize)

    @property
    def limits(self) -> Limits | None:
        """How many people the model can find at once, where known."""
        if self.proposals is None or self.detections is None:
            return None
        return Limits(self.proposals, self.detections)

    def to_json(self) -> str:
        """Return the text that goes into the file."""
        content = dataclasses.asdict(self)
        content |= {"version": self.version, "input": self.input}
        return json.dumps(content, indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None, source: str) -> "ExportInfo":
        """Read the text out of a file.

        Args:
            text: what the file holds under ``KEY``; None if there is nothing.
            source: the file, for messages.

        Raises:
            ValueError: if it is not the description of an export, or of another version.
        """
        advice = "write the file anew with `person-search export`"
        if text is None:
            raise ValueError(
                f"{source} does not say which model it holds and how its pictures are prepared; "
                f"expected a file that `person-search export` wrote"
            )
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{source}: its description is damaged ({error}); {advice}") from error
        version = content.get("version") if isinstance(content, dict) else None
        if version not in (VERSION, _VERSION_WITH_RULE) or isinstance(version, bool):
            raise ValueError(
                f"{source} has an export description of version {version!r}, this program reads "
                f"versions {VERSION} and {_VERSION_WITH_RULE}; {advice} of this version"
            )
        if version == VERSION:
            content["resize"] = DEFAULT_RULE
        known = _checked(content, f"{source}: its description", advice)
        known["card"] = ModelCard.from_record(known["card"])
        return cls(**known)


def _checked(content: dict[str, Any], what: str, advice: str) -> dict[str, Any]:
    """Return the known fields; those that a later writer of this version adds are ignored."""
    known = {}
    for field in dataclasses.fields(ExportInfo):
        value = content.get(field.name)
        if not _fits(field.name, value):
            raise ValueError(f"{what} has {field.name} {value!r}; {advice}")
        known[field.name] = value
    return known


def _fits(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if name == "card":
        return True  # looked at on its own
    if name == "embedding_dim":
        return isinstance(value, int) and value > 0
    if name in ("min_size", "max_size"):
        return isinstance(value, int) and value >= 0
    if name in ("proposals", "detections"):
        return value is None or (isinstance(value, int) and value > 0)
    if name == "min_score":
        return isinstance(value, int | float) and 0 <= value <= 1
    if name == "threshold":
        return value is None or (isinstance(value, int | float) and -1 <= value <= 1)
    if name == "image_format":
        return value in ("RGB", "BGR")
    if name == "resize":
        return value in RULES
    return isinstance(value, str) and bool(value)
