"""Whether what a command is to write can be written, asked before its work is done."""

import os
import tempfile
from pathlib import Path


def check_can_write(option: str, path: Path) -> None:
    """Refuse a file that cannot be written, or is a gallery; nothing of the trial stays.

    Args:
        option: that names the file, such as ``--save``.
        path: of the file, which may be there: then it would be replaced.

    Raises:
        OSError: The message names both, and says what is in the way.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{option} {path} is a folder; name a file in it")
        if path.suffix == ".db" and path.exists():
            # What was asked for is made again; what a gallery holds may not be.
            raise FileExistsError(
                f"{option} {path} is a gallery, by its name, and would be lost; name another file"
            )
        if not path.resolve().parent.is_dir():
            raise FileNotFoundError(
                f"{option} {path}: there is no folder {path.parent}; make it, or name another one"
            )
        # Only trying tells: root may write where a file system does not take anything.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        # Those above have their message, those of the system a number.
        if error.errno is None:
            raise
        raise OSError(
            f"{option} {path} cannot be written: {error.strerror}; choose a folder that you may "
            "write to"
        ) from error
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{option} {path} is there and must not be changed; name another")
