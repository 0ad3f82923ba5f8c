"""Crop networks of other projects, whichever it is."""

import os
from collections.abc import Collection

from reid_heads.importers import crop_osnet, crop_resnets
from reid_heads.importers.checkpoint_file import CheckpointFile, listed, read_checkpoint
from reid_heads.importers.imported import ImportedModel
from reid_heads.importers.registry import Importer, register_importer

_KINDS = (crop_resnets, crop_osnet)
FAMILIES = "reid-strong-baseline, fast-reid (BoT, AGW, SBS) and torchreid (ResNet, OSNet)"


def recognise(names: Collection[str]) -> str | None:
    """Return whose crop network has tensors of these names; None for any other.

    Args:
        names: of a checkpoint's tensors, without "module.".
    """
    families = (kind.recognise(names) for kind in _KINDS)
    return next((family for family in families if family is not None), None)


def import_checkpoint(path: str | os.PathLike[str]) -> ImportedModel:
    """Turn a public checkpoint of a crop network into one of this project.

    Args:
        path: a ``.pth`` file of one of ``FAMILIES``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read safely, is of another network, or not every tensor finds a
            place; the message names them.
    """
    return convert(read_checkpoint(path))


def convert(file: CheckpointFile) -> ImportedModel:
    """Turn what a public checkpoint holds into weights of this project.

    Raises:
        ValueError: as for ``import_checkpoint``.
    """
    for kind in _KINDS:
        if family := kind.recognise(file.state):
            imported: ImportedModel = kind.convert(file, family)  # type: ignore[attr-defined]
            return imported
    raise ValueError(
        f"{file.path} is of no crop network that can be imported: it holds "
        f"{listed(sorted(file.state))}; expected a network of {FAMILIES}"
    )


register_importer(Importer(recognise, import_checkpoint))
