"""Whether what lies in the user's folders is what it was: downloads, installed models, cards."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from person_search.inference.model_card import ModelCard, card_path
from person_search.inference.models import MAIN_FILES, models_folder
from person_search.inference.recorded_files import compare_files, hash_file
from person_search.model_list.records import ENDING, Record, downloads_folder
from person_search.model_list.table import LISTED
from reid_heads.unfinished import is_unfinished


@dataclass(frozen=True)
class Checked:
    """A file of the downloads or a folder of an installed model, and what was found."""

    path: Path

    problems: tuple[str, ...] = ()
    """Why it must not be used, with what to do; empty where it is what it was."""

    note: str = ""
    """What a user may want to know besides."""


def check_downloads() -> Iterator[Checked]:
    """Compare each downloaded file with its record and with the list; nothing is fetched.

    Raises:
        OSError: if the folder of downloads cannot be read.
    """
    for folder in _folders(downloads_folder()):
        names = {file.name for file in folder.iterdir()}
        again = f"`person-search models download {folder.name}`"
        for name in sorted(names):
            if name.endswith(".part"):
                goes_on = f"a part of a download; {again} goes on with it"
                # What a process was writing when it was killed.
                left = "left by a process that was stopped; it can be removed"
                yield Checked(folder / name, note=left if is_unfinished(name) else goes_on)
            elif name.endswith(ENDING):
                if name.removesuffix(ENDING) not in names:
                    gone = f"the file is gone, its record is here; {again} fetches it anew"
                    yield Checked(folder / name, note=gone)
            elif not name.startswith("."):
                yield _unless_unreadable(_check_download, folder / name)


def _unless_unreadable(check: Callable[[Path], Checked], path: Path) -> Checked:
    # One that cannot be read must not hide the others.
    try:
        return check(path)
    except OSError as error:
        return Checked(path, (f"it cannot be read ({error.strerror or error})",))


def _check_download(file: Path) -> Checked:
    name = file.parent.name
    if not file.is_file():
        return Checked(file, ("it is no file: remove it",))
    try:
        record = Record.find(file)
    except ValueError as error:
        return Checked(file, (str(error),))
    if record is None:
        what = f"it has no record; `person-search models download {name}` checks and records it"
        return Checked(file, (what,))
    size, found = file.stat().st_size, hash_file(file)
    problems = []
    if (size, found) != (record.size, record.sha256):
        problems.append(
            f"it was changed: {size:,} bytes with the SHA-256 {found}, recorded are "
            f"{record.size:,} with {record.sha256}; remove it, and fetch it anew"
        )
    if record.name != name:
        problems.append(f"its record is one of {record.name}; remove both, and fetch it anew")
    listed = LISTED.get(name)
    if listed is not None and listed.sha256 not in (None, record.sha256):
        problems.append(
            f"the list expects another file, {listed.sha256}; remove it and its record, and fetch "
            "it anew"
        )
    known = "the list's" if record.is_sha256_listed else "that of the first download"
    return Checked(file, tuple(problems), f"SHA-256 is {known}")


def check_models() -> Iterator[Checked]:
    """Compare the files of each installed model with what they were, and read its card.

    Raises:
        OSError: if the folder of models cannot be read.
    """
    root = models_folder()
    for left in sorted(root.glob(".*.part")) if root.is_dir() else ():
        yield Checked(left, note="left by an import that was stopped; it can be removed")
    for folder in model_folders():
        yield _unless_unreadable(_check_model, folder)


def model_folders() -> list[Path]:
    """Return the folders of installed models, whole or not.

    Raises:
        OSError: if the folder of models cannot be read.
    """
    return [folder for folder in _folders(models_folder()) if any(folder.glob("model.*"))]


def _check_model(folder: Path) -> Checked:
    problems, note = [], ""
    try:
        differences = compare_files(folder)
    except ValueError as error:
        differences = [str(error)]
    if differences is None:
        note = "no hashes were kept when it was made; `models check --record` does so now"
    elif differences:
        what = "install it anew, or keep it as it is by `models check --record`"
        problems += [f"{line}; {what}" for line in differences]
    main = next((name for name in MAIN_FILES if (folder / name).is_file()), None)
    if main is None:
        problems.append(f"it has none of {', '.join(MAIN_FILES)}; install it anew")
    elif not card_path(folder / main).is_file():
        note = "; ".join(filter(None, [note, "it has no card beside it"]))
    else:
        try:
            ModelCard.load(card_path(folder / main))
        except ValueError as error:
            problems.append(str(error))
    return Checked(folder, tuple(problems), note)


def _folders(root: Path) -> list[Path]:
    """Return the folders in a folder that need not exist; one with a dot is being written."""
    if not root.is_dir():
        return []
    return sorted(x for x in root.iterdir() if x.is_dir() and not x.name.startswith("."))
