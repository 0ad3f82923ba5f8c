"""What is kept beside a downloaded file: its hash, where it came from, its card and terms.

A download is ``$PERSON_SEARCH_HOME/downloads/NAME/FILE`` with ``FILE.record.json`` beside it.
"""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from person_search.inference.json_object import check_names, parse_object
from person_search.inference.model_card import ModelCard
from person_search.inference.models import models_folder
from reid_heads.atomic_file import save_json

ENDING = ".record.json"


def downloads_folder() -> Path:
    """Return where downloads are kept, which need not exist: beside the folder of models."""
    return models_folder().parent / "downloads"


def record_path(file: Path) -> Path:
    """Return where the record of a downloaded file lies."""
    return file.with_name(file.name + ENDING)


@dataclass(frozen=True)
class Record:
    """What was found when a file came."""

    name: str
    """In the list."""

    size: int
    """Bytes."""

    sha256: str

    is_sha256_listed: bool
    """Whether the list knew the hash, too; else it is that of the first download."""

    source: str
    """The address that gave it."""

    fetched: str
    """When, as ISO 8601, UTC."""

    card: dict[str, Any]
    """As `ModelCard.to_dict` gives it, with licence and data terms."""

    def save(self, file: Path) -> None:
        """Write the record beside a downloaded file."""
        save_json(record_path(file), dataclasses.asdict(self))

    def to_card(self, source: str) -> ModelCard:
        """Return the card.

        Raises:
            ValueError: if it is none, such as one without a licence; names ``source``.
        """
        return ModelCard.from_dict(self.card, source)

    @classmethod
    def find(cls, file: Path) -> "Record | None":
        """Read the record beside a file; None where there is none.

        Raises:
            ValueError: if what is there is no record, or its card is none.
        """
        path = record_path(file)
        if not path.is_file():
            return None
        try:
            return cls._parse(path.read_bytes(), str(path))
        except ValueError as error:
            raise ValueError(
                f"{error}; remove it if it is damaged or of another version of this program: "
                f"`person-search models download {file.parent.name}` checks and records the file "
                "anew"
            ) from error

    @classmethod
    def _parse(cls, text: bytes, source: str) -> "Record":
        content = check_names(parse_object(text, source), source, cls)
        kinds = {"size": int, "is_sha256_listed": bool, "card": dict}
        for name, value in content.items():
            if type(value) is not kinds.get(name, str):
                raise ValueError(f"{source}: {name} is {value!r}")
        record = cls(**content)
        if not re.fullmatch("[0-9a-f]{64}", record.sha256):
            raise ValueError(f"{source}: sha256 is {record.sha256!r}")
        record.to_card(source)
        return record
