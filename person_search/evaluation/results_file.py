"""The file that an evaluation leaves: its numbers, and of which model and by which command."""

import json
import math
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_heads.atomic_file import save_json

RECORD = "record"
"""Name, among the results, of what says where they are from."""
_PACKAGES = ("person_search", "reid_heads", "demo")


def command_line() -> str:
    """Return what this process was started with, as it can be typed: ``python -m …``."""
    program = Path(sys.argv[0])
    parts = program.with_suffix("").parts
    inside = [i for i, part in enumerate(parts) if part in _PACKAGES]
    start = [program.name]
    if program.suffix == ".py" and inside:
        start = ["python", "-m", ".".join(parts[inside[-1] :])]
    return shlex.join([*start, *sys.argv[1:]])


def save_results(
    path: str | os.PathLike[str], results: Mapping[str, Any], record: Mapping[str, str]
) -> None:
    """Write results as JSON, whole or not at all.

    Args:
        path: of the file.
        results: ``{"search": {"mAP": ..}, ..}``, in percent.
        record: what `ResultsFile` says of them, where known; without any the file holds the results
            alone.
    """
    save_json(path, {**results, RECORD: dict(record)} if record else results)


@dataclass(frozen=True)
class ResultsFile:
    """Numbers that were measured, and what of."""

    path: Path

    numbers: dict[str, float]
    """Percentages, by the search and the metric: ``search mAP``."""

    model: str
    """Fingerprint of the model; "" if the file does not say."""

    dataset: str
    """Name of the test set; "" if the file does not say."""

    command: str
    """That measured it; "" if the file does not say."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ResultsFile":
        """Read what an evaluation wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it holds no results; names the file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no results file {path}")
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}; {_EXPECTED}") from error
        groups = content if isinstance(content, dict) else {}
        numbers = {
            f"{group} {metric}": float(value)
            for group, row in groups.items()
            if group != RECORD and isinstance(row, dict)
            for metric, value in row.items()
            if _is_percentage(value)
        }
        if not any(name.startswith("search") for name in numbers):
            raise ValueError(f"{path} holds no results of person search; {_EXPECTED}")
        record = groups.get(RECORD)
        said = {k: str(v) for k, v in record.items()} if isinstance(record, dict) else {}
        words = (said.get(name, "") for name in ("model", "dataset", "command"))
        return cls(path, numbers, *words)


_EXPECTED = (
    "expected OUTPUT_DIR/inference/results.json of person_search.train_net, or a file of "
    "`python -m person_search.evaluate --json`"
)


def _is_percentage(value: Any) -> bool:
    # Whole numbers are counts; COCO's AP of sizes that no box has is NaN or negative.
    return isinstance(value, float) and math.isfinite(value) and 0 <= value <= 100
