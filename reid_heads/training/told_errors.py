"""Errors of what a user gave, told in a line."""

import sys
from collections.abc import Callable
from typing import Any

STATUS = 2
"""Exit status of wrong use and of failures, as of every command here."""


def run_and_tell(main: Callable[[Any], Any], args: Any) -> Any:
    """Run ``main(args)``; of an error of what was given only the message is shown.

    What goes wrong in the midst of training detectron2 has logged, with the place, before it comes
    here. Errors of other types are not a user's, and pass.

    Returns:
        What ``main`` returns.

    Raises:
        SystemExit: after an error, with `STATUS`.
    """
    try:
        return main(args)
    except (ValueError, OSError) as error:
        message = str(error)
    except KeyError as error:
        # A sentence is the config's, of a key that does not exist; a bare key is a mistake of the
        # program's.
        message = str(error.args[0]) if error.args else ""
        if " " not in message:
            raise
    print(f"error: {message}", file=sys.stderr)
    sys.exit(STATUS)
