"""Crop networks of other projects, whichever it is."""

from collections.abc import Collection

from reid_heads.importers import crop_osnet, crop_resnets, face_iresnet
from reid_heads.importers.checkpoint_file import CheckpointFile, listed
from reid_heads.importers.imported import ImportedModel
from reid_heads.importers.registry import Importer, register_importer

_KINDS = (face_iresnet, crop_resnets, crop_osnet)
FAMILIES = (
    "reid-strong-baseline, fast-reid (BoT, AGW, SBS), torchreid (ResNet, OSNet) and insightface "
    "(IResNet)"
)


def recognise(names: Collection[str]) -> str | None:
    """Return whose crop network has tensors of these names; None for any other.

    Args:
        names: of a checkpoint's tensors, without "module.".
    """
    families = (kind.recognise(names) for kind in _KINDS)
    return next((family for family in families if family is not None), None)


def convert(file: CheckpointFile) -> ImportedModel:
    """Turn a public checkpoint of a crop network into weights of this project.

    Args:
        file: as read, of one of ``FAMILIES``.

    Raises:
        ValueError: if it is of another network, or not every tensor finds a place; the message
            names them.
    """
    for kind in _KINDS:
        if family := kind.recognise(file.state):
            imported: ImportedModel = kind.convert(file, family)  # type: ignore[attr-defined]
            return imported
    raise ValueError(
        f"{file.path} is of no crop network that can be imported: it holds "
        f"{listed(sorted(file.state))}; expected a network of {FAMILIES}"
    )


register_importer(Importer(recognise, convert))
