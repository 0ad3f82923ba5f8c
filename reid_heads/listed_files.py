"""Files that a list names: they stay in the folder that the list is given with.

Lists come from other systems, which write names in their own way; `local_name` finds the file.
"""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath
from typing import Literal
from urllib.parse import unquote

from reid_heads.trust import SWITCH, files_are_trusted

_DRIVE = re.compile(r"[A-Za-z]:")
_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
"""In which letters with marks are one sign, as Linux and Windows write them, or two, as macOS."""


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


def local_name(name: str, folder: Path) -> str:
    r"""Return a listed name as this system writes it, and as its file is called.

    ``cam1\p1.jpg`` of Windows is ``cam1/p1.jpg``, and so are ``./cam1//p1.jpg`` and the absolute
    name of that file; so one file has one name. The two ways to write é in Unicode mean the same
    file where one of them is there.

    Args:
        name: as listed, relative to the folder, or absolute.
        folder: where to look for files.

    Examples:
        >>> local_name("cam1\\p1.jpg", Path("/data")), local_name("./p1.jpg", Path("/data"))
        ('cam1/p1.jpg', 'p1.jpg')
    """
    if not name or "\0" in name:
        return name
    if "\\" in name and not (folder / name).exists():
        name = PureWindowsPath(name).as_posix()
    if not name.isascii() and not (folder / name).exists():
        others = (unicodedata.normalize(form, name) for form in _FORMS)
        name = next((other for other in others if (folder / other).exists()), name)
    # Behind a link, .. leads elsewhere than the name says.
    if ".." in Path(name).parts:
        return name
    path = Path(name)
    root = Path(os.path.abspath(folder))
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def hint_at_missing(path: Path) -> str:
    """Say what may be wrong with the name of a listed file that is missing.

    Returns:
        The end of a message, beginning with a semicolon; empty where nothing is known.
    """
    drive = next((part for part in path.parts if _DRIVE.fullmatch(part)), None)
    if drive is not None:
        return (
            f"; the list names files of a Windows machine ({drive}): write them relative to the "
            "folder of the images, as cam1/p1.jpg"
        )
    if any(part.endswith(":") for part in path.parts):
        return "; the list names URLs: write paths relative to the folder, as cam1/p1.jpg"
    wanted = _plain(path.name)
    try:
        names = sorted(os.listdir(path.parent))
    except OSError:
        return f"; there is no folder {path.parent}"
    same = [name for name in names if _plain(name) == wanted]
    same += [name for name in names if Path(_plain(name)).stem == Path(wanted).stem]
    return f"; there is {same[0]!r}, which is another name" if same else ""


def _plain(name: str) -> str:
    """Return a name without what systems and programs write differently."""
    return unicodedata.normalize("NFC", unquote(name)).casefold().strip(" '\"")
