"""The file beside a model's weights that says from which similarity on a match is right.

"Right" means: more likely the person asked for than somebody else.
"""

import dataclasses
import logging
import math
from dataclasses import dataclass
from pathlib import Path

from person_search.inference.json_object import check_names, parse_object
from reid_heads.atomic_file import save_json

logger = logging.getLogger(__name__)


def threshold_path(weights: str | Path) -> Path:
    """Return where the calibration of a weights or export file lies: ``model.threshold.json``."""
    return Path(weights).with_suffix(".threshold.json")


@dataclass(frozen=True)
class Calibration:
    """A similarity threshold, and what it cost on the labelled set that it was chosen on.

    Raises:
        ValueError: when built with a value that cannot be.
    """

    threshold: float
    """Cosine similarity, -1..1: a best match below it is probably somebody else."""

    false_alarm_rate: float
    """Share, 0..1, of the queries for which a gallery without the person reached the threshold."""

    miss_rate: float
    """Share, 0..1, of the queries whose person was in the gallery and found below the threshold, or
    not at all."""

    num_queries: int
    """Queries whose person was in the gallery: those that `miss_rate` counts."""

    gallery_size: int
    """Frames searched for a query (median). In a larger gallery false alarms are more frequent."""

    dataset: str
    """Name of the labelled set."""

    fingerprint: str
    """Of the model; "" if it was not known."""

    score_threshold: float = 0.5
    """Least score of the people searched."""

    def __post_init__(self) -> None:
        for name, low in (
            ("threshold", -1.0),
            ("false_alarm_rate", 0.0),
            ("miss_rate", 0.0),
            ("score_threshold", 0.0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name}: got {value!r}, expected a number")
            if not (math.isfinite(value) and low <= value <= 1):
                raise ValueError(f"{name}: got {value!r}, expected {low:g}..1")
        for name in ("num_queries", "gallery_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: got {value!r}, expected a whole number from 1 on")
        for name in ("dataset", "fingerprint"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected text")

    def save(self, path: str | Path) -> None:
        """Write JSON, whole or not at all."""
        save_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "Calibration":
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no calibration; names the file and what is wrong.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no calibration {path}; make one with `person-search calibrate`"
            )
        try:
            return cls(**check_names(parse_object(path.read_bytes(), "it"), "it", cls))
        except ValueError as error:
            raise ValueError(
                f"{path} is no calibration: {error}. Make it anew with `person-search calibrate`"
            ) from error


def read_threshold(weights: str | Path, fingerprint: str) -> float | None:
    """Return the similarity threshold from the calibration beside a model's file.

    Args:
        weights: checkpoint or export.
        fingerprint: of the model.

    Returns:
        None where there is no calibration, or it was made with another model; the log says so.

    Raises:
        ValueError: if the file is there but is no calibration.
    """
    path = threshold_path(weights)
    if not path.is_file():
        return None
    calibration = Calibration.load(path)
    if calibration.fingerprint != fingerprint:
        logger.warning(
            "%s was made with another model or config, so it is not used; make it anew with "
            "`person-search calibrate`",
            path,
        )
        return None
    return calibration.threshold
