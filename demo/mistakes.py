"""What becomes of a visitor's or a caller's mistake."""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

# From a "/" that begins a word to the last part, which is kept. Addresses have a ":" before it.
_PATH = re.compile(r"(?<![\w/:.~-])~?/(?:[^\s/'\"<>|,;]+/)+(?=[^\s/'\"<>|,;])")

_hidden: set[str] = set()


def hide_folder(folder: Path) -> None:
    """Leave a folder out of all messages from now on, however its name is written.

    Args:
        folder: such as that of a gallery.
    """
    _hidden.add(f"{folder.absolute()}/")


def told(tell: Callable[[Exception], Any]) -> Callable[[Callable], Callable]:
    """Return a decorator that hands mistakes to ``tell``; other errors go on as they are.

    Args:
        tell: is given the mistake, a ValueError whose message names no folder of the server; what
            it returns, the decorated function returns.
    """

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except (ValueError, OSError) as error:
                return tell(ValueError(plain_message(error)))

        # Gradio reads the signature for gr.EventData and gr.Progress; wraps() hands it on.
        return guarded

    return decorate


def plain_message(error: Exception) -> str:
    """Return what an error says, with files by their names: where they lie is not told.

    Examples:
        >>> plain_message(ValueError("the gallery /srv/video/town.db is no longer there"))
        'the gallery town.db is no longer there'
    """
    message = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        # With an errno the message is "[Errno 2] No such file …: '/path with spaces/a.jpg'".
        message = f"{error.strerror or type(error).__name__}: {Path(str(error.filename)).name}"
    for folder in sorted(_hidden, key=len, reverse=True):
        message = message.replace(folder, "")
    return _PATH.sub("", message)
