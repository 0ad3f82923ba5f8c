"""For how long a gallery keeps what: rules as they are written, kept and told."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FOR_EVER = "forever"
PERIODS = "a number and h, d or w, such as 12h, 30d or 8w, or forever"
_SECONDS = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_PERIOD = re.compile(r"(\d+(?:\.\d+)?)([hdw])")


def parse_period(text: str) -> float | None:
    """Read how long something is kept, in seconds; None for ever.

    Raises:
        ValueError: It is no period, or none at all.

    Examples:
        >>> parse_period("12h"), parse_period("30d"), parse_period("forever")
        (43200.0, 2592000.0, None)
    """
    if text.strip() == FOR_EVER:
        return None
    found = _PERIOD.fullmatch(text.strip())
    if found is None or not 0 < float(found[1]) * _SECONDS[found[2]] < math.inf:
        raise ValueError(f"got the period {text!r}; expected {PERIODS}")
    return float(found[1]) * _SECONDS[found[2]]


def format_period(seconds: float | None) -> str:
    """Write a period as `parse_period` reads it.

    Examples:
        >>> format_period(2592000.0), format_period(5400.0), format_period(None)
        ('30d', '1.5h', 'forever')
    """
    if seconds is None:
        return FOR_EVER
    days = seconds / _SECONDS["d"]
    return f"{days:g}d" if days % 1 == 0 else f"{seconds / _SECONDS['h']:g}h"


@dataclass(frozen=True)
class RetentionRules:
    """For how long a gallery keeps what; periods in seconds, None for ever.

    A frame is as old as its time says. One without a date is never removed by a rule.
    """

    keep: float | None = None
    """Of frames whose camera has no period of its own."""

    cameras: Mapping[str, float | None] = field(default_factory=dict)
    """Of frames by the name of their camera; "" stands for an unknown one."""

    log: float | None = None
    """Of entries of the log, since they ended."""

    folders: Sequence[str] = ()
    """Further folders that this program keeps pictures in, absolute: ``watch --keep``, ``serve
    --footage``. In them, as in those beside the gallery, the files of removed frames are deleted.
    """

    footage: bool = False
    """Whether files that lie anywhere else are deleted, too."""

    def period_of(self, camera: str | None) -> float | None:
        """Return how long frames of a camera are kept."""
        return self.cameras.get(camera or "", self.keep)

    def rule_of(self, camera: str | None) -> str:
        """Return the rule for a camera in words."""
        name = camera or ""
        if name in self.cameras:
            return f"camera {name or 'unknown'} {format_period(self.cameras[name])}"
        return f"keep {format_period(self.keep)}"

    def describe(self) -> list[str]:
        """Return all rules in words, those of cameras by their name."""
        rules = [f"keep {format_period(self.keep)}"]
        rules += [self.rule_of(name) for name in sorted(self.cameras)]
        rules.append(f"log {format_period(self.log)}")
        rules += [f"folder {folder}" for folder in self.folders]
        return rules + ["footage is deleted"] * self.footage

    @property
    def shortest(self) -> float | None:
        """The shortest period; None where everything is kept for ever."""
        periods = [p for p in (self.keep, self.log, *self.cameras.values()) if p is not None]
        return min(periods, default=None)

    def to_text(self) -> str:
        """Return them as the gallery keeps them."""
        said = {
            "keep": self.keep,
            "cameras": dict(self.cameras),
            "log": self.log,
            "folders": list(self.folders),
            "footage": self.footage,
        }
        return json.dumps(said, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> "RetentionRules":
        """Read what `to_text` wrote; "" is no rule."""
        said: dict[str, Any] = json.loads(text) if text else {}
        return cls(**{**said, "folders": tuple(said.get("folders", ()))})
