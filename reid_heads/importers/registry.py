"""Which importer knows a checkpoint, by the names of its tensors.

Each package registers its own: crop networks here, person search's networks where it is imported.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from reid_heads.importers.checkpoint_file import CheckpointFile
from reid_heads.importers.imported import ImportedModel


@dataclass(frozen=True)
class Importer:
    """Turns the checkpoints of some families of networks into this project's."""

    recognise: Callable[[Collection[str]], str | None]
    """Names of a file's tensors, without "module." -> the family's name, None for others."""

    convert: Callable[[CheckpointFile], ImportedModel]
    """What a file holds -> its weights under this project's names."""


_IMPORTERS: list[Importer] = []


def register_importer(importer: Importer) -> None:
    """Add an importer to those that are asked."""
    _IMPORTERS.append(importer)


def find_importer(names: Collection[str]) -> Importer | None:
    """Return the importer that recognises a file by the names of its tensors, None if none does."""
    plain = {name.removeprefix("module.") for name in names}
    return next((one for one in _IMPORTERS if one.recognise(plain) is not None), None)
