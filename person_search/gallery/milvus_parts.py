"""What the gallery uses of Milvus Lite beyond its public interface: the engine behind a file.

Milvus Lite promises a client of a file, ``MilvusClient("gallery.db")``, and no more: not whose
engine it is, whether it still runs, how it locks the file, nor where its program is.
"""

import importlib
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from reid_heads.library_parts import Library, MissingPartError

MILVUS_LITE = Library(
    "milvus-lite",
    known="2.5.1",
    adapter="person_search/gallery/milvus_parts.py",
    install="pip install milvus-lite==2.5.1",
)
MARK_TABLE = "collection_meta"
"""SQLite table that every gallery file has."""
_MANAGER = "milvus_lite.server_manager"
_PROGRAM = "milvus_lite/lib/milvus"
"""Where the engine's program is, from the folder of installed packages."""


def check_version() -> None:
    """Find out whether the installed Milvus Lite has the parts that are used here.

    Raises:
        ImportError: it is not installed.
        MissingPartError: it lacks one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its pkg_resources, not ours to change
        importlib.import_module("milvus_lite")
    _servers()
    MILVUS_LITE.part(_manager(), "release_server")


def has_server(path: Path) -> bool:
    """Return whether this process runs the engine of a file."""
    return str(path) in _servers()


def is_server_running(path: Path) -> bool:
    """Return whether the engine of a file was started by this process and has not ended."""
    server = _servers().get(str(path))
    if server is None:
        return False
    process = MILVUS_LITE.part(server, "_p")
    return process is not None and process.poll() is None


def release_server(path: Path) -> None:
    """End the engine of a file."""
    MILVUS_LITE.part(_manager(), "release_server")(str(path))


def has_engine(path: Path) -> bool:
    """Return whether any process of this machine runs the engine of a file, where /proc tells."""
    wanted = str(path).encode()
    for command in Path("/proc").glob("[0-9]*/cmdline"):  # nothing where there is no /proc
        with suppress(OSError):
            words = command.read_bytes().split(b"\0")
            if words[0].endswith(_PROGRAM.encode()) and wanted in words[1:]:
                return True
    return False


def lock_of(path: Path) -> Path:
    """Return the file that the engine of a gallery file locks beside it."""
    return path.with_name(f".{path.name}.lock")


def engine_command(path: Path, address: str) -> list[str]:
    """Return the command that runs the engine of a file on an address, HOST:PORT.

    Raises:
        MissingPartError: the program is not where it is in the known version.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = importlib.import_module("milvus_lite")
    program = Path(str(package.__file__)).parents[1] / _PROGRAM
    if not program.is_file():
        raise MissingPartError(MILVUS_LITE.complaint(f"the program {program}"))
    return [str(program), str(path), address, "ERROR"]


def _manager() -> Any:
    return MILVUS_LITE.part(_MANAGER, "server_manager_instance")


def _servers() -> Any:
    return MILVUS_LITE.part(_manager(), "_servers")
