"""Taking turns at writing into a gallery file, also with who writes all of it anew.

Writing it anew leaves no byte of what was removed in it, and keeps others from writing as long as
it takes: a minute for some millions of people. Readers are not kept. So that others tell it from a
process that hangs, whoever does it holds an `unfinished` file beside the gallery.
"""

import logging
import sqlite3
import time
from pathlib import Path

from reid_heads.unfinished import is_being_written, unfinished

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often a writer that waits looks whether the file is written anew."""


def begin_writing(connection: sqlite3.Connection, path: Path, seconds: float) -> None:
    """Begin a transaction that writes, when nobody else does.

    Args:
        connection: Outside of a transaction.
        path: Of the gallery file, where links lead to.
        seconds: How long to wait for a transaction of somebody else; for who writes the file anew
            it waits as long as that takes, and says so.

    Raises:
        sqlite3.OperationalError: Somebody else writes for longer.
    """
    deadline, is_said = time.monotonic() + seconds, False
    connection.execute(f"PRAGMA busy_timeout = {int(1000 * min(LOOK_SECONDS, seconds))}")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                    raise
                if is_being_written(_sign(path)):
                    deadline = time.monotonic() + seconds
                    if not is_said:
                        logger.warning(
                            "another process writes %s anew, so that nothing of what was removed "
                            "stays in it; this one waits until that is done",
                            path,
                        )
                    is_said = True
                elif time.monotonic() >= deadline:
                    raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(1000 * seconds)}")


def write_anew(connection: sqlite3.Connection, path: Path, seconds: float) -> bool:
    """Write the file anew without the bytes of what was deleted, and empty its log.

    Args:
        connection: Outside of a transaction.
        path: See `begin_writing`.
        seconds: Likewise; also how long to wait for readers of what was there before.

    Returns:
        Whether the log is empty: somebody may read all along.

    Raises:
        sqlite3.OperationalError: There is no room, or somebody else writes for longer.
    """
    begin_writing(connection, path, seconds)
    connection.execute("COMMIT")
    with unfinished(_sign(path)):
        # Of what stays, in a temporary file; a large gallery does not fit into memory.
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("VACUUM")
        connection.execute("PRAGMA temp_store = MEMORY")
        return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def _sign(path: Path) -> Path:
    return path.with_name(f"{path.name}.anew")
