"""What a model is: whom it knows, what it was trained on, under which licence, how good it is."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from person_search.inference.json_object import check_names, parse_object

DRAWN_PEOPLE = "drawn people"
"""Domain of the model that comes with the code."""


def card_path(weights: str | Path) -> Path:
    """Return where the card of a model's file, of any kind, lies: ``model.card.json``."""
    return Path(weights).with_suffix(".card.json")


@dataclass(frozen=True)
class ModelCard:
    """What a user must know of a model before trusting it.

    Raises:
        ValueError: when built with a value that cannot be.
    """

    name: str

    domain: str
    """Whose pictures it knows, as "this model knows ... only" can say: ``drawn people``."""

    licence: str
    """Of the weights: an SPDX identifier, or a sentence."""

    trained_on: str
    """Data sets, and how long."""

    source: str = ""
    """Where the weights came from."""

    limits: str = ""
    """What it is not made for, in a sentence."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    """What was measured, in percent, by a name that says on what: ``drawn_cuhk_test, gallery 100:
    search mAP``."""

    def __post_init__(self) -> None:
        for name in ("name", "domain", "licence", "trained_on"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name}: got {value!r}, expected text")
        for name in ("source", "limits"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected text")
        if not isinstance(self.numbers, Mapping):
            raise ValueError(f"numbers: got {self.numbers!r}, expected names with percentages")
        for what, number in self.numbers.items():
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ValueError(f"numbers: {what!r} is {number!r}, expected a percentage")
            if not (math.isfinite(number) and 0 <= number <= 100):
                raise ValueError(f"numbers: {what!r} is {number!r}, expected 0 to 100")

    @property
    def is_drawn(self) -> bool:
        """Whether it was trained on drawn people only, and is of no use on real footage."""
        return self.domain == DRAWN_PEOPLE

    def say_what_it_knows(self) -> str:
        """Say in a sentence whom the model knows."""
        return f"this model ({self.name}) knows {self.domain} only"

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads."""
        return dataclasses.asdict(self) | {"numbers": dict(self.numbers)}

    @classmethod
    def from_dict(cls, content: dict[str, Any], source: str) -> "ModelCard":
        """Read what `to_dict` gave.

        Args:
            content: as JSON has it.
            source: where it is from, for messages.

        Raises:
            ValueError: if it is no card; says what is missing, unknown or wrong.
        """
        try:
            return cls(**check_names(content, "it", cls))
        except ValueError as error:
            raise ValueError(f"{source} is no model card: {error}") from error

    @classmethod
    def from_record(cls, content: Any) -> "ModelCard | None":
        """Read what a gallery or an exported file keeps of a card.

        It only describes: fields of a later version are left out, and what is damaged is no card.
        """
        if not isinstance(content, dict):
            return None
        known = {one.name for one in dataclasses.fields(cls)}
        try:
            return cls.from_dict({k: v for k, v in content.items() if k in known}, "record")
        except ValueError:
            return None

    @classmethod
    def find(cls, weights: str | Path) -> "ModelCard | None":
        """Read the card beside a weights or export file; None where there is none."""
        path = card_path(weights)
        return cls.load(path) if path.is_file() else None

    @classmethod
    def load(cls, path: str | Path) -> "ModelCard":
        """Read a JSON file.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no card; names the file and what is wrong.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no model card {path}")
        return cls.from_dict(parse_object(path.read_bytes(), str(path)), str(path))
