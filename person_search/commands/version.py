"""The version of this project, which pyproject.toml alone states."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from person_search.commands.registry import DISTRIBUTION

PACKAGE = Path(__file__).resolve().parent.parent


def installed_version() -> str | None:
    """Return the installed version; None where only the sources are there."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return None


def describe_version() -> str:
    """Say in a line which version runs, from where, and on which Python.

    The place tells two installations apart.
    """
    number = installed_version()
    what = "sources that are not installed" if number is None else number
    python = f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}"
    return f"{DISTRIBUTION} {what} from {PACKAGE} ({python})"
