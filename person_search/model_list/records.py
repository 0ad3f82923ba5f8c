"""What is kept beside a downloaded file: its hash, where it came from, its card and terms.

A download is ``$PERSON_SEARCH_HOME/downloads/NAME/FILE`` with ``FILE.record.json`` beside it.
"""

import dataclasses
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
        content = check_names(parse_object(path.read_bytes(), str(path)), str(path), cls)
        kinds = {"size": int, "is_sha256_listed": bool, "card": dict}
        for name, value in content.items():
            if not isinstance(value, kinds.get(name, str)):
                raise ValueError(f"{path}: {name} is {value!r}; remove it to fetch the file anew")
        record = cls(**content)
        record.to_card(str(path))
        return record
