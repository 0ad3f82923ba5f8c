"""Where the log of a gallery lies, and what else this program keeps beside it."""

import re
from pathlib import Path

from person_search.gallery.store import is_address
from person_search.inference.models import models_folder


def log_file(uri: str) -> Path:
    """Return where the log of a gallery file or server is: ``town-log.jsonl`` beside ``town.db``.

    That of a server is one of this machine, in ``$PERSON_SEARCH_HOME/logs``.
    """
    return _beside(uri, "-log.jsonl")


def query_pictures(uri: str) -> Path:
    """Return the folder of the pictures of people who were searched for, where they are kept."""
    return _beside(uri, "-log-pictures")


def receipts_file(uri: str) -> Path:
    """Return where the receipts of what was removed by a rule are."""
    return _beside(uri, "-receipts.jsonl")


def own_folders(uri: str, name: str) -> list[Path]:
    """Return where this program itself keeps footage of a gallery file, unless told otherwise.

    These are what ``watch`` keeps of streams, and what is added on the page.
    """
    if is_address(uri):
        return [Path.cwd() / "footage" / name]
    return [_beside(uri, "-pictures"), Path(uri).resolve().with_suffix("") / name]


def _beside(uri: str, ending: str) -> Path:
    if is_address(uri):
        plain = re.sub(r"[^\w.-]+", "_", uri.partition("://")[2])
        return models_folder().parent / "logs" / f"{plain}{ending}"
    path = Path(uri).resolve()
    return path.with_name(f"{path.stem}{ending}")
