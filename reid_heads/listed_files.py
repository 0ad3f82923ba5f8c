"""Files that a list names: they stay in the folder that the list is given with."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from reid_heads.trust import SWITCH, files_are_trusted


def get_datasets_root() -> Path:
    """Return ``$DETECTRON2_DATASETS``, or ``datasets`` in the working folder."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))


def check_listed(
    name: str, folder: str | os.PathLike[str], place: str, others: Iterable[Path] = ()
) -> None:
    """Refuse a name that leads out of a list's folder, unless files are trusted.

    It is the name that counts: a link inside the folder may lead where its owner wants.

    Args:
        name: as listed, relative to ``folder`` or absolute.
        folder: of the list.
        place: where the name stands, for the message.
        others: further folders that the list may name files of.

    Raises:
        ValueError: says which name, and what to do.
    """
    roots = (Path(folder), *others)
    if lies_below(name, roots) or files_are_trusted():
        return
    shown = " and ".join(os.path.abspath(root) for root in roots)
    raise ValueError(
        f"{place} names {name!r}, which is outside of {shown}; expected files below. Move the list "
        f"or the files, or add {SWITCH} if you trust the list's maker"
    )


def lies_below(name: str, roots: Sequence[Path]) -> bool:
    """Say whether a name leads to somewhere below one of some folders.

    Args:
        name: relative to the first of them, or absolute.
        roots: the folders.
    """
    if "\0" in name:
        return False
    if ".." not in name and not os.path.isabs(name):
        return True
    path = os.path.normpath(os.path.join(os.path.abspath(roots[0]), name))
    return any(path.startswith(os.path.abspath(root).rstrip(os.sep) + os.sep) for root in roots)
